"""What is removed, damaged or gone under a daemon of many users, and what becomes of their jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.machine import clear_away
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shared_machine import Person, SharedMachine

UNTIL_TOLD = "until [ -e go ]; do sleep 0.05; done; exit 5"


@pytest.fixture(autouse=True)
def _it_runs(machine: SharedMachine) -> Iterator[None]:
    machine.start()
    yield
    machine.stop()


def waiting(machine: SharedMachine, user: Person) -> int:
    """A job of the user's that runs until there is a file `go`."""
    user.sh("rm -f go")
    job = user.submit("--wrap", UNTIL_TOLD)
    eventually(lambda: any("until" in process.words for process in machine.of_user(user.name).values()))
    return job


def test_a_runtime_directory_that_is_cleared_away_is_made_again_with_all_that_jobs_start_by(
    machine: SharedMachine,
) -> None:
    user, root = machine.as_user("gfa"), machine.as_user("root")
    alive = waiting(machine, user)
    for remove in (lambda: clear_away(machine.run_dir), (machine.run_dir / "gate.sock").unlink):
        remove()
        root.gflowd("reload", "--system")  # wakes it
        eventually(lambda: user.ctl("submit", "true", check=False).returncode == 0)
        assert user.wait(user.submit("--wrap", "exit 3")) == 3
    user.write("go", "")
    assert user.wait(alive) == 5


def test_without_control_groups_jobs_wait_and_none_is_taken_for_dead(machine: SharedMachine) -> None:
    user, root = machine.as_user("gfa"), machine.as_user("root")
    alive = waiting(machine, user)
    root.sh("umount -l /sys/fs/cgroup")
    waits = user.submit("--wrap", "exit 3")
    eventually(lambda: "cgroup v2 is not mounted any more" in root.gflowd("status", "--system").stdout)
    root.sh("mount -t cgroup2 none /sys/fs/cgroup")
    assert user.wait(waits) == 3
    user.write("go", "")
    assert user.wait(alive) == 5
