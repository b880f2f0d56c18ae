"""Every reason is explained in words, with the figures that tell what to do. No daemon is there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from gflowctl.context import Context
from gflowctl.machine.explanations import Explainer
from gflowctl.output import descriptions
from gflowctl.view.views import View
from gflowd.core.job import reasons
from gflowd.core.job.model import Queued

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.ctl import Ctl

GPU = {"memory_mb": 40960, "used_mb": 0, "processes": [], "cause": None}
A100, L4 = {**GPU, "model": "NVIDIA A100"}, {**GPU, "model": "NVIDIA L4"}
MADE = (reasons.signalled(9), reasons.launch_failed("no sh"), reasons.dependency_failed(1), reasons.max_failures(3),
        reasons.rejected("no GPU"), reasons.cluster("QOSMaxCpuPerUser"))  # fmt: skip
WORDS = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
EVERY = sorted(WORDS.union(MADE))
LINE: dict[str, Any] = {"longest": {}, "ready": {}, "lengths": {}, "shares": {}}


def words(ctl: Ctl, job_id: int, why: str) -> str:
    context = Context(ctl.env, None, ctl.state.root)
    view = View(context, context.store.read())
    found = Explainer(view).words(view.job(job_id), why)
    assert found.startswith(f"{why} ("), found
    return found[len(why) + 2 :]


def put(ctl: Ctl, kind: str, key: Any, value: Any) -> None:
    with ctl.store.commit() as commit:
        commit.put(kind, key, value)


def held(ctl: Ctl) -> None:
    for _ in range(2):
        ctl.submit("-g", "2", "true")
        ctl.run_job(ctl.store.read().next_id - 1, gpu_ids=(0, 1))


def _begin(ctl: Ctl) -> int:
    return ctl.submit("--begin", "2099-01-01 00:00", "true")


def _retry(ctl: Ctl) -> int:
    job_id = ctl.submit("--max-retries", "3", "true")
    ctl.set_phase(job_id, Queued(attempt=2, begin_at=time.time() + 5420))
    return job_id


def _depends(ctl: Ctl) -> int:
    ctl.submit("true")
    return ctl.submit("-d", "1", "true")


def _drained(ctl: Ctl) -> int:
    job_id = ctl.submit("true")
    ctl.ok("drain", "--reason", "new disks")
    return job_id


def _group(ctl: Ctl) -> int:
    ctl.ok("submit", "-a", "1-4%2", "true")
    ctl.run_job(1)
    ctl.run_job(2)
    return 3


def _quota(ctl: Ctl, *limits: str) -> int:
    held(ctl)
    job_id = ctl.submit("-g", "2", "true")
    ctl.ok("quota", "set", "--user", ctl.spec(job_id).user, *limits)
    return job_id


def _too_small_quota(ctl: Ctl) -> int:
    job_id = ctl.submit("-g", "2", "-P", "ml", "true")
    assert (
        "job 1 can never start as things stand"
        in ctl.run("quota", "set", "--project", "ml", "--max-running-gpus", "1").stderr
    )
    return job_id


def _reserved(ctl: Ctl, *more: str) -> int:
    ctl.observe(gpus=[{**A100, "index": n, "state": "idle"} for n in range(2)])
    job_id = ctl.submit("-g", "1", "-t", "2h", "true")
    ctl.run("reserve", "create", "--user", "daemon", "--gpu-list", "0", "--start", "now", "--for", "1h", *more)
    ctl.run("reserve", "create", "--user", "daemon", "--gpus", "1", "--start", "now+1h", "--for", "22h", *more)
    soon = time.time() + 5420
    ctl.observe(gpus=[], line={**LINE, "order": [1], "until": {"1": soon}})
    return job_id


def _priority(ctl: Ctl) -> int:
    for _ in range(2):
        ctl.submit("-t", "2h", "true")
    put(ctl, "promise", 1, {"since": 1.0, "by": [], "at": time.time() + 3600})
    ctl.observe(line={**LINE, "order": [1, 2], "until": {"2": time.time() + 5420}})
    return 2


def _resources(ctl: Ctl) -> int:
    gpus = [{**A100, "index": 0, "state": "busy"}, {**A100, "index": 1, "state": "idle"}]
    gpus += [{**L4, "index": n, "state": "idle"} for n in (2, 3)]
    ctl.observe(gpus=gpus, capacity={"gpus": 4, "cpus": 4, "memory_mb": 8192}, used={"cpus": 1, "memory_mb": 4096})
    return ctl.submit("-g", "2", "--gpu-type", "a100", "-c", "4", "-m", "8G", "true")


def _unavailable(ctl: Ctl) -> int:
    gpus = [
        {**A100, "index": 0, "state": "faulty", "cause": "fell off the bus", "lasting": True},
        {**A100, "index": 1, "state": "drained", "cause": "new fan"},
        {**A100, "index": 2, "state": "unmanaged", "cause": "pid 7 of bob"},
        {**A100, "index": 3, "state": "restricted"},
        {**A100, "index": 4, "state": "idle"},
        {**L4, "index": 5, "state": "idle"},
    ]
    ctl.observe(gpus=gpus, capacity={"gpus": 6, "cpus": 4, "memory_mb": 8192})
    return ctl.submit("-g", "2", "--gpu-type", "a100", "true")


def _run(ctl: Ctl) -> int:
    job_id = ctl.submit("-g", "2", "-t", "2h", "-m", "4G", "true")
    ctl.run_job(job_id, gpu_ids=(0, 1))
    return job_id


def _quiet(ctl: Ctl) -> int:
    job_id = ctl.submit("--quiet-limit", "90m", "true")
    ctl.run_job(job_id)
    return job_id


def _too_late(ctl: Ctl) -> int:
    return ctl.submit("-t", "2h", "--deadline", "2099-01-01", "true")


def _failed(ctl: Ctl) -> int:
    job_id = ctl.submit("true")
    ctl.end_job(job_id, "failed", exit_code=3)
    return job_id


def _cancelled(ctl: Ctl) -> int:
    job_id = ctl.submit("true")
    ctl.ok("cancel", str(job_id))
    return job_id


def _dependency_failed(ctl: Ctl) -> int:
    ctl.ok("submit", "true")
    ctl.end_job(1, "failed", exit_code=1)
    return ctl.submit("-d", "1", "true")


def _plain(ctl: Ctl) -> int:
    return ctl.submit("true")


SCENES: dict[str, tuple[Callable[[Ctl], int], tuple[str, ...]]] = {
    reasons.BEGIN_TIME: (_begin, ("2099-01-01", "in ")),
    reasons.RETRY_DELAY: (_retry, ("attempt 2 begins at ", "in 1:30:")),
    reasons.DEPENDENCY: (_depends, ("1 to finish (queued)",)),
    reasons.DRAINED: (_drained, ("new disks", "since ", "gflowctl resume")),
    reasons.GROUP: (_group, ("2 of its array are running, 2 may at a time", "gflowctl limit 1 N")),
    reasons.QUOTA: (
        lambda ctl: _quota(ctl, "--max-running-jobs=2", "--max-running-gpus=5"),
        ("runs 2 of 2 jobs (max_running_jobs)", "uses 4 of 5 GPUs (max_running_gpus), 2 asked for"),
    ),
    reasons.NEVER: (_plain, ("never start",)),
    reasons.NEVER_QUOTA: (_too_small_quota, ("project ml may use 1 GPU at most (max_running_gpus = 1), 2 asked for",)),
    reasons.RESERVATION: (_reserved, (
        "reservation 1 keeps GPU 0 for daemon until ", "reservation 2 keeps 1 GPU for daemon from ",
        "give it a --time below 1:30:", " and it starts now",
    )),
    reasons.NEVER_RESERVATION: (
        lambda ctl: _reserved(ctl, "--repeat=daily"), ("no gap between repeating reservations", "reservation 1 keeps")
    ),
    reasons.PRIORITY: (_priority, ("job 1 is promised a start by ", "give it a --time below 1:30:", " it starts now")),
    reasons.RESOURCES: (
        _resources, ("2 GPUs of type 'a100', 1 idle", "4 CPUs, 3 free", "8G memory, 4G free"),
    ),
    reasons.GPU_UNAVAILABLE: (_unavailable, (
        "2 GPUs of type 'a100', 1 of 5 can be used", "GPU 0 is faulty: fell off the bus; gflowctl gpus resume 0",
        "GPU 1 is drained: new fan; gflowctl gpus resume 1", "GPU 2 is used by others: pid 7 of bob",
        "GPU 3 is not among those that gflow may use (gflowctl gpus allow)",
    )),
    reasons.SCHEDULING: (_plain, ("not decided",)),
    reasons.DAEMON_DOWN: (_plain, ("gflowd start",)),
    reasons.HELD_BY_USER: (_plain, ("gflowctl release",)),
    reasons.NON_ZERO_EXIT: (_failed, ("exit code 3",)),
    reasons.ZOMBIE: (_plain, ("vanished",)),
    reasons.TIME_LIMIT: (_run, ("its time limit of 2:00:00",)),
    reasons.OUT_OF_MEMORY: (_run, ("more than the 4G",)),
    reasons.IDLE_GPUS: (_run, ("GPUs 0,1 do nothing",)),
    reasons.NO_OUTPUT: (_quiet, ("no output for 1:30:00 (--quiet-limit)",)),
    reasons.DEADLINE: (_too_late, ("by 2099-01-01", "with its time limit of 2:00:00")),
    reasons.TERMINAL_INPUT: (_plain, ("gflowctl attach",)),
    reasons.CANCELLED_BY_USER: (_cancelled, ("cancelled by ",)),
    reasons.TERMINAL_INPUT: (_plain, ("terminal",)),
    reasons.TERMINAL_LOST: (_plain, ("gflowctl run",)),
    reasons.CLUSTER: (_plain, ("on its cluster",)),
    reasons.CLUSTER_FULL: (_plain, ("max_pending",)),
    reasons.CLUSTER_UNKNOWN: (_plain, ("gflow.toml",)),
    reasons.CLUSTER_UNREACHABLE: (_plain, ("does not answer",)),
    reasons.cluster("QOSMaxCpuPerUser"): (_plain, ("on its cluster",)),
    reasons.CANCELLED_ELSEWHERE: (_plain, ("not by gflow",)),
    reasons.NODE_FAIL: (_plain, ("node of the cluster",)),
    reasons.PREEMPTED: (_plain, ("room for another job",)),
    reasons.COMPLETING: (_plain, ("clears up",)),
    reasons.STRAYS: (_plain, ("left behind",)),
    reasons.REQUEUED: (_plain, ("run again",)),
    reasons.UNKILLABLE: (_plain, ("SIGKILL",)),
    reasons.MAX_FAILURES: (_plain, ("array failed",)),
    reasons.signalled(9): (_plain, ("SIGKILL ended it",)),
    reasons.launch_failed("no sh"): (_plain, ("launched",)),
    reasons.dependency_failed(1): (_dependency_failed, (": job 1 failed",)),
    reasons.max_failures(3): (_plain, ("3 others of its array failed (--max-failures)",)),
    reasons.rejected("no GPU"): (_plain, ("cannot run",)),
}  # fmt: skip


@pytest.mark.parametrize("why", EVERY)
def test_every_reason_has_words_and_figures(ctl: Ctl, why: str) -> None:
    build, said = SCENES[why]
    found = words(ctl, build(ctl), why)
    for each in said:
        assert each in found, found
    assert "None" not in found


@pytest.mark.parametrize("why", EVERY)
def test_every_reason_has_words_even_where_nothing_more_is_known(ctl: Ctl, why: str) -> None:
    job_id = ctl.submit("true")
    assert words(ctl, job_id, why)
    assert descriptions.reason(why) != why
    ctl.observe(capacity={"gpus": None, "cpus": 4, "memory_mb": 8192})
    assert words(ctl, job_id, why)


def test_what_a_driver_says_and_a_model_that_is_gone(ctl: Ctl) -> None:
    job_id = ctl.submit("-g", "2", "--gpu-type", "a100", "--gpu-memory", "20G", "true")
    ctl.observe(gpus=[], gpu_trouble="driver not loaded; modprobe nvidia")
    assert "driver not loaded; modprobe nvidia" in words(ctl, job_id, reasons.GPU_UNAVAILABLE)
    ctl.observe(gpus=[{**L4, "index": 0, "state": "idle"}])
    said = words(ctl, job_id, reasons.GPU_UNAVAILABLE)
    assert "2 GPUs asked for, but this machine has 1" in said
    ctl.observe(gpus=[{**L4, "index": n, "state": "idle"} for n in range(2)])
    assert "no GPU of this machine is of type 'a100' (they are NVIDIA L4)" in words(
        ctl, job_id, reasons.GPU_UNAVAILABLE
    )


def test_no_job_is_there_for_no_reason(ctl: Ctl) -> None:
    job_id = ctl.submit("true")
    ctl.run_job(job_id)
    ctl.submit("true")
    ctl.end_job(2, exit_code=0)
    ctl.submit("true")
    assert "None" not in ctl.ok("queue", "-a", "-f", "JOBID,REASON,NODELIST(REASON)")
