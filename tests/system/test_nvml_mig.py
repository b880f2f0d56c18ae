"""The daemon with GPUs that are cut into MIG devices, and with some that draw: the real pynvml on the fake library."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.machine import GATE, Machine, new_machine
from support.nvidia import VARIABLE, Cards
from support.waiting import eventually

SHOW = f"echo $CUDA_VISIBLE_DEVICES; {GATE}"


@pytest.fixture
def cards(machine: Machine, fake_nvml: Path) -> Cards:
    """GPU `a` as the devices `a0` and `a1` of 1g, GPU `b` whole; the daemon is not up yet."""
    found = Cards(machine.root / "gpus", 2)
    found.cut("a", "1g.10gb", "1g.10gb")
    equip(machine, found, fake_nvml)
    return found


@pytest.fixture
def other(cards: Cards, fake_nvml: Path) -> Iterator[Machine]:
    """Another user's gflow on the same GPUs; its daemon is not up yet."""
    with new_machine() as found:
        equip(found, cards, fake_nvml)
        yield found


@pytest.fixture
def stranger() -> Iterator[int]:
    """The pid of a process that is not gflow's."""
    process = subprocess.Popen(["sleep", "600"], env={"PATH": "/usr/bin:/bin"})
    yield process.pid
    process.kill()
    process.wait()


def equip(machine: Machine, cards: Cards, library: Path) -> None:
    machine.env |= {"LD_LIBRARY_PATH": str(library.parent), VARIABLE: str(cards.file)}
    machine.usual = dict(machine.env)
    machine.write_config(gpu={"poll_interval": 1}, executor={"type": "process"})


def gpus(machine: Machine) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(machine.ctl("info", "--json").stdout)["gpus"]
    return found


def states(machine: Machine) -> list[str]:
    return [gpu["state"] for gpu in gpus(machine)]


def start(machine: Machine, *expected: str) -> None:
    machine.start()
    eventually(lambda: states(machine) == list(expected or ("idle", "idle", "idle")), news=machine.news)


def begin(machine: Machine, *words: str) -> int:
    """A job that runs until the gate is open."""
    job_id = machine.submit("-g", "1", *words, "--wrap", SHOW)
    machine.until(job_id, "running")
    return job_id


def told(machine: Machine, job_id: int) -> str:
    """What CUDA_VISIBLE_DEVICES of a job is."""
    return str(eventually(lambda: machine.log(job_id).decode())).rstrip("\n")


def test_two_jobs_have_two_devices_of_one_gpu_at_once_by_their_uuids(machine: Machine, cards: Cards) -> None:
    start(machine)
    shown = machine.ctl("info").stdout.splitlines()
    models = [" ".join(line.split("[")[0].split()) for line in shown[1:4]]
    assert models == ["0 Fake-A MIG 1g.10gb", "1 Fake-A MIG 1g.10gb", "2 Fake-B"]
    assert "9.5G" in shown[1]
    first, second, whole = gpus(machine)
    assert (first["parent"], first["instance"], first["utilisation"]) == (cards.uuids["a"], [7, 0], None)
    assert (second["instance"], whole["parent"]) == ([8, 0], None)
    assert "GPU0  X     MIG   SYS" in machine.ctl("gpus", "topology").stdout
    jobs = [begin(machine) for _ in "abc"]
    assert [told(machine, job_id) for job_id in jobs] == [cards.uuids[name] for name in ("a0", "a1", "b")]
    eventually(lambda: states(machine) == ["busy", "busy", "busy"], news=machine.news)
    machine.open_gate()
    assert machine.wait(*jobs) == 0


def test_a_foreign_process_on_one_device_leaves_the_other_to_jobs(
    machine: Machine, cards: Cards, stranger: int
) -> None:
    cards.set("a", processes=f"{stranger}:500:7:0")
    start(machine, "unmanaged", "idle", "idle")
    assert machine.result("-g", "1", "--gpu-type", "mig", "--wrap", "echo $CUDA_VISIBLE_DEVICES") == (
        f"{cards.uuids['a1']}\n"
    )
    machine.ctl("gpus", "ignore", "--gpu", "0", "--pid", str(stranger))
    eventually(lambda: states(machine) == ["idle"] * 3, news=machine.news)


def test_a_job_finds_its_own_process_on_its_device(machine: Machine, cards: Cards) -> None:
    start(machine)
    job_id = machine.submit("-g", "1", "--wrap", f"echo $$ >pid; {GATE}")
    pid = int(eventually(lambda: machine.lines("pid"))[0])
    cards.set("a0", processes=f"{pid}:500")
    eventually(lambda: [process["job_id"] for process in gpus(machine)[0]["processes"]] == [job_id], news=machine.news)
    assert states(machine) == ["busy", "idle", "idle"]
    cards.set("a0", processes=None)
    cards.set("a1", processes=pid)
    eventually(lambda: states(machine) == ["busy", "unmanaged", "idle"], news=machine.news)
    machine.open_gate()
    assert machine.wait(job_id) == 0


def test_devices_are_chosen_by_profile_and_by_memory_and_several_only_by_name(machine: Machine, cards: Cards) -> None:
    cards.cut("b", "3g.40gb", "1g.10gb")
    cards.set("b0", total=40192)
    start(machine, *["idle"] * 4)
    assert told(machine, begin(machine, "--gpu-memory", "20G")) == cards.uuids["b0"]
    assert told(machine, begin(machine, "--gpu-type", "b mig 1G")) == cards.uuids["b1"]
    machine.open_gate()
    assert "has 2" in machine.refused(1, "submit", "-g", "3", "--gpu-type", "fake-a mig", "true")
    assert "--gpu-type names them" in machine.refused(1, "submit", "-g", "2", "true")
    both = machine.result("-g", "2", "--gpu-type", "a MIG", "--wrap", "echo $CUDA_VISIBLE_DEVICES")
    assert both == f"{cards.uuids['a0']},{cards.uuids['a1']}\n"


def test_a_device_is_drained_and_resumed_alone_and_reserved_by_its_index(machine: Machine, cards: Cards) -> None:
    start(machine)
    machine.ctl("gpus", "drain", "0")
    eventually(lambda: states(machine) == ["drained", "idle", "idle"], news=machine.news)
    machine.ctl("reserve", "create", "--user", "nobody", "--gpu-list", "1", "--start", "now", "--for", "1h")
    eventually(lambda: states(machine) == ["drained", "reserved", "idle"], news=machine.news)
    assert told(machine, begin(machine)) == cards.uuids["b"]
    machine.gflowd("restart")
    machine.ctl("gpus", "resume", "0")
    assert told(machine, begin(machine)) == cards.uuids["a0"]
    machine.open_gate()


def test_a_gpu_that_is_lost_is_lost_with_all_its_devices_and_resumed_with_them(machine: Machine, cards: Cards) -> None:
    start(machine)
    job_id = begin(machine)
    cards.set("a", error=15)
    eventually(lambda: states(machine) == ["faulty", "faulty", "idle"], news=machine.news)
    assert machine.job(job_id)["state"] == "running"
    cards.set("a", error=None)
    eventually(lambda: gpus(machine)[1]["answers"], news=machine.news)
    assert states(machine) == ["faulty", "faulty", "idle"]
    machine.ctl("gpus", "resume", "1")
    eventually(lambda: states(machine) == ["busy", "idle", "idle"], news=machine.news)
    machine.open_gate()
    assert machine.wait(job_id) == 0


def test_devices_that_are_made_otherwise_are_found_and_what_waits_for_them_waits(
    machine: Machine, cards: Cards
) -> None:
    start(machine)
    lost = begin(machine)
    waiting = machine.submit("-g", "1", "--gpu-type", "1g", "--hold", "--wrap", "true")
    cards.cut("a")
    eventually(lambda: states(machine) == ["faulty", "idle"], news=machine.news)
    assert "GPU 0 faulty: in MIG mode without a MIG device; create some" in machine.ctl("info").stdout
    machine.ctl("release", str(waiting))
    eventually(lambda: machine.job(waiting)["reason"] == "GpuUnavailable", news=machine.news)
    assert machine.job(lost)["state"] == "running"
    cards.cut("a", "2g.20gb")
    eventually(lambda: [gpu["model"] for gpu in gpus(machine)] == ["Fake-A MIG 2g.20gb", "Fake-B"], news=machine.news)
    eventually(lambda: states(machine) == ["idle", "idle"], news=machine.news)
    assert machine.job(waiting)["state"] == "queued"
    cards.cut("a", None, "1g.10gb")
    assert machine.wait(waiting) == 0
    assert machine.daemon_log().count("GPUs have changed") == 3
    cards.join("a")
    eventually(
        lambda: [gpu["uuid"] for gpu in gpus(machine)] == [cards.uuids["a"], cards.uuids["b"]], news=machine.news
    )
    assert machine.result("-g", "2", "--wrap", "echo $CUDA_VISIBLE_DEVICES") == "0,1\n"
    machine.open_gate()
    assert machine.wait(lost) == 0


def test_a_gpu_that_is_cut_up_under_a_job_is_still_all_that_job_s(machine: Machine, cards: Cards) -> None:
    start(machine)
    job_id = begin(machine, "--gpu-type", "fake-b")
    cards.cut("b", "1g.10gb", "1g.10gb")
    eventually(lambda: states(machine) == ["idle", "idle", "busy", "busy"], news=machine.news)
    machine.open_gate()
    assert machine.wait(job_id) == 0
    eventually(lambda: states(machine) == ["idle"] * 4, news=machine.news)


def test_two_daemons_do_not_give_out_the_same_device_nor_a_part_of_the_other_s_gpu(
    machine: Machine, cards: Cards, other: Machine
) -> None:
    for each in (machine, other):
        start(each)
    mine, whole = begin(machine), begin(machine, "--gpu-type", "fake-b")
    eventually(lambda: states(other) == ["unmanaged", "idle", "unmanaged"])
    theirs = begin(other)
    assert (told(machine, mine), told(other, theirs)) == (cards.uuids["a0"], cards.uuids["a1"])
    cards.cut("b", "1g.10gb")
    eventually(lambda: [gpu["parent"] for gpu in gpus(other)] == [cards.uuids["a"], cards.uuids["a"], cards.uuids["b"]])
    assert states(other) == ["unmanaged", "busy", "unmanaged"], "it is all of the job that had the GPU"
    for each, ids in ((machine, [mine, whole]), (other, [theirs])):
        each.open_gate()
        assert each.wait(*ids) == 0
    eventually(lambda: states(other) == ["idle"] * 3)


def test_a_screen_keeps_no_job_from_its_gpu_but_its_memory_counts(
    machine: Machine, cards: Cards, stranger: int
) -> None:
    cards.cut("a", "1g.10gb")
    cards.set("b", graphics=f"{stranger}:20000", used=20000)
    start(machine, "idle", "idle")
    assert f"pid {stranger} of " in (shown := machine.ctl("info").stdout)
    assert "(graphics)" in shown
    assert [process["graphics"] for process in gpus(machine)[1]["processes"]] == [True]
    assert "only draws" in machine.refused(1, "gpus", "ignore", "--gpu", "1", "--pid", str(stranger))
    shared = ("--shared", "--gpu-type", "fake-b", "--gpu-memory")
    small = begin(machine, *shared, "4G")
    large = machine.submit("-g", "1", *shared, "8G", "--wrap", "true")
    eventually(lambda: machine.job(large)["reason"] == "Resources", news=machine.news)
    cards.set("b", graphics=None, used=0)
    assert machine.wait(large) == 0
    cards.set("b", graphics=f"{stranger}:1", processes=f"{stranger}:1")
    machine.open_gate()
    assert machine.wait(small) == 0
    eventually(lambda: states(machine) == ["idle", "unmanaged"], news=machine.news)
