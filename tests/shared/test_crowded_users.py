"""A user who may have no more processes: a job waits a while for others to end, else it says why it failed."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from support.waiting import eventually

if TYPE_CHECKING:
    from support.shared_machine import SharedMachine

MOST = 20  # processes


@pytest.fixture(scope="module", autouse=True)
def settled(machine: SharedMachine) -> None:
    limits = machine.root / "etc/security/limits.conf"
    limits.write_text(f"{limits.read_text()}\ngfa hard nproc {MOST}\n")


def crowd(machine: SharedMachine) -> subprocess.Popen[bytes]:
    """Processes of gfa, until its standard input is closed."""
    text = f'for n in $(seq {MOST}); do sleep 1000 >/dev/null 2>&1 & all="$all $!"; done; echo up; read line; kill $all'
    begun = machine.as_user("gfa").begin_program("sh", "-c", text, stdin=subprocess.PIPE)
    assert begun.stdout is not None
    assert begun.stdout.readline() == b"up\n"
    return begun


def test_it_starts_once_there_is_room(machine: SharedMachine) -> None:
    gfa, gfb = machine.as_user("gfa"), machine.as_user("gfb")
    machine.write_config(daemon={"start_grace": 300})
    machine.start()
    begun = crowd(machine)
    job = gfa.submit("--executor", "process", "--", "true")
    eventually(lambda: gfa.job(job)["state"] == "starting")
    gfb.ctl("submit", "--wait", "--", "true")  # which is not held up
    assert gfa.job(job)["state"] == "starting"
    begun.communicate()
    gfa.ctl("wait", str(job))
    machine.stop()


def test_where_there_is_none_for_long_it_says_so(machine: SharedMachine) -> None:
    gfa = machine.as_user("gfa")
    machine.write_config(daemon={"start_grace": 30})
    machine.start()
    begun = crowd(machine)
    job = gfa.submit("--executor", "process", "--", "true")
    eventually(lambda: gfa.job(job)["state"] == "failed")
    reason = gfa.job(job)["reason"]
    assert reason.startswith("LaunchFailed:gfa has ")
    assert reason.endswith(f" processes and may have at most {MOST} (ulimit -u)")
    begun.communicate()
    machine.stop()
