from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gflowd.core.gpu.device import Gpu, GpuProcess
from gflowd.effects.proc import boot_id

if TYPE_CHECKING:
    from support.ctl import Ctl


def start_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def gpu(index: int, state: str = "idle", cause: str | None = None, jobs: tuple[int, ...] = (), **of: Any) -> Any:
    processes = of.pop("processes", ())
    links = tuple("X" if index == other else "PIX" for other in range(3))
    told = Gpu(index=index, uuid=f"GPU-{index}", model="M", memory_mb=1024, links=links, **of).fields()
    seen = [process.fields() for process in processes]
    return {**told, "processes": seen, "state": state, "cause": cause, "jobs": list(jobs)}


FAULT = {"fault": "GPU is lost", "lasting": True}


@pytest.fixture
def seen(ctl: Ctl) -> Ctl:
    """Three GPUs: 0 with this process on it, 1 with one of job 7, 2 idle."""
    mine = GpuProcess(pid=os.getpid(), user="ada", start=start_of(os.getpid()))
    job = GpuProcess(pid=5, user="ada", start=9, job_id=7)
    ghost = GpuProcess(pid=6)
    cause = f"pid {os.getpid()} of ada"
    first = gpu(0, "unmanaged", cause, processes=(mine,))
    ctl.observe(gpus=[first, gpu(1, "busy", jobs=(7,), processes=(job, ghost)), gpu(2)])
    return ctl


def setting(ctl: Ctl, name: str) -> Any:
    return ctl.store.read().of("setting").get(f"gpus.{name}")


def test_some_gpus_are_allowed_and_all_again(seen: Ctl) -> None:
    assert seen.ok("gpus", "allow", "2,0") == "Allowed: jobs may use GPU 0,2 only\n"
    assert setting(seen, "allow") == {"gpus": [0, 2]}
    again = seen.run("gpus", "allow", "0,2")
    assert (again.stdout, again.returncode) == ("", 0)
    assert "already" in again.stderr
    seen.ok("gpus", "allow", "0-1")
    assert setting(seen, "allow") == {"gpus": [0, 1]}
    assert seen.ok("gpus", "allow", "all") == "Allowed: jobs may use every GPU\n"
    assert setting(seen, "allow") == {"gpus": None}


def test_what_was_allowed_can_be_left_to_the_configuration_again(seen: Ctl) -> None:
    seen.observe(gpus=[gpu(0), gpu(1)], config={"gpu_allow": [1], "gpu_allow_by": "/etc/gflow.toml"})
    assert "Allowed:  jobs may use GPU 1 only (/etc/gflow.toml)" in seen.ok("info")
    seen.ok("gpus", "allow", "0")
    both = "jobs may use GPU 0 only (gflowctl gpus allow, which takes precedence over /etc/gflow.toml)"
    assert f"Allowed:  {both}" in seen.ok("info")
    assert json.loads(seen.ok("info", "--json"))["gpus_allowed"] == {
        "gpus": [0], "by": "gflowctl gpus allow", "over": "/etc/gflow.toml",
    }  # fmt: skip
    assert f"WARN  {both}: gflowctl gpus allow --default removes it" in seen.run("doctor").stdout
    assert seen.ok("gpus", "allow", "--default") == "Allowed: jobs may use GPU 1 only (/etc/gflow.toml)\n"
    assert setting(seen, "allow") is None
    assert "nothing changes" in seen.run("gpus", "allow", "--default").stderr
    assert "ok    jobs may use GPU 1 only (/etc/gflow.toml)" in seen.run("doctor").stdout
    seen.observe(gpus=[gpu(0)])
    assert "Allowed" not in seen.ok("info")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("allow", "3"), 1),
        (("allow", "0-999999999"), 1),
        (("allow", "x"), 2),
        (("allow", ""), 2),
        (("allow", "-1"), 2),
        (("allow", "2-1"), 2),
        (("allow",), 2),
        (("allow", "0", "--default"), 2),
        (("drain", "9"), 1),
        (("drain", "0,1"), 2),
        (("drain", "0", "--reason", b"a\xff"), 1),
        (("resume", "-1"), 2),
        (("ignore", "--gpu", "0"), 2),
        (("unignore", "--pid", "5"), 2),
        (("ignore", "--gpu", "0", "--pid", "4"), 1),
        (("ignore", "--gpu", "0", "--pid", "4194303"), 1),
        (("ignore", "--gpu", "0", "--pid", "4194305"), 2),
        (("ignore", "--gpu", "1", "--pid", "5"), 1),
        (("ignore", "--gpu", "1", "--pid", "6"), 1),
        (("ignore", "--gpu", "1", "--pid", "4194304"), 1),
        (("ignore", "--gpu", "1", "--pid", "4194305"), 2),
        (("explode",), 2),
        ((), 2),
    ],
)
def test_nonsense_is_one_line_and_changes_nothing(seen: Ctl, words: tuple[str | bytes, ...], status: int) -> None:
    seen.fails(status, "gpus", *words)
    assert not os.path.exists(seen.state.snapshot)


def test_without_gpus_there_is_nothing_to_say(ctl: Ctl) -> None:
    assert "not polled" in ctl.fails(1, "gpus", "drain", "0")
    ctl.observe(gpus=[])
    assert "no GPUs" in ctl.fails(1, "gpus", "topology")
    ctl.observe(gpus=[], gpu_trouble="the driver is gone; reboot")
    assert ctl.fails(1, "gpus", "resume", "0") == "the driver is gone; reboot"


def test_a_gpu_is_drained_and_resumed(seen: Ctl) -> None:
    assert "its jobs go on" in seen.ok("gpus", "drain", "1", "--reason", "new fan")
    order = setting(seen, "drained")["GPU-1"]
    assert (order["reason"], set(order)) == ("new fan", {"reason", "at", "by"})
    seen.ok("gpus", "drain", "2")
    again = seen.run("gpus", "drain", "1")
    assert again.returncode == 0
    assert "already drained" in again.stderr
    assert "new fan" in again.stderr
    assert setting(seen, "drained")["GPU-1"] == order
    assert seen.ok("gpus", "resume", "1") == "Resumed GPU 1\n"
    assert set(setting(seen, "drained")) == {"GPU-2"}
    seen.ok("gpus", "resume", "2")
    assert setting(seen, "drained") is None
    assert "nothing to resume" in seen.run("gpus", "resume", "2").stderr


def test_a_faulty_gpu_is_resumed_when_it_answers(ctl: Ctl) -> None:
    lost = gpu(1, "faulty", "GPU is lost", answers=False, **FAULT)
    ctl.observe(gpus=[gpu(0, "faulty", "GPU is lost", ecc=3, **FAULT), lost, gpu(2, "faulty", "x", fault="x")])
    assert ctl.ok("gpus", "resume", "0") == "Resumed GPU 0\n"
    order = setting(ctl, "resumed")["GPU-0"]
    assert (order["ecc"], order["boot"], set(order)) == (3, boot_id(), {"ecc", "boot", "at"})
    assert "when it responds again" in ctl.fails(1, "gpus", "resume", "1")
    assert "when the fault is over" in ctl.fails(1, "gpus", "resume", "2")
    ctl.ok("gpus", "drain", "1")
    both = ctl.run("gpus", "resume", "1")
    assert (both.returncode, both.stdout) == (0, "Resumed GPU 1\n")
    assert "when it responds again" in both.stderr


def test_a_process_is_ignored_by_its_identity(seen: Ctl) -> None:
    pid = os.getpid()
    assert "no process is ignored" in seen.run("gpus", "ignore").stderr
    assert seen.ok("gpus", "ignore", "--gpu", "0", "--pid", str(pid)).startswith(f"Ignored process {pid}")
    assert setting(seen, "ignored") == [{"gpu": "GPU-0", "pid": pid, "start": start_of(pid), "boot": boot_id()}]
    assert "already" in seen.run("gpus", "ignore", "--gpu", "0", "--pid", str(pid)).stderr
    assert seen.ok("gpus", "ignore").split()[3:5] == ["0", str(pid)]
    assert [(each["gpu"], each["pid"]) for each in json.loads(seen.ok("gpus", "ignore", "--json"))] == [(0, pid)]
    assert "is not ignored" in seen.run("gpus", "unignore", "--gpu", "2", "--pid", str(pid)).stderr
    assert "again" in seen.ok("gpus", "unignore", "--gpu", "0", "--pid", str(pid))
    assert setting(seen, "ignored") is None
    assert json.loads(seen.ok("gpus", "ignore", "--json")) == []


def test_a_process_that_has_ended_is_ignored_no_more(seen: Ctl) -> None:
    child = subprocess.Popen(["sleep", "60"])
    gone = {"gpu": "GPU-2", "pid": child.pid, "start": start_of(child.pid), "boot": boot_id()}
    with seen.store.commit() as commit:
        commit.put("setting", "gpus.ignored", [gone, {**gone, "boot": "another"}, {**gone, "start": 1}])
    assert [each["pid"] for each in json.loads(seen.ok("gpus", "ignore", "--json"))] == [child.pid]
    child.kill()
    child.wait()
    assert json.loads(seen.ok("gpus", "ignore", "--json")) == []
    seen.ok("gpus", "ignore", "--gpu", "0", "--pid", str(os.getpid()))
    assert [each["pid"] for each in setting(seen, "ignored")] == [os.getpid()]
    seen.ok("gpus", "unignore")
    assert setting(seen, "ignored") is None


def test_the_topology_is_printed_as_nvidia_smi_does(ctl: Ctl) -> None:
    ctl.observe(gpus=[gpu(index) for index in range(3)])
    lines = ctl.ok("gpus", "topology").splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["GPU0", "GPU1", "GPU2"], ["GPU0", "X", "PIX", "PIX"], ["GPU1", "PIX", "X", "PIX"],
    ]  # fmt: skip
    assert any(line.startswith("PIX ") for line in lines)
    assert "simulated" not in ctl.ok("gpus", "topology")
    assert json.loads(ctl.ok("gpus", "topology", "--json"))[0]["links"] == ["X", "PIX", "PIX"]
    ctl.observe(gpus=[gpu(index, simulated=True) for index in range(3)])
    assert "simulated" in ctl.ok("gpus", "topology")


def test_info_shows_who_is_on_each_gpu_and_why_it_is_not_used(seen: Ctl) -> None:
    lines = seen.ok("info").splitlines()
    assert lines[1].endswith(f"unmanaged  pid {os.getpid()} of ada")
    assert lines[2].endswith("busy       job 7, pid 6 of ?")
    assert lines[3].endswith("idle       -")
    assert lines[4] == ""
    assert "\n".join(lines).isascii()
    elsewhere = gpu(0, "unmanaged", "allocated by another gflow daemon")
    lost = gpu(1, "faulty", "GPU is lost", **FAULT)
    seen.observe(gpus=[elsewhere, lost, gpu(2, "faulty", "GPU is lost", answers=False, **FAULT)])
    assert seen.ok("info").splitlines()[4:7] == [
        "GPU 0 unmanaged: allocated by another gflow daemon",
        "GPU 1 faulty: GPU is lost; gflowctl gpus resume 1",
        "GPU 2 faulty: GPU is lost",
    ]
    assert "GPU 1 is faulty: GPU is lost: gflowctl gpus resume 1" in seen.run("doctor").stdout


def test_info_and_doctor_say_what_is_wrong_with_the_driver(ctl: Ctl) -> None:
    ctl.observe(gpus=[], gpu_trouble="versions differ; reboot", capacity={"gpus": None, "cpus": 4, "memory_mb": 1})
    assert "GPUs:     versions differ; reboot\n" in ctl.ok("info")
    assert "WARN  no job gets a GPU: versions differ; reboot\n" in ctl.run("doctor").stdout
    ctl.observe(gpus=[gpu(0, "faulty", "x")], gpu_trouble="x", capacity={"gpus": None, "cpus": 4, "memory_mb": 1})
    assert "GPUs unknown: x\n" in ctl.ok("info")
    assert json.loads(ctl.ok("info", "--json"))["gpu_trouble"] == "x"


def test_the_doctor_says_to_whom_gpus_are_open_in_a_daemon_for_many_users(ctl: Ctl) -> None:
    ctl.observe(gpus=[])
    assert "open" not in ctl.run("doctor").stdout
    for enforced, told in (("off", "to every process"), ("jobs", "logins can open all"), ("everyone", "logins none")):
        ctl.observe(gpus=[], enforce_gpus=enforced)
        assert told in ctl.run("doctor").stdout
    ctl.observe(gpus=[], enforce_gpus="jobs", open_gpus="no BPF")
    assert "WARN  GPUs are open to others: no BPF: see enforce_gpus in gflow.toml(5)" in ctl.run("doctor").stdout


def test_a_mig_device_is_resumed_with_its_gpu(ctl: Ctl) -> None:
    part = {"parent": "GPU-9", "instance": (1, 0)}
    ctl.observe(gpus=[gpu(0), gpu(1, "faulty", "lost", **FAULT, **part), gpu(2, "drained", **part)])
    ctl.ok("gpus", "resume", "1")
    assert list(setting(ctl, "resumed")) == ["GPU-9"]
    ctl.ok("gpus", "drain", "2")
    assert list(setting(ctl, "drained")) == ["GPU-2"]
    ctl.observe(gpus=[gpu(0) | {"uuid": "GPU-9"}, gpu(1)])
    ctl.ok("gpus", "drain", "0")
    ctl.observe(gpus=[gpu(0), gpu(1), gpu(2, "drained", **part)])
    ctl.ok("gpus", "resume", "2")
    assert setting(ctl, "drained") is None


def test_what_only_draws_is_shown_and_need_not_be_ignored(ctl: Ctl) -> None:
    screen = GpuProcess(pid=os.getpid(), user="root", start=start_of(os.getpid()), graphics=True)
    ctl.observe(gpus=[gpu(0, processes=(screen,))])
    assert f"pid {screen.pid} of root (graphics)" in ctl.ok("info")
    assert "only draws" in ctl.run("gpus", "ignore", "--gpu", "0", "--pid", str(screen.pid)).stderr
