"""The bridge hands each attempt over once, whatever dies in between, and says what is seen of it there."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.fake_slurm import FakeSlurm
from support.specs import SPEC

from gflowd.core.cluster import remote_transitions
from gflowd.core.cluster.cluster_settings import Cluster
from gflowd.core.cluster.remote_observations import OVER, RUNNING, WAITING, End, Sight, Sights
from gflowd.core.execution.observations import LiveJob, live_job
from gflowd.core.job import reasons
from gflowd.core.job.arrays import new_family, parse_array
from gflowd.core.job.model import CANCELLED, FAILED, FINISHED, Job, Queued, Starting, Wish
from gflowd.core.moment import Moment
from gflowd.effects import proc
from gflowd.paths import Runtime, State
from gflowd.workers.board_slots import SCHEDULER, Agenda, Post, Slots
from gflowd.workers.cluster_bridge import accounting, cancelling, mirror, throttling, worker

BOOT = proc.boot_id()
LIMIT = 60.0  # seconds: patience with a busy machine, no promise
LONG_GRACE = 10_000.0  # seconds


class Stage:
    """A bridge with one cluster, and the jobs on the scheduler's agenda."""

    def __init__(self, root: Path, **changes: Any) -> None:
        self.slurm = FakeSlurm(root / "slurm")
        self.state, self.runtime = State(str(root / "state")), Runtime(str(root / "run"))
        self.state.prepare()
        os.mkdir(self.state.path("env"), 0o700)
        with open(os.open(self.state.environment("e"), os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(b"PATH=/usr/bin:/bin\0SLURM_JOB_ID=9")
        shared = root / "shared"
        shared.mkdir()
        said = {"directory": str(shared), "poll_interval": 0.01, "command_prefix": self.slurm.prefix, **changes}
        self.config = SimpleNamespace(clusters={"hpc": Cluster(name="hpc", **said)})
        self.live: dict[int, LiveJob] = {}
        self.bridges: list[worker.Bridge] = []
        self.ahead = 0.0  # seconds that the bridge's clock is ahead of the machine's
        self.restart()

    def restart(self) -> None:
        """As after kill -9: nothing is closed before the test ends."""
        wiring = SimpleNamespace(state=self.state, runtime=self.runtime, config=self.config)
        self.bridge, self.sights = worker.open(wiring), Sights()  # type: ignore[arg-type]
        self.bridges.append(self.bridge)

    def add(self, *ids: int, command: str = "exit 3", array: str | None = None) -> None:
        family = None if array is None else new_family(parse_array(array)[0])
        spec = SPEC.replace(command=("/bin/sh", "-c", command), cluster="hpc", family=family)
        for job_id in ids:
            job = Job(id=job_id, spec=spec, wish=Wish(), phase=Queued(), array_id=ids[0] if family else None)
            phase = remote_transitions.hand_over(job, "hpc", self.now())
            self.live[job_id] = live_job(job.replace(phase=phase), 2.0)

    def hand_over(self, *ids: int, **more: Any) -> None:
        """Until the cluster has them all. However long that takes, nothing follows from what is not shown by then."""
        self.add(*ids, **more)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mirror, "GOOD_POLLS", 10**9)
            self.until(lambda: all(map(self.known_id, ids)))
        for watch in self.bridge._mirrors["hpc"]._watches.values():
            watch.absent = 0

    def limit(self, most: int | None, *ids: int) -> None:
        for job_id in ids:
            self.live[job_id] = self.live[job_id].replace(throttle=most)

    def now(self) -> Moment:
        return Moment(time.time(), time.monotonic() + self.ahead, BOOT)

    def tick(self) -> None:
        agenda = Agenda((), (), None, (), tuple(self.live.values()))
        turn = self.bridge.tick(self.now(), Slots({SCHEDULER: Post(agenda)}))
        assert isinstance(turn.decision, Sights)
        self.sights = turn.decision
        wait = 0.05 if turn.wake_at is None else min(0.05, max(0.0, turn.wake_at - self.now().mono))
        select.select(turn.descriptors, [], [], wait)

    def until(self, look: Callable[[], Any]) -> Any:
        limit = time.monotonic() + LIMIT
        while not (found := look()):
            assert time.monotonic() < limit, self.sights
            self.tick()
        return found

    def polls(self, number: int) -> None:
        """Goes on until squeue has been heard that often more."""
        enough = self.slurm.polls() + number + 1
        self.until(lambda: self.slurm.polls() >= enough)

    def sight(self, job_id: int) -> Sight | None:
        return self.sights.of((job_id, 1))

    def end(self, job_id: int) -> End | None:
        seen = self.sight(job_id)
        return None if seen is None else seen.end

    def known_id(self, job_id: int) -> str | None:
        seen = self.sight(job_id)
        return None if seen is None else seen.cluster_id

    def mark(self, place: int = 0) -> str:
        return self.slurm.given()[place][1]

    def run(self, job_id: int, raw_id: str, **more: str) -> None:
        """Runs its job.sh, as a node would."""
        script = os.path.join(self.state.attempt(job_id, 1), "job.sh")
        given = {"PATH": "/usr/bin:/bin", "SLURM_JOB_ID": raw_id, "SLURMD_NODENAME": "n1", **more}
        subprocess.run(["/bin/sh", script], env=given, check=False, timeout=LIMIT)

    def stop(self, job_id: int, why: str = reasons.CANCELLED_BY_USER, ago: float = 0.0) -> None:
        since = self.now().mono - ago
        self.live[job_id] = replace(self.live[job_id], why=why, since_mono=since, since_boot=BOOT)

    def give_long_grace(self, *ids: int) -> None:
        """No machine is so slow that a rung of their stop ladder is due before `pass_half_of_grace`."""
        for job_id in ids:
            self.live[job_id] = self.live[job_id].replace(grace=LONG_GRACE)

    def pass_half_of_grace(self) -> None:
        """And a little more. Calls that are at work now are given up."""
        self.ahead += 0.6 * LONG_GRACE


@pytest.fixture
def make_stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    made: list[Stage] = []

    def make(**changes: Any) -> Stage:
        made.append(Stage(tmp_path, **changes))
        return made[-1]

    yield make
    for stage in made:
        for bridge in stage.bridges:
            bridge.close()


@pytest.fixture
def stage(make_stage: Callable[..., Stage]) -> Stage:
    return make_stage()


def test_an_attempt_is_handed_over_followed_and_forgotten(stage: Stage) -> None:
    stage.add(7)
    stage.until(lambda: stage.known_id(7) == "100")
    assert stage.sight(7) == Sight(WAITING, None, "100")
    told = stage.slurm.calls("sbatch")[0]
    assert "--no-requeue" in told
    assert told.endswith("/batches/7.1.sh")
    assert stage.mark().split(":")[0] == "gflow"
    stage.slurm.show(("100", "100", "N/A", "PENDING", "", stage.mark()))
    stage.until(lambda: stage.sight(7) == Sight(WAITING, "Cluster:Pending", "100"))
    stage.run(7, "100")
    stage.slurm.show(("100", "100", "N/A", "RUNNING", "n1", stage.mark()))
    seen = stage.until(lambda: stage.sight(7) if stage.sight(7).stage == RUNNING else None)  # type: ignore[union-attr]
    assert seen.node == "n1"
    assert seen.started.identity.boot == f"slurm:{BOOT}"
    stage.slurm.show(("100", "100", "N/A", "FAILED", "n1", stage.mark()))
    end = stage.until(lambda: stage.end(7))
    assert (end.state, end.reason, end.exit_code, end.is_own) == (FAILED, reasons.NON_ZERO_EXIT, 3, True)
    kept = stage.state.path("cluster", "batches")
    assert os.listdir(kept) == ["7.1.json"]
    stage.live.clear()
    stage.until(lambda: os.listdir(kept) == [])
    stage.tick()
    assert stage.sights.of_attempts == {}


def test_of_what_slurm_sets_on_a_node_nothing_is_ours(stage: Stage) -> None:
    stage.add(7, command="echo $SLURM_JOB_ID $GFLOW_JOB_ID ${CUDA_VISIBLE_DEVICES-unset}")
    stage.until(lambda: stage.known_id(7))
    stage.run(7, "55", CUDA_VISIBLE_DEVICES="2", OUT="x")
    assert Path(stage.state.attempt(7, 1)).is_symlink()
    assert Path(stage.state.attempt(7, 1), "pid").read_text().splitlines()[1] == "55 n1"
    assert not Path(stage.state.attempt(7, 1), "alive").exists()


def test_one_killed_between_its_intent_and_sbatch_hands_over_once_after_three_good_polls(stage: Stage) -> None:
    stage.slurm.say("refusal", "sbatch: error: Batch job submission failed: Unable to contact slurm controller\n")
    stage.add(7)
    stage.until(lambda: stage.slurm.calls("sbatch"))
    stage.restart()
    stage.slurm.stop_saying("refusal")
    before = stage.slurm.polls()
    stage.until(stage.slurm.given)
    assert stage.slurm.polls() - before >= 3
    stage.until(lambda: stage.known_id(7) == "100")
    stage.polls(2)
    assert len(stage.slurm.given()) == 1


def test_one_killed_after_sbatch_finds_its_job_by_the_mark(stage: Stage) -> None:
    stage.slurm.say("mute")
    stage.add(7)
    stage.until(stage.slurm.given)
    stage.restart()
    stage.slurm.show(("100", "100", "N/A", "RUNNING", "n1", stage.mark()))
    stage.until(lambda: stage.known_id(7) == "100")
    stage.polls(4)
    assert len(stage.slurm.given()) == 1


def test_a_controller_that_is_away_has_said_nothing(stage: Stage) -> None:
    stage.add(7)
    stage.until(lambda: stage.known_id(7))
    stage.slurm.show(("100", "100", "N/A", "RUNNING", "n1", stage.mark()))
    seen = stage.until(lambda: stage.sight(7) if stage.sight(7).stage == RUNNING else None)  # type: ignore[union-attr]
    stage.slurm.say("down")
    why = stage.until(lambda: stage.sights.unreachable.get("hpc"))
    assert "Unable to contact" in why
    assert stage.sight(7) == seen
    stage.slurm.stop_saying("down")
    stage.until(lambda: not stage.sights.unreachable)
    assert stage.sight(7) == seen


def test_nothing_is_handed_over_before_it_is_known_what_the_cluster_takes(stage: Stage) -> None:
    stage.slurm.say("down")
    stage.add(7)
    assert "Unable to contact" in stage.until(lambda: stage.sights.unreachable.get("hpc"))
    assert stage.slurm.calls("sbatch") == []
    stage.slurm.stop_saying("down")
    stage.until(lambda: stage.known_id(7))
    stage.until(lambda: not stage.sights.unreachable)  # a question from before may be answered last


def test_a_refusal_ends_the_job_with_its_words(stage: Stage) -> None:
    stage.slurm.say("refusal", "sbatch: error: Batch job submission failed: Invalid partition name specified\n")
    stage.add(7)
    end = stage.until(lambda: stage.end(7))
    assert (end.state, end.reason) == (FAILED, "Rejected:Invalid partition name specified")
    assert len(stage.slurm.calls("sbatch")) == 1


def test_elements_go_as_one_array_and_one_that_is_lost_goes_again_alone(stage: Stage) -> None:
    stage.add(20, 21, 22, array="4-6")
    stage.until(lambda: stage.known_id(22) == "100_6")
    assert [array for _, _, array in stage.slurm.given()] == ["4-6"]
    mark = stage.mark()
    stage.slurm.show(*((100 + n, "100", n, "PENDING", "", mark) for n in (4, 5, 6)))
    stage.polls(1)
    stage.slurm.show(*((100 + n, "100", n, "PENDING", "", mark) for n in (4, 6)))
    stage.until(lambda: len(stage.slurm.given()) == 2)
    again = stage.slurm.given()[1]
    assert (again[1] != mark, again[2]) == (True, "5")
    stage.slurm.show(
        *((100 + n, "100", n, "PENDING", "", mark) for n in (4, 6)), ("205", "200", 5, "RUNNING", "n1", again[1])
    )
    stage.until(lambda: stage.known_id(21) == "200_5")
    stage.restart()
    stage.until(lambda: [stage.known_id(n) for n in (20, 21, 22)] == ["100_4", "200_5", "100_6"])
    assert len(stage.slurm.given()) == 2


def test_the_batches_of_a_limited_array_share_its_limit(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "GOOD_POLLS", 10**9)  # while the second is handed over, the first is not shown
    stage.slurm.say("max_array", "4")
    ids = range(20, 28)
    stage.add(*ids, array="0-7")
    stage.limit(4, *ids)
    stage.until(lambda: len(stage.slurm.given()) == 2)
    assert [array for _, _, array in stage.slurm.given()] == ["0-2%3", "0-2%1"], "a third has to wait"
    stage.until(lambda: stage.known_id(25) == "200_2")
    stage.slurm.show(*((100 * b + n, 100 * b, n, "PENDING", "", stage.mark(b - 1)) for b in (1, 2) for n in range(3)))
    del stage.live[20], stage.live[21]
    stage.until(lambda: orders(stage) == ["update JobId=200 ArrayTaskThrottle=3"])
    assert len(stage.slurm.given()) == 2
    stage.limit(2, *stage.live)
    stage.until(lambda: orders(stage)[1:] == ["update JobId=200 ArrayTaskThrottle=1"])
    stage.limit(1, *stage.live)
    stage.until(lambda: orders(stage)[2:] == ["hold 200"])
    stage.restart()
    stage.limit(5, *stage.live)
    stage.until(lambda: len(orders(stage)) == 6)
    assert orders(stage)[3:] == [
        "update JobId=100 ArrayTaskThrottle=1", "update JobId=200 ArrayTaskThrottle=3", "release 200",
    ]  # fmt: skip
    stage.until(lambda: len(stage.slurm.given()) == 3)
    assert stage.slurm.given()[2][2] == "0-1%1"
    stage.limit(None, *stage.live)
    stage.until(lambda: len(orders(stage)) == 9)
    assert set(orders(stage)[6:]) == {f"update JobId={n}00 ArrayTaskThrottle=0" for n in (1, 2, 3)}


def orders(stage: Stage) -> list[str]:
    return [call for call in stage.slurm.calls("scontrol") if "config" not in call]


def test_what_slurm_does_not_do_is_asked_of_it_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "AGAIN", 0.01)
    stage.add(20, 21, array="0-1")
    stage.limit(2, 20, 21)
    stage.until(lambda: stage.known_id(21))
    stage.slurm.say("lost_order", "Access/permission denied")
    stage.limit(1, 20, 21)
    stage.until(lambda: len(orders(stage)) > 2)
    stage.slurm.stop_saying("lost_order")
    before = len(orders(stage))
    stage.until(lambda: len(orders(stage)) > before)
    done = len(orders(stage))
    stage.polls(5)
    assert len(orders(stage)) == done


def test_one_cancelled_before_it_is_handed_over_never_begins(stage: Stage) -> None:
    stage.add(7)
    stage.stop(7)
    end = stage.until(lambda: stage.end(7))
    assert end.state == CANCELLED
    assert stage.slurm.calls("sbatch") == []
    assert Path(stage.state.attempt(7, 1), "pid").read_text().startswith("barred")


@pytest.fixture
def sent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """scancel is not called again for what is still there."""
    monkeypatch.setattr(cancelling, "AGAIN", 10**9)


@pytest.mark.usefixtures("sent_once")
def test_one_that_waits_there_is_cancelled_at_once_and_one_at_work_is_asked_first(stage: Stage) -> None:
    stage.hand_over(7, 8)
    stage.give_long_grace(7, 8)
    stage.slurm.show(
        ("100", "100", "N/A", "PENDING", "", stage.mark()), ("200", "200", "N/A", "RUNNING", "n1", stage.mark(1))
    )
    stage.until(lambda: stage.sight(8).stage == RUNNING)  # type: ignore[union-attr]
    stage.stop(7)
    stage.stop(8)
    stage.until(lambda: len(stage.slurm.calls("scancel")) == 2)
    assert set(stage.slurm.calls("scancel")) == {"--state=PENDING 100", "--signal=INT --full 200"}
    stage.restart()
    # Before it has heard of the cluster, it takes both to wait: the ladder goes on from then.
    stage.until(lambda: "--state=PENDING 100 200" in stage.slurm.calls("scancel"))
    stage.until(lambda: stage.sight(8).stage == RUNNING)  # type: ignore[union-attr]
    stage.polls(2)
    stage.pass_half_of_grace()
    stage.until(lambda: "--signal=TERM --full 200" in stage.slurm.calls("scancel"))
    stage.pass_half_of_grace()
    stage.until(lambda: "200" in stage.slurm.calls("scancel"))
    asked_again = ["--state=PENDING 100 200", "--signal=TERM --full 200", "200"]
    assert stage.slurm.calls("scancel")[2:] == asked_again
    assert stage.slurm.calls("scancel").count("--signal=INT --full 200") == 1


@pytest.mark.usefixtures("sent_once")
def test_one_that_has_begun_since_it_was_last_seen_has_all_of_its_grace(stage: Stage) -> None:
    stage.add(7)
    stage.give_long_grace(7)
    stage.until(lambda: stage.known_id(7))
    stage.slurm.show(("100", "100", "N/A", "PENDING", "", stage.mark()))
    stage.until(lambda: stage.sight(7) == Sight(WAITING, "Cluster:Pending", "100"))
    stage.stop(7, ago=50 * LONG_GRACE)
    stage.until(lambda: stage.slurm.calls("scancel") == ["--state=PENDING 100"])
    stage.slurm.show(("100", "100", "N/A", "RUNNING", "n1", stage.mark()))
    ladder = ["--state=PENDING 100", "--signal=INT --full 100", "--signal=TERM --full 100", "100"]
    for count in (2, 3, 4):
        stage.until(lambda: len(stage.slurm.calls("scancel")) == count)  # noqa: B023 -- called at once
        assert stage.slurm.calls("scancel") == ladder[:count]
        stage.polls(2)
        stage.pass_half_of_grace()


def test_one_whose_node_is_being_prepared_is_cancelled_outright(stage: Stage) -> None:
    stage.add(7)
    stage.until(lambda: stage.known_id(7))
    stage.slurm.show(("100", "100", "N/A", "CONFIGURING", "n1", stage.mark()))
    stage.until(lambda: stage.sight(7) == Sight(WAITING, "Cluster:Configuring", "100"))
    stage.stop(7)
    stage.until(lambda: stage.slurm.calls("scancel") == ["100"])


def test_what_slurm_has_forgotten_is_told_by_its_record_by_the_accounting_or_not_at_all(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.hand_over(7, 8, 9, command="exit 0")
    stage.run(7, "100")
    for job_id in (8, 9):
        stage.run(job_id, str(100 * (job_id - 6)))
        os.unlink(os.path.join(stage.state.attempt(job_id, 1), "exit"))
    stage.slurm.say("accounted", "200|200|NODE_FAIL|n2|5|6|\n")
    stage.until(lambda: stage.end(8))
    monkeypatch.setattr(accounting, "UNTOLD", 0.0)  # but not before the accounting has told
    stage.until(lambda: all(stage.end(job_id) for job_id in (7, 8, 9)))
    ends = {job_id: stage.end(job_id) for job_id in (7, 8, 9)}
    assert [(end.state, end.reason) for end in ends.values() if end] == [
        (FINISHED, None), (FAILED, reasons.NODE_FAIL), (FAILED, reasons.ZOMBIE),
    ]  # fmt: skip
    assert len(stage.slurm.given()) == 3


def forgotten(stage: Stage, *ids: int, code: int = 143) -> None:
    """Jobs that have ended with this exit code, and that squeue does not show any more."""
    stage.hand_over(*ids, command=f"exit {code}")
    for place, job_id in enumerate(ids):
        stage.run(job_id, str(100 * (place + 1)))


def test_slurms_word_about_what_it_has_forgotten_counts_more_than_the_record(stage: Stage) -> None:
    stage.slurm.say("accounted", "100|100|TIMEOUT|n2|5|6|\n200|200|CANCELLED by 0|n2|5|6|\n300|300|FAILED|n1|5|6|\n")
    forgotten(stage, 7, 8, 9)
    ends = stage.until(lambda: [stage.end(n) for n in (7, 8, 9)] if all(map(stage.end, (7, 8, 9))) else [])
    assert [(end.reason, end.exit_code) for end in ends] == [
        (reasons.TIME_LIMIT, None), (reasons.CANCELLED_ELSEWHERE, None), ("Signaled:SIGTERM", None),
    ]  # fmt: skip


def test_an_accounting_that_has_no_end_yet_or_does_not_answer_is_asked_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounting, "AGAIN", 0.01)
    monkeypatch.setattr(accounting, "UNTOLD", 3600.0)
    stage.slurm.say("accounted", "100|100|RUNNING|n2|5|Unknown|\n")
    forgotten(stage, 7)
    stage.until(lambda: len(stage.slurm.calls("sacct")) > 2)
    stage.slurm.stop_saying("accounted")
    stage.slurm.say("lost", "sacct: error: Problem talking to the database: Connection refused\n")
    before = len(stage.slurm.calls("sacct"))
    stage.until(lambda: len(stage.slurm.calls("sacct")) > before + 2)
    assert stage.end(7) is None
    stage.slurm.say("accounted", "100|100|TIMEOUT|n2|5|6|\n")
    assert stage.until(lambda: stage.end(7)).reason == reasons.TIME_LIMIT


@pytest.mark.parametrize("has_record", [True, False])
def test_one_that_never_answers_is_given_up(stage: Stage, monkeypatch: pytest.MonkeyPatch, has_record: bool) -> None:
    monkeypatch.setattr(accounting, "UNTOLD" if has_record else "UNHEARD", 0.2)
    stage.slurm.say("lost", "sacct: error: Problem talking to the database: Connection refused\n")
    forgotten(stage, 7, code=3)
    if not has_record:
        os.unlink(os.path.join(stage.state.attempt(7, 1), "exit"))
    assert stage.until(lambda: stage.end(7)).reason == (reasons.NON_ZERO_EXIT if has_record else reasons.ZOMBIE)


def test_of_two_copies_that_counts_which_has_begun(stage: Stage) -> None:
    stage.add(7)
    stage.until(lambda: stage.known_id(7))
    stage.run(7, "100")
    os.unlink(os.path.join(stage.state.attempt(7, 1), "exit"))
    stage.slurm.show(
        ("100", "100", "N/A", "RUNNING", "n1", stage.mark()), ("101", "101", "N/A", "COMPLETED", "n2", stage.mark())
    )
    seen = stage.until(lambda: stage.sight(7) if stage.sight(7).stage != WAITING else None)  # type: ignore[union-attr]
    assert (seen.stage, seen.cluster_id) == (RUNNING, "100")


def test_no_more_wait_there_than_may(make_stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "GOOD_POLLS", 10**9)  # while the second is handed over, the first is not shown
    stage = make_stage(max_pending=2)
    stage.add(1, 2, 3)
    stage.until(lambda: len(stage.slurm.given()) == 2)
    stage.slurm.show(("100", "100", "N/A", "PENDING", "", stage.mark()))
    stage.polls(2)
    assert len(stage.slurm.given()) == 2
    stage.slurm.show(
        ("100", "100", "N/A", "RUNNING", "n1", stage.mark()), (200, 200, "N/A", "PENDING", "", stage.mark(1))
    )
    stage.until(lambda: len(stage.slurm.given()) == 3)
    assert stage.sight(3) is None or stage.sight(3).stage != OVER  # type: ignore[union-attr]


def test_without_the_directory_nothing_is_handed_over_and_it_is_said(stage: Stage) -> None:
    os.rmdir(stage.config.clusters["hpc"].directory)
    stage.add(7)
    assert "there is no such directory" in stage.until(lambda: stage.sights.unreachable.get("hpc"))
    assert stage.slurm.calls("sbatch") == []
    assert isinstance(stage.live[7].job.phase, Starting)  # type: ignore[union-attr]


def test_a_record_that_cannot_be_read_is_not_taken_for_one_that_is_missing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "LATE", 0.0)
    stage.hand_over(7, 8)
    stage.run(7, "100")
    shared = Path(stage.config.clusters["hpc"].directory)
    shared.rename(shared.with_name("unmounted"))
    stage.slurm.show(("100", "100", "N/A", "FAILED", "n1", stage.mark()))
    stage.polls(5)
    assert (stage.end(7), stage.end(8)) == (None, None)
    shared.with_name("unmounted").rename(shared)
    end = stage.until(lambda: stage.end(7))
    assert (end.reason, end.exit_code) == (reasons.NON_ZERO_EXIT, 3)


def test_what_was_removed_here_is_removed_there(stage: Stage) -> None:
    stage.hand_over(7, 8)
    there = Path(stage.state.attempt(7, 1)).resolve().parent
    stage.live.clear()
    os.unlink(stage.state.attempt(7, 1))
    os.rmdir(stage.state.job(7))
    stage.restart()
    stage.until(lambda: not there.exists() and stage.bridge._upkeep._removal is None)
    assert Path(stage.state.attempt(8, 1), "job.sh").exists()


def test_what_a_live_job_has_there_stays_though_there_is_nothing_of_it_here_yet(stage: Stage) -> None:
    """As after a kill between the two."""
    there = stage.bridge._mirrors["hpc"]._place
    there.prepare()
    early, old = Path(there.attempt(7, 1)), Path(there.attempt(6, 1))
    early.mkdir(mode=0o700, parents=True)
    old.mkdir(mode=0o700, parents=True)
    (early / "early").touch()
    stage.add(7)
    stage.until(lambda: stage.known_id(7) and not old.exists() and stage.bridge._upkeep._removal is None)
    assert (early / "early").exists()
    assert Path(stage.state.attempt(7, 1), "job.sh").exists()


def content(place: Path) -> set[str]:
    return {
        os.path.relpath(os.path.join(at, name), place)
        for at, folders, names in os.walk(place)
        for name in (*folders, *names)
    }


def test_only_what_gflow_wrote_is_removed_there(stage: Stage) -> None:
    stage.add(7)
    stage.until(lambda: stage.known_id(7))
    place = Path(stage.state.attempt(7, 1)).resolve().parents[2]
    ours, unused = "a" * 32, "b" * 32
    for name in (f"env/{ours}.sh", f"env/{unused}.sh", f"scripts/{unused}", f"scripts/{ours}", "batches/6.1.sh"):
        (place / name).touch()
    for name in ("env/notes.sh", f"scripts/{unused}.bak", "jobs/mine", "batches/x.sh", "other", f"jobs/{unused}"):
        (place / name).touch()
    for name in ("jobs/6/1", "jobs/5.gone/1"):
        (place / name).mkdir(parents=True)
    for name in ("env", "scripts"):
        os.makedirs(stage.state.path(name), 0o700, exist_ok=True)
        Path(stage.state.path(name, ours)).touch()
    before = content(place)
    gone = {f"env/{unused}.sh", f"scripts/{unused}", "batches/6.1.sh", "jobs/6", "jobs/6/1", "jobs/5.gone"}
    gone |= {"jobs/5.gone/1"}
    stage.restart()
    stage.until(lambda: before - content(place) >= gone and stage.bridge._upkeep._removal is None)
    assert before - content(place) == gone


def test_another_state_directory_keeps_its_own_there(make_stage: Callable[..., Stage], tmp_path: Path) -> None:
    first = make_stage()
    first.add(7)
    first.until(lambda: first.known_id(7))
    (tmp_path / "other").mkdir()
    second = Stage(tmp_path / "other", directory=str(tmp_path / "shared"))
    try:
        second.add(8)
        second.until(lambda: second.known_id(8))
        assert Path(first.state.attempt(7, 1), "job.sh").exists()
        assert Path(second.state.attempt(8, 1), "job.sh").exists()
        assert len(list((tmp_path / "shared").glob("gflow-*"))) == 2
    finally:
        for bridge in second.bridges:
            bridge.close()


def restored(stage: Stage, tmp_path: Path, *names: str) -> None:
    """Lets the bridge go on with a fresh state directory that has only what a backup has of `cluster/`."""
    old, fresh = stage.state, State(str(tmp_path / "fresh"))
    fresh.prepare()
    for folder in ("env", "cluster", "cluster/batches"):
        os.mkdir(fresh.path(folder), 0o700)
    for name in ("cluster/id", f"env/{SPEC.env}", *names):
        Path(fresh.path(name)).write_bytes(Path(old.path(name)).read_bytes())
        os.chmod(fresh.path(name), 0o600)
    with open(os.open(fresh.path("cluster", "restored"), os.O_CREAT | os.O_WRONLY, 0o600), "wb"):
        stage.state = fresh
    stage.restart()


def test_after_a_restore_what_ran_meanwhile_is_known_and_not_removed(stage: Stage, tmp_path: Path) -> None:
    stage.hand_over(7, 8)
    stage.run(7, "100")
    place = Path(stage.state.attempt(7, 1)).resolve().parents[2]
    (place / "env" / f"{'c' * 32}.sh").touch()  # needed by no job
    logs = tmp_path / "fresh" / "jobs" / "7" / "1"
    (tmp_path / "fresh").mkdir(0o700)
    logs.mkdir(parents=True)
    (logs / "log").write_text("of the backup\n")
    restored(stage, tmp_path)
    stage.until(lambda: not os.path.exists(stage.state.path("cluster", "restored")))
    assert [Path(stage.state.attempt(job_id, 1), "job.sh").exists() for job_id in (7, 8)] == [True, True]
    assert logs.is_symlink()
    stage.until(lambda: not (place / "env" / f"{'c' * 32}.sh").exists())
    assert Path(stage.state.attempt(7, 1), "exit").exists()


def test_after_a_restore_a_job_that_ran_since_the_backup_does_not_run_again(stage: Stage, tmp_path: Path) -> None:
    """It was queued then, and is handed over once more; the copy ends at once, and the first one's end is the job's."""
    stage.add(7, command="echo x >>$GFLOW_STATE_DIR/../ran; while [ ! -e $GFLOW_STATE_DIR/../go ]; do sleep 0.02; done")
    stage.until(lambda: stage.known_id(7))
    first = stage.mark()
    runs = subprocess.Popen(
        ["/bin/sh", os.path.join(stage.state.attempt(7, 1), "job.sh")],
        env={"PATH": "/usr/bin:/bin", "SLURM_JOB_ID": "100", "SLURMD_NODENAME": "n1"},
    )
    stage.until((tmp_path / "ran").exists)
    stage.slurm.show(("100", "100", "N/A", "RUNNING", "n1", f"{first}x"))  # another mark, as from another machine
    restored(stage, tmp_path)
    stage.until(lambda: stage.known_id(7) == "200")
    stage.run(7, "200")
    both = (("100", "100", "N/A", "RUNNING", "n1", f"{first}x"), ("200", "200", "N/A", "COMPLETED", "n1", first))
    stage.slurm.show(*both)
    stage.until(lambda: (seen := stage.sight(7)) is not None and (seen.stage, seen.cluster_id) == (RUNNING, "100"))
    stage.stop(7, ago=100.0)
    stage.until(lambda: stage.slurm.calls("scancel"))
    assert {line.split()[-1] for line in stage.slurm.calls("scancel")} == {"100"}
    (tmp_path / "go").touch()
    assert runs.wait(LIMIT) == 0
    stage.slurm.show(("100", "100", "N/A", "COMPLETED", "n1", f"{first}x"), both[1])
    assert stage.until(lambda: stage.end(7)).exit_code == 0
    assert (tmp_path / "ran").read_text() == "x\n"


def test_a_directory_that_hangs_holds_nothing_up_and_is_waited_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.add(7)
    stage.until(lambda: stage.known_id(7))
    stage.run(7, "100")
    stage.slurm.show(("100", "100", "N/A", "COMPLETED", "n1", stage.mark()))
    reach = stage.bridge._mirrors["hpc"]._reach
    patience = reach._patience
    monkeypatch.setattr(reach, "_patience", 0.2)
    assert reach._pid is not None
    os.kill(reach._pid, signal.SIGSTOP)
    stage.until(lambda: "no answer within 0.2 s" in stage.sights.unreachable.get("hpc", ""))
    began = time.monotonic()
    stage.polls(2)  # the bridge goes on
    assert time.monotonic() - began < LIMIT
    assert stage.end(7) is None
    monkeypatch.setattr(reach, "_patience", patience)
    os.kill(reach._pid, signal.SIGCONT)
    assert stage.until(lambda: stage.end(7)).exit_code == 3
    assert stage.sights.unreachable == {}


def test_what_killed_bridges_were_writing_is_removed(stage: Stage) -> None:
    stage.add(7)
    stage.until(lambda: stage.known_id(7))
    cluster = Path(stage.state.path("cluster"))
    for name in ("id.new.12", "batches/7.1.json.new.12", "batches/8.1.json.new.345"):
        (cluster / name).write_text("{")
    stage.restart()
    stage.until(lambda: stage.known_id(7))
    assert sorted(os.listdir(cluster)) == ["batches", "id"]
    assert os.listdir(cluster / "batches") == ["7.1.json"]


def test_only_what_sbatch_was_called_for_is_in_doubt_after_a_crash(stage: Stage) -> None:
    """What is in doubt waits for three polls; a bridge killed again and again before the third would never go on."""
    stage.add(*range(1, 20))
    stage.until(stage.slurm.given)
    in_doubt = [name for name in os.listdir(stage.state.path("cluster", "batches")) if name.endswith(".json")]
    assert len(in_doubt) <= len(stage.slurm.given()) + 1
