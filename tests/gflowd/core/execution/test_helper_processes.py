from __future__ import annotations

import pytest

from gflowd.core.execution import helper_processes
from gflowd.core.execution.procstat import Process
from gflowd.core.job.model import Identity

SERVER, WRITER, LEADER, COMMAND, CHILD, STRAY, HELPER = range(10, 17)
PARENTS = {SERVER: HELPER, WRITER: SERVER, LEADER: SERVER, COMMAND: LEADER, CHILD: COMMAND, STRAY: 1, HELPER: 1}


def process(pid: int, parent: int, start: int = 5) -> Process:
    return Process(pid, parent, pid, start, zombie=False)


@pytest.mark.parametrize(
    ("leader", "left"),
    [
        (Identity("b", LEADER, 5), [LEADER, COMMAND, CHILD, STRAY]),
        (Identity("b", LEADER, 6), list(PARENTS)),
        (Identity("b", 99, 5), list(PARENTS)),
        (None, list(PARENTS)),
    ],
)
def test_who_keeps_a_job_is_no_process_of_it_while_its_script_lives(leader: Identity | None, left: list[int]) -> None:
    members = [process(pid, parent) for pid, parent in PARENTS.items()]
    assert [each.pid for each in helper_processes.without(members, leader)] == left


def test_a_table_that_was_read_while_it_changed_may_lead_in_a_circle() -> None:
    members = [process(20, 21), process(21, 20), process(LEADER, 1)]
    assert helper_processes.without(members, Identity("b", LEADER, 5)) == members
