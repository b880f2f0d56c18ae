"""Once gflowd was stopped, nothing of it is left but what lives on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.waiting import eventually

if TYPE_CHECKING:
    from support.shared_machine import SharedMachine


def groups(machine: SharedMachine) -> list[str]:
    """The control groups of gflowd: of attempts, of users, and around them."""
    return [each.name for place in machine.group.glob("gflow-*") for each in [*place.glob("[0-9u]*.*")] or [place]]


def test_control_groups_go_with_the_daemon_but_those_of_jobs_that_live_on(machine: SharedMachine) -> None:
    gfa = machine.as_user("gfa")
    machine.start()
    gfa.ctl("submit", "--wait", "--", "true")
    living = gfa.submit("--", "sleep", "1000")
    eventually(lambda: gfa.job(living)["state"] == "running")
    machine.stop()
    assert groups(machine) == [f"{living}.1"]
    machine.start()
    assert gfa.job(living)["state"] == "running"
    gfa.ctl("cancel", str(living))
    gfa.ctl("wait", str(living), check=False)
    gfa.ctl("submit", "--wait", "--", "true")
    machine.stop()
    assert groups(machine) == []
