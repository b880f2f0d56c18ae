"""The daemon with NVIDIA GPUs: the real pynvml on a library whose GPUs are as a text file says."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.machine import GATE, Machine, alive
from support.nvidia import NAME, VARIABLE, Cards
from support.waiting import eventually

SHOW = f"echo $CUDA_VISIBLE_DEVICES; {GATE}"


@pytest.fixture
def cards(machine: Machine, fake_nvml: Path) -> Cards:
    """Two GPUs; the daemon is not up yet."""
    found = Cards(machine.root / "gpus", 2)
    machine.env |= {"LD_LIBRARY_PATH": str(fake_nvml.parent), VARIABLE: str(found.file)}
    machine.usual = dict(machine.env)
    machine.write_config(gpu={"poll_interval": 1}, executor={"type": "process"})
    return found


def gpus(machine: Machine) -> list[dict[str, Any]]:
    return list(machine.status()["gpus"])


def states(machine: Machine) -> list[str]:
    return [gpu["state"] for gpu in gpus(machine)]


def start(machine: Machine) -> None:
    machine.start()
    eventually(lambda: len(gpus(machine)) == 2, news=machine.news)


def reason(machine: Machine, job_id: int) -> str | None:
    found: str | None = machine.job(job_id)["reason"]
    return found


def stranger(machine: Machine) -> subprocess.Popen[bytes]:
    """A process that is not gflow's."""
    return subprocess.Popen(["sleep", "600"], env={"PATH": "/usr/bin:/bin"})


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def test_the_gpus_are_shown_and_given_out(machine: Machine, cards: Cards) -> None:
    process = stranger(machine)
    cards.set("b", used=12288, util=93, temp=71, graphics=f"{process.pid}:12288")
    start(machine)
    shown = machine.ctl("info").stdout.splitlines()
    assert shown[1].split()[:5] == ["0", "Fake-A", "[................]", "0M/24G", "0%"]
    assert shown[2].split()[:8] == ["1", "Fake-B", "[########........]", "12G/24G", "93%", "71C", "idle", "pid"]
    assert "simulated" not in "\n".join(shown)
    assert "GPU1  SYS   X" in machine.ctl("gpus", "topology").stdout
    first, second = machine.submit("-g", "1", "--wrap", SHOW), machine.submit("-g", "1", "--wrap", SHOW)
    machine.until_in([first, second], "running")
    machine.open_gate()
    assert machine.wait(first, second) == 0
    assert (machine.log(first), machine.log(second)) == (b"0\n", b"1\n")
    end(process)


def test_only_the_poller_has_the_driver(machine: Machine, cards: Cards) -> None:
    start(machine)
    users = [
        name for name, pid in machine.pids().items() if NAME in Path(f"/proc/{pid}/maps").read_text()
    ]  # fmt: skip
    assert users == ["gpu_poller"]
    assert cards.names


def test_a_foreign_process_keeps_jobs_away_until_it_is_ignored_or_gone(machine: Machine, cards: Cards) -> None:
    process = stranger(machine)
    cards.set("a", processes=f"{process.pid}:500")
    start(machine)
    eventually(lambda: states(machine) == ["unmanaged", "idle"], news=machine.news)
    assert f"pid {process.pid} of " in machine.ctl("info").stdout
    first = machine.submit("-g", "1", "--wrap", SHOW)
    machine.until(first, "running")
    assert machine.job(first)["gpu_ids"] == [1]
    second = machine.submit("-g", "1", "--wrap", SHOW)
    eventually(lambda: reason(machine, second) == "Resources", news=machine.news)
    machine.ctl("gpus", "ignore", "--gpu", "0", "--pid", str(process.pid))
    machine.until(second, "running")
    assert machine.job(second)["gpu_ids"] == [0]
    machine.open_gate()
    assert machine.wait(first, second) == 0
    machine.ctl("gpus", "unignore")
    eventually(lambda: states(machine) == ["unmanaged", "idle"], news=machine.news)
    end(process)
    cards.set("a", processes=None)
    eventually(lambda: states(machine) == ["idle", "idle"], news=machine.news)


def test_a_gpu_in_use_by_what_the_driver_does_not_list_gets_no_job(machine: Machine, cards: Cards) -> None:
    cards.set("a", total=81920, used=69632, util=95)
    start(machine)
    eventually(lambda: states(machine) == ["unmanaged", "idle"], news=machine.news)
    assert "68G of 80G in use and 95% load by no process that the driver lists" in machine.ctl("info").stdout
    first = machine.submit("-g", "1", "--wrap", SHOW)
    machine.until(first, "running")
    assert machine.job(first)["gpu_ids"] == [1]
    second = machine.submit("-g", "1", "--wrap", SHOW)
    eventually(lambda: reason(machine, second) == "Resources", news=machine.news)
    cards.set("a", used=3, util=0)
    machine.until(second, "running")
    assert machine.job(second)["gpu_ids"] == [0]
    eventually(lambda: gpus(machine)[0]["used_mb"] == 3, news=machine.news)
    cards.set("a", used=69632, util=95)
    eventually(lambda: gpus(machine)[0]["used_mb"] == 69632, news=machine.news)
    assert states(machine) == ["busy", "busy"], "it may be the job's, if its processes cannot be seen"
    machine.open_gate()
    assert machine.wait(first, second) == 0
    eventually(lambda: states(machine) == ["unmanaged", "idle"], news=machine.news)


def test_to_ignore_a_process_ignores_no_other_use_of_its_gpu(machine: Machine, cards: Cards) -> None:
    process = stranger(machine)
    cards.set("a", total=81920, used=69632, util=95, processes=f"{process.pid}:500")
    start(machine)
    eventually(lambda: states(machine) == ["unmanaged", "idle"], news=machine.news)
    done = machine.ctl("gpus", "ignore", "--gpu", "0", "--pid", str(process.pid))
    assert "It has 500M of 80G; jobs on GPU 0 may run out of memory or slow down" in done.stdout
    eventually(lambda: "67.5G of 80G in use by no process" in machine.ctl("info").stdout)
    assert states(machine) == ["unmanaged", "idle"]
    end(process)


def test_a_job_gets_a_gpu_only_where_the_memory_that_it_asks_for_is_free(machine: Machine, cards: Cards) -> None:
    process = stranger(machine)
    for name in cards.names:
        cards.set(name, used=20480, processes=f"{process.pid}:20480")
    start(machine)
    eventually(lambda: states(machine) == ["unmanaged", "unmanaged"], news=machine.news)
    for index in ("0", "1"):
        machine.ctl("gpus", "ignore", "--gpu", index, "--pid", str(process.pid))
    eventually(lambda: states(machine) == ["idle", "idle"], news=machine.news)
    big = machine.submit("-g", "1", "--gpu-memory", "8G", "--wrap", SHOW)
    shares = machine.submit("-g", "1", "--gpu-memory", "8G", "--shared", "--wrap", SHOW)
    small = machine.submit("-g", "1", "--gpu-memory", "3G", "--wrap", SHOW)
    machine.until(small, "running")
    assert {machine.job(job_id)["state"] for job_id in (big, shares)} == {"queued"}
    cards.set("b", used=1, processes=None)
    machine.until(big, "running")
    assert machine.job(big)["gpu_ids"] == [1]
    machine.cancel(shares)
    machine.open_gate()
    assert machine.wait(big, small) == 0
    end(process)


def test_what_a_job_runs_is_its_own(machine: Machine, cards: Cards) -> None:
    start(machine)
    job_id = machine.submit("-g", "1", "--wrap", f"setsid sh -c 'echo $$ >pid; {GATE}' & wait")
    pid = int(eventually(lambda: machine.lines("pid"))[0])
    cards.set("a", processes=f"{pid}:500")
    eventually(lambda: gpus(machine)[0]["processes"], news=machine.news)
    eventually(lambda: [process["job_id"] for process in gpus(machine)[0]["processes"]] == [job_id], news=machine.news)
    assert states(machine) == ["busy", "idle"]
    assert machine.ctl("info").stdout.splitlines()[1].endswith(f"busy   job {job_id}")
    cards.set("a", processes=None)
    cards.set("b", processes=str(pid))
    eventually(lambda: states(machine) == ["busy", "unmanaged"], news=machine.news)
    assert "was not given" in machine.ctl("info").stdout
    machine.open_gate()
    machine.wait(job_id)


def test_a_drained_gpu_gets_no_job_until_it_is_resumed(machine: Machine, cards: Cards) -> None:
    start(machine)
    first = machine.submit("-g", "1", "--wrap", SHOW)
    machine.until(first, "running")
    eventually(lambda: states(machine) == ["busy", "idle"], news=machine.news)
    assert "its jobs go on" in machine.ctl("gpus", "drain", "0", "--reason", "fan").stdout
    machine.ctl("gpus", "drain", "1")
    second = machine.submit("-g", "1", "--wrap", SHOW)
    eventually(lambda: states(machine) == ["busy", "drained"], news=machine.news)
    assert machine.job(first)["state"] == "running"
    eventually(lambda: reason(machine, second) == "GpuUnavailable", news=machine.news)
    machine.gflowd("restart")
    eventually(lambda: states(machine) == ["busy", "drained"], news=machine.news)
    machine.ctl("gpus", "resume", "1")
    machine.until(second, "running")
    assert machine.job(second)["gpu_ids"] == [1]
    machine.open_gate()
    assert machine.wait(first, second) == 0
    eventually(lambda: states(machine) == ["drained", "idle"], news=machine.news)
    assert "GPU 0 drained: fan" in machine.ctl("info").stdout
    assert cards.names


def test_only_allowed_gpus_get_jobs(machine: Machine, cards: Cards) -> None:
    start(machine)
    machine.ctl("gpus", "allow", "1")
    eventually(lambda: states(machine) == ["restricted", "idle"], news=machine.news)
    assert machine.result("-g", "1", "--wrap", "echo $CUDA_VISIBLE_DEVICES") == "1\n"
    machine.ctl("gpus", "allow", "all")
    assert machine.result("-g", "1", "--wrap", "echo $CUDA_VISIBLE_DEVICES") == "0\n"
    assert cards.names


def test_a_lost_gpu_is_faulty_alone_and_its_job_goes_on(machine: Machine, cards: Cards) -> None:
    start(machine)
    first = machine.submit("-g", "1", "--wrap", SHOW)
    machine.until(first, "running")
    cards.set("a", error=15)
    eventually(lambda: states(machine) == ["faulty", "idle"], news=machine.news)
    assert machine.job(first)["state"] == "running"
    assert "does not answer" not in machine.ctl("info").stdout
    assert "GPU 0 is faulty: GPU is lost" in machine.ctl("doctor", check=False).stdout
    assert "when it responds again" in machine.refused(1, "gpus", "resume", "0")
    second = machine.submit("-g", "1", "--wrap", SHOW)
    machine.until(second, "running")
    shown = eventually(lambda: machine.log(second).decode())
    assert shown == f"{cards.uuids['b']}\n", "CUDA does not count the lost one"
    third = machine.submit("-g", "2", "--wrap", "true")
    machine.open_gate()
    assert machine.wait(first, second) == 0
    eventually(lambda: reason(machine, third) == "GpuUnavailable", news=machine.news)
    cards.set("a", error=None)
    eventually(
        lambda: [gpu["answers"] for gpu in gpus(machine)] == [True, True], news=machine.news
    )  # none while nobody polls
    assert states(machine) == ["faulty", "idle"], "it must be resumed"
    assert machine.job(third)["state"] == "queued"
    machine.ctl("gpus", "resume", "0")
    assert machine.wait(third) == 0


@pytest.mark.parametrize(
    ("visible_as", "before", "after"), [("index", "1", "0"), ("uuid", "b", "b"), ("auto", "1", "b")]
)
def test_jobs_get_indices_or_uuids_as_configured(
    machine: Machine, cards: Cards, visible_as: str, before: str, after: str
) -> None:
    machine.write_config(gpu={"visible_as": visible_as, "allow": "1"})
    start(machine)
    show = ("-g", "1", "--wrap", "echo $CUDA_VISIBLE_DEVICES")
    assert machine.result(*show).strip() == cards.uuids.get(before, before)
    cards.set("a", error=15)
    eventually(lambda: states(machine) == ["faulty", "idle"], news=machine.news)
    assert machine.result(*show).strip() == cards.uuids.get(after, after), "CUDA does not count the lost one"


def test_gpus_that_move_are_still_the_same(machine: Machine, cards: Cards) -> None:
    """NVML counts them otherwise; then one that was first on the bus is gone when the daemon comes back."""
    start(machine)
    machine.ctl("gpus", "allow", "1")
    first = machine.submit("-g", "1", "--wrap", SHOW)
    machine.until(first, "running")
    machine.ctl("gpus", "allow", "all")
    cards.reorder("ba")
    second = machine.submit("-g", "1", "--wrap", SHOW)
    machine.until(second, "running")
    assert machine.job(second)["gpu_ids"] == [0]
    machine.stop()
    cards.reorder("b")
    machine.start()
    eventually(lambda: [gpu["jobs"] for gpu in gpus(machine)] == [[first]], news=machine.news)
    third = machine.submit("-g", "1", "--wrap", "true")
    eventually(lambda: reason(machine, third) == "Resources", news=machine.news)
    machine.open_gate()
    assert machine.wait(first, second, third) == 0


@pytest.mark.parametrize(("code", "cure"), [(18, "reboot or reload"), (9, "modprobe")])
def test_while_the_driver_fails_jobs_with_gpus_wait_and_others_run(
    machine: Machine, cards: Cards, code: int, cure: str
) -> None:
    cards.say(f"init {code}")
    machine.start()
    waiting = [machine.submit("-g", "1", "true"), machine.submit("-g", "9", "true")]
    eventually(lambda: [reason(machine, job_id) for job_id in waiting] == ["GpuUnavailable"] * 2, news=machine.news)
    assert machine.result("echo", "on") == "on\n"
    eventually(lambda: cure in machine.ctl("info").stdout)
    assert cure in machine.ctl("doctor", check=False).stdout
    assert cure in machine.gflowd("status").stdout
    cards.say()
    assert machine.wait(waiting[0]) == 0
    assert machine.ended(waiting[1])["reason"].startswith("Rejected")
    assert machine.daemon_log().count("GPUs are unknown") == 1


def test_a_driver_that_fails_and_fails_is_told_of_once(machine: Machine, cards: Cards) -> None:
    start(machine)
    job_id = machine.submit("-g", "1", "--wrap", SHOW)
    machine.until(job_id, "running")
    cards.say("init 18")
    eventually(lambda: states(machine) == ["faulty", "faulty"], news=machine.news)
    late = machine.submit("-g", "1", "true")
    eventually(lambda: reason(machine, late) == "GpuUnavailable", news=machine.news)
    assert machine.job(job_id)["state"] == "running"
    assert machine.daemon_log().count("different versions") == 1
    cards.say()
    assert machine.wait(late) == 0
    assert machine.daemon_log().count("different versions") == 1
    machine.open_gate()
    assert machine.wait(job_id) == 0


def test_while_the_driver_hangs_no_gpu_is_given_and_other_jobs_run(machine: Machine, cards: Cards) -> None:
    start(machine)
    cards.say("hang")
    waiting = machine.submit("-g", "1", "true")
    assert machine.result("echo", "on") == "on\n"
    assert machine.job(waiting)["state"] == "queued"
    cards.say()
    assert machine.wait(waiting) == 0


def test_a_daemon_starts_and_stops_on_a_driver_that_hangs(machine: Machine, cards: Cards) -> None:
    cards.say("hang")
    machine.start()
    waiting = machine.submit("-g", "1", "true")
    assert machine.result("echo", "on") == "on\n"
    eventually(lambda: reason(machine, waiting) == "GpuUnavailable", news=machine.news)
    machine.gflowd("restart")
    assert machine.result("echo", "on") == "on\n"


def test_a_driver_that_kills_the_poller_kills_nothing_else(machine: Machine, cards: Cards) -> None:
    cards.say("abort")
    machine.start()
    before = machine.pids()
    eventually(lambda: next(w for w in machine.status()["workers"] if w["name"] == "gpu_poller")["restarts"] >= 3)
    assert machine.result("echo", "on") == "on\n"
    after = machine.pids()
    assert {name: pid for name, pid in after.items() if name != "gpu_poller"} == {
        name: pid for name, pid in before.items() if name != "gpu_poller"
    }
    cards.say()
    assert machine.result("-g", "1", "--wrap", "echo $CUDA_VISIBLE_DEVICES") == "0\n"


@pytest.mark.soak
def test_a_poller_that_hangs_is_replaced(machine: Machine, cards: Cards) -> None:
    start(machine)
    before = machine.worker("gpu_poller")
    cards.say("hang")
    eventually(lambda: not alive(before), within=90)
    cards.say()
    assert machine.result("-g", "1", "--wrap", "echo $CUDA_VISIBLE_DEVICES") == "0\n"


def test_no_job_passes_another_before_the_first_look_at_the_gpus(machine: Machine, cards: Cards) -> None:
    """Both were queued while gflowd was down, and either needs all CPUs."""
    start(machine)
    machine.gflowd("stop")
    first = machine.submit("-g", "1", "--cpus", "8", "--priority", "20", "--wrap", GATE)
    second = machine.submit("--cpus", "8", "--wrap", GATE)
    machine.start()
    machine.until(first, "running")
    assert machine.job(second)["state"] == "queued"
    machine.open_gate()
    assert machine.wait(first, second) == 0


def test_gpus_stay_known_until_another_poller_has_looked(machine: Machine, cards: Cards) -> None:
    """After a reload, and after the end of a poller: no job waits for another reason meanwhile."""
    start(machine)
    busy = machine.submit("-g", "2", "--wrap", GATE)
    machine.until(busy, "running")
    waiting = [machine.submit("-g", "1", "true")]
    for is_reload in (True, False):
        cards.say("hang")
        before = machine.worker("gpu_poller")
        if is_reload:
            machine.gflowd("reload")
        else:
            os.kill(before, signal.SIGKILL)
        eventually(lambda: machine.pids().get("gpu_poller", before) != before)  # noqa: B023 -- called before the next
        waiting.append(machine.submit("-g", "1", "true"))  # what is shown was written since
        eventually(lambda: reason(machine, waiting[-1]) == "Resources", news=machine.news)
        assert reason(machine, waiting[0]) == "Resources"
        assert states(machine) == ["busy"] * 2
        cards.say()
    machine.open_gate()
    assert machine.wait(busy, *waiting) == 0


def test_a_lost_gpu_is_not_forgotten_with_the_poller_that_saw_it(machine: Machine, cards: Cards) -> None:
    start(machine)
    cards.set("a", error=15)
    eventually(lambda: states(machine) == ["faulty", "idle"], news=machine.news)
    before = machine.worker("gpu_poller")
    os.kill(before, signal.SIGKILL)
    eventually(lambda: machine.pids().get("gpu_poller", before) != before)
    cards.set("a", error=None)
    eventually(
        lambda: [gpu["answers"] for gpu in gpus(machine)] == [True, True], news=machine.news
    )  # none while nobody polls
    assert states(machine) == ["faulty", "idle"]
    machine.ctl("gpus", "resume", "0")
    eventually(lambda: states(machine) == ["idle", "idle"], news=machine.news)


def test_memory_errors_and_fatal_xids_take_a_gpu_out(machine: Machine, cards: Cards) -> None:
    start(machine)
    cards.set("a", ecc=2)
    cards.set("b", xid="79/1")
    eventually(lambda: states(machine) == ["faulty", "faulty"], news=machine.news)
    shown = machine.ctl("info").stdout
    assert "GPU 0 faulty: 2 uncorrectable memory errors; gflowctl gpus resume 0" in shown
    assert "GPU 1 faulty: Xid 79: fell off the bus; gflowctl gpus resume 1" in shown
    machine.ctl("gpus", "resume", "0")
    machine.ctl("gpus", "resume", "1")
    eventually(lambda: states(machine) == ["idle", "idle"], news=machine.news)
    cards.set("a", ecc=3)
    eventually(lambda: states(machine) == ["faulty", "idle"], news=machine.news)


def test_the_gpus_of_a_job_survive_the_scheduler(machine: Machine, cards: Cards) -> None:
    start(machine)
    first = machine.submit("-g", "2", "--wrap", SHOW)
    machine.until(first, "running")
    os.kill(machine.worker("scheduler"), signal.SIGKILL)
    second = machine.submit("-g", "1", "true")
    eventually(lambda: reason(machine, second) == "Resources", news=machine.news)
    assert states(machine) == ["busy", "busy"]
    machine.open_gate()
    assert machine.wait(first, second) == 0
    assert cards.names


def test_a_job_that_leaves_its_gpus_idle_is_marked_and_then_cancelled(machine: Machine, cards: Cards) -> None:
    cards.set("a", util=7)  # as much load without a process as makes nobody suspect that somebody hides there
    machine.write_config(gpu={"idle_warn": "1s"})
    start(machine)
    busy, idle = machine.submit("-g", "1", "--wrap", GATE), machine.submit("-g", "1", "--wrap", GATE)
    eventually(lambda: reason(machine, idle) == "IdleGpus", news=machine.news)
    assert "1 (IdleGpus)" in machine.ctl("queue").stdout
    assert f"job {idle} (IdleGpus)" in machine.ctl("info").stdout
    assert "its GPU 1 does nothing" in machine.ctl("show", str(idle)).stdout
    machine.write_config(gpu={"idle_cancel": "2s"})
    machine.gflowd("reload")
    ended = machine.ended(idle)
    assert (ended["state"], ended["reason"]) == ("cancelled", "IdleGpus")
    assert (machine.job(busy)["state"], reason(machine, busy)) == ("running", None)
    machine.open_gate()
    assert machine.wait(busy) == 0


def test_the_mean_use_of_its_gpus_is_kept_with_a_job(machine: Machine, cards: Cards) -> None:
    cards.set("a", util=40)
    start(machine)

    def polled() -> dict[str, Any] | None:
        """A job that a poll has seen: on a busy machine the next poll may come after its end."""
        job = machine.ended(machine.submit("-g", "1", "--wrap", "sleep 1.5"))
        return job if job["used"]["gpu_polls"] else None

    job = eventually(polled)
    assert job is not None
    assert (job["gpu_ids"], job["used"]["gpu_percent"]) == ([0], 40.0)
    assert "GPU use:     40 % on average" in machine.ctl("show", str(job["id"])).stdout
    assert "GPU use:      40 % on average" in machine.ctl("stats").stdout
    assert cards.names
