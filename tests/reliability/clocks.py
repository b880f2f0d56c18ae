"""The wall clock set forward and back by a day, for the processes of one machine, while jobs run, wait and are kept
waiting. No clock of the real machine is touched.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import crashing
from damage import expect
from day import PATIENCE, RAN, FaultyMachine
from outcome import Result
from support.waiting import eventually

from gflowd.effects.attempt import jobdir

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = Path(__file__).parent.parent / "set_clock" / "set_clock.c"
COMPILER = shutil.which("gcc") or shutil.which("cc")
HOUR, DAY = 3600, 86400
# Seconds by the kernel's own clock, at the beginning of the script and when the limit is felt.
TIMED = (
    "up() { read -r up _ </proc/uptime; echo $1 $up >>up; }; trap 'up i; exit 9' INT; up b; while :; do sleep 0.1; done"
)


class Clock:
    """The wall clock of `machine`, whose daemon is not started yet."""

    def __init__(self, machine: FaultyMachine) -> None:
        library, self._offset = machine.root / "set_clock.so", machine.root / "offset"
        flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC"]
        subprocess.run([str(COMPILER), *flags, "-o", library, SOURCE], check=True, timeout=60)
        self.put(0)
        machine.env |= {"LD_PRELOAD": str(library), "SET_CLOCK": str(self._offset)}
        machine.env[crashing.SILENCE] = (
            "8"  # the kernel does not tell of this clock, so it is the next look that counts
        )

    def put(self, seconds: float) -> None:
        """So far ahead of the real one."""
        fd = os.open(self._offset, os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(fd, struct.pack("q", int(seconds)), 0)  # no one reads half of it
        os.close(fd)


def limits(machine: FaultyMachine, result: Result, seconds: float) -> None:
    """A job with a time limit of an hour, the clock set by more while it runs; then the same with a restart. Only then
    it gets one of so many `seconds` since its beginning, however long all that took: the files of one that ends while
    the clock is set would have the kernel's times.
    """
    clock = Clock(machine)
    machine.start()
    took = []
    for there, back, restart in ((DAY, 0, False), (-DAY, 0, True)):
        (machine.work / "up").unlink(missing_ok=True)
        job_id = machine.submit("-t", f"{HOUR}s", "--grace", "60s", "--wrap", TIMED)
        eventually(lambda: machine.lines("up"), within=PATIENCE)
        for offset in (there, back):
            clock.put(offset)
            result.tried += 1
            if restart:
                machine.gflowd("restart")
            machine.result("date")
            job = machine.job(job_id)
            expect(job["state"] == "running", "a clock that was set ended it", job)
            expect(HOUR - PATIENCE < job["time_left"] <= HOUR, "what is left is told wrong", job)
        machine.ctl("update", str(job_id), "-t", f"{seconds:g}s")
        machine.wait(job_id)
        job = machine.job(job_id)
        expect((job["state"], job["exit_code"]) == ("timeout", 9), job)
        felt = float(machine.lines("up")[-1].split()[1])
        took.append(felt - _started(machine, job_id))
        expect(seconds - 0.1 < took[-1] < seconds + PATIENCE, "the limit did not hold", took)
    result.note = f"with a limit of {seconds:g} s they were ended after {' and '.join(f'{t:.1f} s' for t in took)}"


def _started(machine: FaultyMachine, job_id: int) -> float:
    """When the process of a job started, from which its limit counts: seconds since boot."""
    begun = jobdir.beginning(machine.state.attempt(job_id, 1))
    assert begun is not None
    assert begun.identity is not None
    return begun.identity.start / os.sysconf("SC_CLK_TCK")


def edges(machine: FaultyMachine, result: Result) -> None:
    """Begin times and a daily reservation of all GPUs for somebody else, met, passed, and before us once more."""
    clock = Clock(machine)
    machine.start()

    def put(seconds: float) -> None:
        clock.put(seconds)
        result.tried += 1

    def submit(*words: str) -> int:
        return machine.submit(*words, "--wrap", RAN)

    def until_kept_waiting(job_id: int) -> None:
        eventually(lambda: machine.job(job_id)["reason"] == "Reservation", within=PATIENCE)

    eventually(lambda: machine.status()["gpus"], within=PATIENCE)
    soon, late = submit("--begin", "now+1h"), submit("--begin", "now+30h")
    machine.ctl("reserve", "create", "--user", "nobody", "--gpu-list", "0,1", "--start", "now+1h", "--for", "2h",
                "--repeat", "daily")  # fmt: skip
    before = submit("-g", "1", "-t", "10m")
    machine.wait(before)
    put(1.5 * HOUR)  # into the reservation
    machine.wait(soon)
    first = submit("-g", "1", "-t", "10m")
    until_kept_waiting(first)
    put(DAY)  # after it, and before the next day's
    machine.wait(first)
    expect(machine.job(late)["state"] == "queued", machine.job(late))
    put(0)  # a day back: before both
    again = submit("--begin", "now+1h")
    too_long = submit("-g", "1", "-t", "90m")
    until_kept_waiting(too_long)
    machine.cancel(too_long)
    second = submit("-g", "1", "-t", "10m")
    machine.wait(second)
    expect(machine.job(again)["reason"] == machine.job(late)["reason"] == "BeginTime", machine.jobs())
    put(DAY + 1.5 * HOUR)  # into the next day's
    machine.wait(again)
    third = submit("-g", "1", "-t", "10m")
    until_kept_waiting(third)
    expect(machine.job(late)["state"] == "queued", machine.job(late))
    put(DAY + 7 * HOUR)
    machine.wait(third, late)
    ran = Counter(machine.lines("ran"))
    ids = (soon, late, before, first, again, second, third)
    expect(ran == {f"{job_id}.1": 1 for job_id in ids}, "ran", ran)


def try_all(new_machine: Callable[[], FaultyMachine], seconds: float) -> list[Result]:
    """Both."""
    limit = Result(
        "wall clock set a day forward and back, and back and forward with restarts, while a job with a time limit runs",
        "the limit counts the time that really passed",
    )
    edge = Result(
        "wall clock set by hours and a day, forward and back, with begin times and a daily reservation ahead",
        "each begin time and window starts when the clock says so; no job runs twice or is forgotten",
    )
    for result, attempt in ((limit, lambda machine: limits(machine, limit, seconds)), (edge, lambda m: edges(m, edge))):
        if COMPILER is None:
            result.note = "not tried: no C compiler"
            continue
        try:
            with new_machine() as machine:  # type: ignore[attr-defined]
                attempt(machine)
        except Exception as why:
            result.broken.append(repr(why))
    return [limit, edge]
