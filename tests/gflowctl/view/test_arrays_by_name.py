from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl


@pytest.fixture
def two(ctl: Ctl) -> Ctl:
    """1 to 3 and 4 to 6 are called scan, 7 and 8 by a template; 9 is a job."""
    for _ in range(2):
        ctl.ok("submit", "-n", "scan", "-a", "1-3", "true")
    ctl.ok("submit", "-n", "x", "--param", "lr=1,2", "--name-template", "run-{lr}", "true")
    ctl.submit("-n", "alone", "true")
    return ctl


def ids(ctl: Ctl, *words: str) -> list[int]:
    return [job["id"] for job in ctl.jobs(*words)]


def test_a_limit_by_name(two: Ctl) -> None:
    assert two.ok("limit", "run-{lr}", "1") == "Limited job 7 to 1 at a time\n"
    assert two.ok("limit", "x", "2") == "Limited job 7 to 2 at a time\n"
    assert two.ok("limit", "@~1", "1") == "Limited job 7 to 1 at a time\n"
    assert two.fails(1, "limit", "scan", "2") == "'scan' is the name of several arrays: 1, 4; give an id"
    two.ok("cancel", "1")
    assert two.ok("limit", "scan", "2") == "Limited job 4 to 2 at a time\n"
    two.ok("cancel", "4")
    assert two.run("limit", "scan", "2").stderr == "gflowctl: job 4 is already limited to 2 at a time\n"
    assert two.fails(1, "limit", "alone", "2") == "no array or sweep is named 'alone'"
    assert two.fails(1, "limit", "9", "2") == "job 9 is not an array or sweep"
    assert two.fails(1, "limit", "1,4", "2") == "1,4 names several jobs; give one array or sweep"


def test_the_queue_of_one_group(two: Ctl) -> None:
    assert ids(two, "-g", "scan") == [1, 2, 3, 4, 5, 6]
    assert ids(two, "--group", "4") == [4, 5, 6]
    assert ids(two, "-g", "run-{lr}") == ids(two, "-g", "7") == [7, 8]
    two.end_job(2)
    assert ids(two, "-g", "1") == [1, 3]
    assert ids(two, "-a", "-g", "1") == [1, 2, 3]
    assert ids(two, "-g", "1", "1_[2-3],9") == [2, 3]
    assert len(two.ok("queue", "-g", "scan").splitlines()) == 3
    assert two.fails(1, "queue", "-g", "none") == "no array or sweep is named 'none'"
    assert two.fails(1, "queue", "-g", "9") == "job 9 is not an array or sweep"
    assert two.fails(1, "queue", "-g", "99") == "no job 99"


def test_without_any_job_there_is_no_group(ctl: Ctl) -> None:
    assert ctl.fails(1, "limit", "x", "1") == ctl.fails(1, "queue", "-g", "x") == "no array or sweep is named 'x'"
