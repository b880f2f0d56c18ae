"""`gflowctl submit` while the gateway is killed again and again: an id that is told is a job's, and nobody has two."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

    from support.shared_machine import Person, SharedMachine

AT_ONCE, EACH = 3, 4  # submitters of each user, and what each submits, one after the other
KILLS = 4
# Tries again, under another name, until it is told an id.
LOOP = """
for n in $(seq $2); do
    try=0
    until gflowctl submit --parsable --hold --name "$1-$n-$try" true; do
        echo "$1-$n-$try $?"
        try=$((try + 1))
        sleep 1
    done
    echo "$1-$n-$try 0"
done
"""


def gateways(machine: SharedMachine) -> list[int]:
    found = []
    for pid in machine.processes():
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                if comm.read().startswith("gflowd:gateway"):
                    found.append(pid)
        except OSError:
            continue
    return found


def begin(person: Person, number: int) -> subprocess.Popen[bytes]:
    return person.begin_program("sh", "-c", LOOP, "sh", f"{person.name}-{number}", str(EACH))


def told(lines: list[str]) -> dict[str, tuple[int, int | None]]:
    """Of each name the status of its submission, and the id that was printed before."""
    found: dict[str, tuple[int, int | None]] = {}
    printed: int | None = None
    for line in lines:
        if line.isdecimal():
            printed = int(line)
        else:
            name, status = line.split()
            found[name], printed = (int(status), printed), None
    return found


def test_what_was_acknowledged_is_there_and_nothing_is_there_twice(machine: SharedMachine) -> None:
    people = [machine.as_user(name) for name in ("gfa", "gfb")]
    machine.start()
    submitters = [begin(person, number) for number in range(AT_ONCE) for person in people]
    snapshot = Path(machine.state.snapshot)
    killed, pids, size = 0, gateways(machine), snapshot.stat().st_size
    while any(each.poll() is None for each in submitters):
        time.sleep(0.0005 if pids else 0.05)
        if not pids and killed < KILLS:
            pids, size = gateways(machine), snapshot.stat().st_size
        elif pids and snapshot.stat().st_size > size:  # it has written, and hardly answered
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed, pids = killed + 1, []
    said = [each.communicate() for each in submitters]
    outcome = told([line for out, _ in said for line in out.decode().splitlines()])
    assert {status for status, _ in outcome.values()} <= {0, 75}, [err for _, err in said]
    assert sum(status == 0 for status, _ in outcome.values()) == 2 * AT_ONCE * EACH
    assert killed >= KILLS
    jobs = [*people[0].jobs().values()]
    by_name = {job["name"]: job for job in jobs}
    assert len(by_name) == len(jobs), "nobody has two, not even who was told nothing"
    for name, (status, job_id) in outcome.items():
        assert (status == 0) == (job_id is not None)
        if job_id is not None:
            assert (by_name[name]["id"], by_name[name]["user"]) == (job_id, name.split("-")[0])
    machine.stop()
