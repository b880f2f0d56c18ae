"""What sbatch is told, and how attempts are put together as arrays."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from support.specs import SPEC

from gflowd.core.cluster import submission, suitability
from gflowd.core.cluster.batches import batches
from gflowd.core.cluster.cluster_settings import Cluster
from gflowd.core.cluster.remote_observations import Nodes, Offer
from gflowd.core.execution.observations import LiveJob, live_job
from gflowd.core.job.arrays import Family
from gflowd.core.job.model import SLURM, EarlySignal, Job, Run, Spec, Starting, Wish

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = Cluster(name="hpc", directory="/nfs")
FULL = Cluster(name="hpc", directory="/nfs", partition="p", account="a", qos="q", options=("--constraint=x y",))
ALWAYS = ("--parsable", "--no-requeue", "--output=/dev/null", "--error=/dev/null", "--chdir=/")
SMALL = Nodes(cpus=4, memory_mb=8000, time_limit=3600.0)
BIG = Nodes(cpus=32, memory_mb=64000, gpus=(("nvidia_a100", 4), (None, 2)))
OFFER = Offer((SMALL, BIG))


def job(spec: Spec = SPEC, job_id: int = 7, array_id: int | None = None, attempt: int = 1) -> Job:
    run = Run(executor=SLURM, launched_at=1.0, cluster="hpc", attempt=attempt)
    return Job(job_id, spec, Wish(), Starting(run=run), array_id)


def live(*of: Job) -> list[LiveJob]:
    return [live_job(each, None) for each in of]


@pytest.mark.parametrize(
    ("spec", "cluster", "said"),
    [
        ({"cpus": 0}, PLAIN, ["--cpus-per-task=1"]),
        ({"cpus": 3, "memory_mb": 500}, PLAIN, ["--cpus-per-task=3", "--mem=500M"]),
        ({"exclusive": True, "all_memory": True, "memory_mb": 5}, PLAIN, ["--exclusive", "--mem=0"]),
        ({"gpus": 2}, PLAIN, ["--gres=gpu:2"]),
        ({"gpus": 2, "gpu_type": "A100"}, PLAIN, ["--gres=gpu:nvidia_a100:2"]),
        ({"gpus": 1, "gpu_type": "h100"}, PLAIN, ["--gres=gpu:h100:1"]),
        ({"time_limit": 61.0}, PLAIN, ["--time=2"]),
        ({"time_limit": 0.5}, PLAIN, ["--time=1"]),
        ({"deadline": 160.5}, PLAIN, ["--deadline=now+61seconds"]),
        ({"deadline": 1.0}, PLAIN, ["--deadline=now+1seconds"]),
        ({"early_signal": EarlySignal(number=10, before=9.5)}, PLAIN, ["--signal=B:USR1@10"]),
        ({"project": "mine"}, FULL, ["--partition=p", "--account=mine", "--qos=q", "--constraint=x y"]),
        ({"name": "a\nb" + "c" * 99}, FULL, ["--job-name=a?b" + "c" * 61, "--account=a"]),
    ],
)
def test_a_request_becomes_words_of_sbatch(spec: dict[str, object], cluster: Cluster, said: list[str]) -> None:
    words = submission.words(job(SPEC.replace(**spec)), cluster, OFFER, 100.0)
    assert words[:5] == ALWAYS
    assert [word for word in words if word in said] == said


def test_nothing_is_asked_for_that_the_job_did_not_ask_for() -> None:
    assert submission.words(job(), PLAIN, None, 0.0) == (
        *ALWAYS, "--job-name=x", "--nodes=1", "--ntasks=1", "--cpus-per-task=1",
    )  # fmt: skip


def test_a_mark_is_known_again_by_those_who_made_it() -> None:
    mark = submission.mark("my host", "a:b", "7.1")
    assert mark == "gflow:my_host:a_b:7.1"
    assert submission.batch_of(f"{mark}\n", "my host", "a:b") == "7.1"
    assert submission.batch_of(mark, "my host", "other") is None
    assert submission.batch_of("(null)", "my host", "a:b") is None


def test_elements_that_are_ready_together_are_one_array() -> None:
    array = SPEC.replace(family=Family(ranges=((3, 6, 1), (9, 9, 1))))
    elements = [job(array, 20 + n, 20, attempt=1 + (n == 1)) for n in range(5)]
    alone, other = job(job_id=7), job(SPEC.replace(family=Family(ranges=((0, 0, 1),))), 40, 40)
    found = batches(live(alone, *elements, other), 1001)
    assert [(each.name, each.array, len(each.keys)) for each in found] == [
        ("7.1", None, 1), ("20.1", "3-6,9", 5), ("40.1", None, 1),
    ]  # fmt: skip
    assert found[1].tasks == {3: (20, 1), 4: (21, 2), 5: (22, 1), 6: (23, 1), 9: (24, 1)}
    assert [found[0].cluster_id("12", (7, 1)), found[1].cluster_id("12", (21, 2))] == ["12", "12_4"]


def test_an_array_is_as_large_as_slurm_allows() -> None:
    array = SPEC.replace(family=Family(ranges=((1, 7, 1),)))
    found = batches(live(*(job(array, 20 + n, 20) for n in range(7))), 5)
    assert [(each.array, len(each.keys)) for each in found] == [("1-4", 4), ("0-2", 3)], "indices that are too large"


def test_a_throttle_is_told_and_only_equals_are_together() -> None:
    array = SPEC.replace(family=Family(ranges=((0, 3, 1),)), name_template="{name}-{index}")
    of_array = [job(array.replace(name_template=None), 20 + n, 20) for n in range(3)]
    throttled = [LiveJob(*(getattr(each, name) for name in LiveJob.__slots__[:-1]), 2) for each in live(*of_array)]
    known = live_job(job().__class__(9, SPEC, Wish(), Starting(run=Run(executor=SLURM, launched_at=1.0, cluster="hpc",
                                                                        cluster_id="5"))), None)  # fmt: skip
    found = batches([*throttled, known, *live(*(job(array, 20 + n, 20) for n in range(2)))], 1001)
    assert [each.array for each in found] == ["0-2%2", None, None], "each has a name of its own; one is there already"


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"cpus": 32, "memory_mb": 64000, "gpus": 4, "gpu_type": "a100"}, None),
        ({"cpus": 33}, "no node"),
        ({"cpus": 99, "exclusive": True, "memory_mb": 10**6, "all_memory": True}, None),
        ({"memory_mb": 64001}, "no node"),
        ({"gpus": 3, "gpu_type": "h100"}, "no node"),
        ({"cpus": 4, "time_limit": 7200.0}, None),
        ({"gpus": 1, "shared": True, "gpu_memory_mb": 5}, "shares no GPUs"),
        ({"relay": "r"}, "gflowctl run"),
    ],
)
def test_what_a_cluster_can_never_run_is_known(spec: dict[str, object], why: str | None) -> None:
    found = suitability.why_not(SPEC.replace(**spec), OFFER)
    assert (found is None) == (why is None)
    assert why is None or why in (found or "")
    assert suitability.why_not(SPEC.replace(cpus=10**6), None) is None, "nobody knows"
    assert suitability.why_not(SPEC.replace(time_limit=3601.0), Offer((SMALL,))) is not None


def test_a_job_for_any_cluster_goes_where_it_fits_once_it_has_waited() -> None:
    clusters = {"a": PLAIN, "b": Cluster(name="b", directory="/b", after=None), "c": FULL}
    offers, room = {"a": Offer((SMALL,)), "b": OFFER, "c": OFFER}, {"a": 1, "b": 1, "c": 1}
    wide = SPEC.replace(cpus=8)

    def goes(spec: Spec, waited: float | None, room: dict[str, int] = room) -> str | None:
        return suitability.destination(spec, waited, clusters, offers, room)

    assert [goes(SPEC, 599.0), goes(SPEC, 600.0), goes(wide, 600.0)] == [None, "a", "c"], "b waits for ever"
    assert [goes(wide, None), goes(SPEC, 600.0, {"a": 0}), goes(SPEC.replace(cpus=64), None)] == ["b", None, None]
    assert suitability.destination(SPEC, 600.0, clusters, {}, room) is None, "nobody answers"
    assert suitability.could_go(SPEC, clusters, {})
    assert not suitability.could_go(SPEC.replace(cpus=64), clusters, offers)


def test_the_script_runs_the_task_of_its_own(tmp_path: Path) -> None:
    for name in ("it's", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "job.sh").write_text(f'echo "{name[0]}"; exit 5\n')
    script = submission.script({0: f"{tmp_path}/it's", 4: f"{tmp_path}/b"}, SPEC)
    for task, name, code in ((None, "it's", 5), ("4", "b", 5), ("2", None, 125)):
        environ = {"PATH": "/usr/bin:/bin"} | ({} if task is None else {"SLURM_ARRAY_TASK_ID": task})
        done = subprocess.run(["/bin/sh"], input=script, env=environ, check=False)
        assert done.returncode == code
        assert name is None or (tmp_path / name / "log").read_text() == f"{name[0]}\n"


def test_an_early_signal_reaches_the_job_by_its_shell(tmp_path: Path) -> None:
    says = 'trap "echo warned; exit 7" USR1; trap "echo INT" INT; kill -s INT $$; kill -s USR1 "$SHELL_PID"'
    code = f"trap : USR1 INT; sh -c '{says}; exec 2>/dev/null; while :; do sleep 0.02; done'"
    (tmp_path / "job.sh").write_text(f'{code}\ncode=$?; echo $code >"{tmp_path}/exit"; exit $code\n')
    spec = SPEC.replace(early_signal=EarlySignal(number=10, before=60))
    script = b"SHELL_PID=$$; export SHELL_PID\n" + submission.script({0: str(tmp_path)}, spec)
    done = subprocess.run(["/bin/sh"], input=script, env={"PATH": "/usr/bin:/bin"}, timeout=20, check=False)
    assert (done.returncode, (tmp_path / "log").read_text()) == (7, "INT\nwarned\n")


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_job_that_ends_with_its_early_signal_has_its_own_status(tmp_path: Path, shell: str) -> None:
    spec = SPEC.replace(early_signal=EarlySignal(number=10, before=60))
    script = b"SHELL_PID=$$; export SHELL_PID\n" + submission.script({0: str(tmp_path)}, spec)
    cases = [("trap - USR1; kill -s USR1 $$", 138)]  # without a record
    cases += [(f"echo {code} >{tmp_path}/exit; exit {code}", code) for code in (7, 138)]
    for ends, status in cases:
        (tmp_path / "job.sh").write_text(f'trap : USR1\nkill -s USR1 "$SHELL_PID"\n{ends}\n')
        for _ in range(10):
            done = subprocess.run([shell], input=script, env={"PATH": "/usr/bin:/bin"}, timeout=20, check=False)
            assert done.returncode == status
