"""Jobs of clusters as the scheduler sees them: no process is started, and no bridge is there but what it would post."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from stage import BOOT, now
from support.specs import SPEC

from gflowd.core.cluster.cluster_settings import Cluster
from gflowd.core.cluster.remote_observations import (
    ENDING,
    OVER,
    RUNNING,
    SUSPENDED,
    WAITING,
    End,
    Nodes,
    Offer,
    Sight,
    Sights,
)
from gflowd.core.execution.observations import Key
from gflowd.core.job import arrays, codec, reasons
from gflowd.core.job.arrays import Family
from gflowd.core.job.dependencies import AFTEROK, Dependency, Needs
from gflowd.core.job.model import (
    CANCELLED,
    FAILED,
    FINISHED,
    SLURM,
    Ended,
    Identity,
    Job,
    Phase,
    Queued,
    Run,
    Running,
    Started,
    Starting,
    Stopping,
    Suspended,
    Wish,
)
from gflowd.core.job.retry_policy import Retry
from gflowd.storage.store import Store
from gflowd.workers.base import Turn, Wiring
from gflowd.workers.board_slots import CLUSTER_BRIDGE, Agenda, Post, Slots
from gflowd.workers.scheduler import cluster_handover
from gflowd.workers.scheduler import worker as module
from gflowd.workers.scheduler.worker import Scheduler

STARTED = Started(at=10.0, mono=0.0, identity=Identity(BOOT, 1 << 30, 1))
OFFER = Offer((Nodes(cpus=64, memory_mb=10**6, gpus=(("a100", 8),)),))
CLUSTERS = {
    "hpc": Cluster(name="hpc", directory="/nfs", max_pending=3, after=100.0),
    "far": Cluster(name="far", directory="/far", after=None),
}
Start = Callable[..., Scheduler]


@pytest.fixture
def start(wiring: Wiring) -> Iterator[Start]:
    made: list[Scheduler] = []

    def begin(**settings: Any) -> Scheduler:
        wanted = {"executor": "process", "clusters": CLUSTERS, "cpus": 2, "memory_mb": 100} | settings
        made.append(module.open(replace(wiring, config=replace(wiring.config, **wanted))))
        return made[-1]

    yield begin
    for scheduler in made:
        scheduler.close()


def submit(wiring: Wiring, wish: Wish | None = None, **fields: object) -> int:
    spec = SPEC.replace(cluster="hpc", cpus=50, gpus=4, submitted_at=now().wall).replace(**fields)
    with Store(wiring.state).commit() as commit:
        job_id = commit.allocate(1 if spec.family is None else arrays.size(spec.family))
        commit.put("spec", job_id, codec.encode(spec))
        if wish is not None:
            commit.put("wish", job_id, codec.encode(wish))
    return job_id


def put(wiring: Wiring, kind: str, key: int | str, value: Any) -> None:
    with Store(wiring.state).commit() as commit:
        commit.put(kind, key, value)


def phase(wiring: Wiring, job_id: int) -> Phase:
    raw = Store(wiring.state).read().of("phase").get(job_id)
    return Queued() if raw is None else codec.decode_phase(raw)


def kinds(wiring: Wiring, ids: range | list[int]) -> list[str]:
    return [type(phase(wiring, job_id)).__name__ for job_id in ids]


def seen(of: dict[Key, Sight] | None = None, unreachable: dict[str, str] | None = None) -> Slots:
    offers = {} if unreachable else {"hpc": OFFER, "far": Offer((Nodes(cpus=8, memory_mb=10),))}
    return Slots({CLUSTER_BRIDGE: Post(Sights(of or {}, unreachable or {}, offers))})


def over(state: str, reason: str | None = None, **fields: Any) -> Sight:
    return Sight(OVER, None, "5", "n1", STARTED, End(state, reason, 50.0, **fields))


def agenda(turn: Turn) -> Agenda:
    assert isinstance(turn.decision, Agenda)
    return turn.decision


def observed(wiring: Wiring) -> dict[str, Any]:
    with open(wiring.state.observed, "rb") as file:
        found: dict[str, Any] = orjson.loads(file.read())
    return found


def test_a_job_of_a_cluster_takes_nothing_of_this_machine_and_follows_its_cluster(start: Start, wiring: Wiring) -> None:
    job_id = submit(wiring)
    scheduler = start()
    turn = scheduler.tick(now(), Slots())
    handed = phase(wiring, job_id)
    assert isinstance(handed, Starting)
    assert (handed.run.executor, handed.run.cluster, handed.run.gpu_ids) == (SLURM, "hpc", ())
    assert agenda(turn).live == ()
    assert [(each.key, each.cluster, each.job and each.job.id) for each in agenda(turn).remote] == [
        ((job_id, 1), "hpc", job_id)
    ]
    assert observed(wiring)["used"] == {"cpus": 0, "memory_mb": 0}

    steps: list[tuple[Sight, type[Phase]]] = [
        (Sight(WAITING, "Cluster:Priority", "5"), Starting),
        (Sight(RUNNING, None, "5", "n1", STARTED), Running),
        (Sight(SUSPENDED, None, "5", "n1", STARTED), Suspended),
        (Sight(RUNNING, None, "5", "n1", STARTED), Running),
        (Sight(ENDING, None, "5", "n1", STARTED), Stopping),
    ]
    for sight, expected in steps:
        turn = scheduler.tick(now(), seen({(job_id, 1): sight}))
        assert isinstance(phase(wiring, job_id), expected), sight
    assert [(each.cluster_id, each.job, each.why) for each in agenda(turn).remote] == [("5", None, None)]
    scheduler.tick(now(), seen({(job_id, 1): over(FAILED, reasons.NON_ZERO_EXIT, exit_code=7, is_own=True)}))
    ended = phase(wiring, job_id)
    assert isinstance(ended, Ended)
    assert (ended.state, ended.reason, ended.exit_code, ended.run and ended.run.node) == (
        FAILED, reasons.NON_ZERO_EXIT, 7, "n1",
    )  # fmt: skip
    assert ended.run is not None
    assert ended.run.remote_gpus == 4
    assert "usage" not in {kind for kind in ("usage", "runs") if Store(wiring.state).read().of(kind)}


def test_what_a_cluster_says_is_told_and_one_that_is_silent_changes_nothing(start: Start, wiring: Wiring) -> None:
    job_id, unknown = submit(wiring), submit(wiring, cluster="gone")
    scheduler = start()
    scheduler.tick(now(), Slots())
    waits = {(job_id, 1): Sight(WAITING, "Cluster:Priority", "5")}
    scheduler.tick(now(mono=now().mono + 2), seen(waits))
    assert observed(wiring)["reasons"] == {str(job_id): "Cluster:Priority", str(unknown): "Cluster:NotConfigured"}
    assert observed(wiring)["clusters"]["hpc"]["nodes"][0]["gpus"] == [["a100", 8]]
    before, later = phase(wiring, job_id), submit(wiring)
    scheduler.tick(now(mono=now().mono + 4), seen(waits, {"hpc": "no answer"}))
    assert phase(wiring, job_id) == before
    told = observed(wiring)
    assert (told["reasons"][str(job_id)], told["reasons"][str(later)]) == (reasons.CLUSTER_UNREACHABLE,) * 2
    assert told["clusters"]["hpc"]["unreachable"] == "no answer"
    assert isinstance(phase(wiring, later), Queued), "it waits where its order can still be changed"


def test_they_are_handed_over_in_order_and_no_more_than_may_wait_there(start: Start, wiring: Wiring) -> None:
    low = [submit(wiring, priority=5) for _ in range(3)]
    high = [submit(wiring, priority=20) for _ in range(2)]
    scheduler = start()
    turn = scheduler.tick(now(), Slots())
    assert [each.id for each in agenda(turn).remote] == [*high, low[0]]
    assert observed(wiring)["reasons"] == {str(each): reasons.CLUSTER_FULL for each in low[1:]}
    runs = {(high[0], 1): Sight(RUNNING, None, "5", "n1", STARTED)}
    scheduler.tick(now(), seen(runs))
    assert kinds(wiring, [*high, *low]) == ["Running", "Starting", "Starting", "Starting", "Queued"]


def test_what_is_held_or_waits_for_others_or_is_over_a_quota_is_not_handed_over(start: Start, wiring: Wiring) -> None:
    held, first = submit(wiring, Wish(held=True)), submit(wiring, user="v")
    needs = Needs(dependencies=(Dependency(kind=AFTEROK, id=first),))
    after, begins, second = submit(wiring, needs=needs), submit(wiring, begin_at=4e9), submit(wiring, user="v")
    put(wiring, "quota", "user:v", {"max_running_gpus": 4})
    scheduler = start()
    scheduler.tick(now(), Slots())
    assert kinds(wiring, [held, first, after, begins, second]) == ["Queued", "Starting", "Queued", "Queued", "Queued"]
    assert observed(wiring)["reasons"][str(second)] == reasons.QUOTA
    scheduler.tick(now(), seen({(first, 1): over(FINISHED, exit_code=0, is_own=True)}))
    assert kinds(wiring, [first, after, second]) == ["Ended", "Starting", "Starting"], "local and remote mix freely"
    put(wiring, "setting", "drain", {"at": 1.0, "by": "u"})
    drained = submit(wiring)
    scheduler.tick(now(mono=now().mono + 2), seen())
    assert observed(wiring)["reasons"][str(drained)] == reasons.DRAINED


def test_an_array_goes_as_one_and_its_limit_with_it(start: Start, wiring: Wiring) -> None:
    first = submit(wiring, family=Family(ranges=((1, 5, 1),), max_concurrent=2))
    scheduler = start(clusters={"hpc": replace(CLUSTERS["hpc"], max_pending=4)})
    turn = scheduler.tick(now(), Slots())
    assert [(each.id, each.throttle) for each in agenda(turn).remote] == [(first + n, 2) for n in range(4)]
    ends = {(first + n, 1): over(FINISHED, exit_code=0, is_own=True) for n in range(2)}
    scheduler.tick(now(), seen(ends))
    assert kinds(wiring, range(first, first + 5)) == ["Ended"] * 2 + ["Starting"] * 2 + ["Queued"]
    scheduler.tick(now(), seen({(first + 2, 1): over(FINISHED, exit_code=0, is_own=True)}))
    assert isinstance(phase(wiring, first + 4), Starting), "one is there, and two may be"


def test_what_runs_here_and_what_other_clusters_had_before_is_taken_off_the_limit_of_an_array() -> None:
    family = Family(ranges=((1, 6, 1),), max_concurrent=5)
    jobs = [Job(id=n, spec=SPEC.replace(family=family), wish=Wish(), phase=Queued(), array_id=1) for n in range(1, 7)]
    live = {1: jobs[0].replace(phase=Running(run=run(executor="process"), started=STARTED))}
    for at, (job, cluster) in enumerate(zip(jobs[1:], ["hpc", "hpc", "far", "far", "late"], strict=True)):
        live[job.id] = job.replace(phase=Starting(run=run(executor=SLURM, cluster=cluster, launched_at=float(at))))
    found = cluster_handover.remote(SimpleNamespace(live=live, limit_of=lambda _: 5), None)  # type: ignore[arg-type]
    assert [(each.id, each.throttle) for each in found] == [(2, 4), (3, 4), (4, 2), (5, 2), (6, 0)]


def run(**fields: Any) -> Run:
    return Run(**{"attempt": 1, "launched_at": 0.0, **fields})


def test_wishes_reach_the_cluster_and_retries_are_ours(start: Start, wiring: Wiring) -> None:
    unwanted, elsewhere = submit(wiring), submit(wiring)
    again = submit(wiring, retry=Retry(max_retries=1))
    scheduler = start()
    scheduler.tick(now(), Slots())
    put(wiring, "wish", unwanted, codec.encode(Wish(cancelled_by="u", cancelled_at=1.0)))
    turn = scheduler.tick(now(), seen())
    assert {each.id: each.why for each in agenda(turn).remote}[unwanted] == reasons.CANCELLED_BY_USER
    gone = {
        (unwanted, 1): over(CANCELLED, reasons.CANCELLED_ELSEWHERE),
        (elsewhere, 1): over(CANCELLED, reasons.CANCELLED_ELSEWHERE),
        (again, 1): over(FAILED, reasons.NODE_FAIL),
    }
    scheduler.tick(now(), seen(gone))
    scheduler.tick(now(), seen(gone))
    first, second, third = (phase(wiring, each) for each in (unwanted, elsewhere, again))
    assert isinstance(first, Ended)
    assert isinstance(second, Ended)
    assert (first.reason, second.reason) == (reasons.CANCELLED_BY_USER, reasons.CANCELLED_ELSEWHERE)
    assert isinstance(third, Starting)
    assert (third.run.attempt, third.run.cluster_id) == (2, None)


def test_a_job_for_any_cluster_goes_once_it_has_waited_or_can_never_start_here(start: Start, wiring: Wiring) -> None:
    wall = now().wall
    here = submit(wiring, cluster="auto", cpus=1, gpus=0, submitted_at=wall - 200)
    blocked = submit(wiring, cluster="auto", cpus=2, gpus=0, submitted_at=wall - 50)
    large = submit(wiring, cluster="auto", cpus=60, gpus=0)
    nowhere = submit(wiring, cluster="auto", cpus=65, gpus=0)
    scheduler = start()
    turn = scheduler.tick(now(wall=wall), Slots())
    assert kinds(wiring, [here, blocked, large, nowhere]) == ["Starting", "Queued", "Queued", "Queued"]
    assert agenda(turn).remote == ()
    assert observed(wiring)["reasons"][str(large)] == reasons.CLUSTER_UNREACHABLE
    turn = scheduler.tick(now(wall=wall), seen())
    assert kinds(wiring, [here, blocked, large, nowhere]) == ["Starting", "Queued", "Starting", "Ended"]
    assert turn.wake_at is not None
    assert turn.wake_at <= now().mono + 50
    turn = scheduler.tick(now(wall=wall + 51), seen())
    assert [each.id for each in agenda(turn).remote] == [large, blocked]
    local = phase(wiring, here)
    assert isinstance(local, Starting)
    assert local.run.cluster is None


def test_what_never_ran_there_makes_room_for_the_next(start: Start, wiring: Wiring) -> None:
    ids = [submit(wiring) for _ in range(4)]
    scheduler = start()
    scheduler.tick(now(), Slots())
    scheduler.tick(now(), seen({(ids[0], 1): Sight(OVER, end=End(FAILED, reasons.rejected("no")))}))
    assert kinds(wiring, ids) == ["Ended", "Starting", "Starting", "Starting"]


def test_a_limit_holds_for_an_array_that_starts_here_and_there(start: Start, wiring: Wiring) -> None:
    wall = now().wall
    few = Family(ranges=((1, 4, 1),), max_concurrent=2)
    first = submit(wiring, cluster="auto", cpus=2, gpus=0, submitted_at=wall - 200, family=few)
    scheduler = start()
    scheduler.tick(now(wall=wall), seen())
    scheduler.tick(now(wall=wall + 6, mono=now().mono + 6), seen())
    assert kinds(wiring, range(first, first + 4)) == ["Starting", "Starting", "Queued", "Queued"]
    there = phase(wiring, first + 1)
    assert isinstance(there, Starting)
    assert there.run.cluster == "hpc"


def test_a_job_whose_cluster_is_no_longer_configured_says_so(start: Start, wiring: Wiring) -> None:
    job_id = submit(wiring)
    first = start()
    first.tick(now(), Slots())
    first._alone.release()
    start(clusters={}).tick(now(), Slots())
    assert observed(wiring)["reasons"] == {str(job_id): reasons.CLUSTER_UNKNOWN}
    assert isinstance(phase(wiring, job_id), Starting)


def test_without_a_cluster_none_is_looked_for(start: Start, wiring: Wiring) -> None:
    job_id, anywhere = submit(wiring), submit(wiring, cluster="auto", cpus=1, gpus=0)
    scheduler = start(clusters={})
    turn = scheduler.tick(now(), Slots())
    assert kinds(wiring, [job_id, anywhere]) == ["Queued", "Starting"]
    assert (agenda(turn).remote, observed(wiring)["clusters"]) == ((), {})
