"""A look at a few jobs tells of them what a look at all does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gflowctl.context import Context
from gflowctl.output import json_records
from gflowctl.view import lookup, views

if TYPE_CHECKING:
    from support.ctl import Ctl


@pytest.fixture
def crowded(ctl: Ctl) -> Ctl:
    """A queue with jobs of all kinds, some of whose texts look like other jobs' records."""
    ctl.submit("true")
    ctl.submit("--comment", 'x",1,{"family":', "true")
    ctl.ok("submit", "--array", "1-3", "true")  # 3 to 5
    ctl.submit("-d", "1", "true")
    ctl.submit("--hold", "true")
    ctl.submit("--max-retries", "1", "false")
    for _ in range(9, 14):
        ctl.submit("true")
    ctl.run_job(9)
    ctl.run_job(10)
    ctl.end_job(10, "failed", exit_code=3)
    ctl.ok("cancel", "11")
    ctl.ok("release", "7")
    return ctl


def test_it_tells_of_each_job_what_the_whole_queue_does(crowded: Ctl) -> None:
    context = Context({}, None, crowded.state.root)
    whole = views.View(context, context.store.read())
    for job_id in whole.ids():
        some = lookup.view(context, [str(job_id)])
        some.now = whole.now
        assert json_records.record(some, some.job(job_id)) == json_records.record(whole, whole.job(job_id))


def test_it_takes_in_no_job_but_those_that_are_asked_for(crowded: Ctl) -> None:
    context = Context({}, None, crowded.state.root)
    assert set(lookup.view(context, ["9", "10"]).fold.of("spec")) <= {2, 3, 9, 10}  # 2 has the look of an array
    assert len(lookup.view(context, ["4"]).fold.of("spec")) > 9, "an element has an array"
    assert len(lookup.view(context, ["6"]).fold.of("spec")) > 9, "it waits for another"
    assert len(lookup.view(context, ["9-10"]).fold.of("spec")) > 9


@pytest.mark.parametrize("tail", [b"", b"torn", b'00000000 [1,99,"phase",9,{"is":"queued"}]\n'])
def test_what_is_in_the_history_or_nowhere_is_told_apart(crowded: Ctl, tail: bytes) -> None:
    crowded.archive(10)
    with Path(crowded.state.snapshot).open("ab") as file:
        file.write(tail)
    assert "failed" in crowded.ok("show", "10")
    assert crowded.fails(1, "show", "99") == "no job 99"
    assert crowded.fails(1, "show", "99,9") == "no job 99"


def test_a_damaged_line_of_the_job_is_passed_over_as_ever(crowded: Ctl) -> None:
    path = Path(crowded.state.snapshot)
    lines = path.read_bytes().splitlines(keepends=True)
    place = max(number for number, line in enumerate(lines) if b'"phase",10,' in line)
    lines[place] = lines[place].replace(b'"failed"', b'"fa1led"')
    path.write_bytes(b"".join(lines))
    context = Context({}, None, crowded.state.root)
    assert context.store.read_some([10]) is None
    assert lookup.view(context, ["10"]).fold.of("phase")[10]["is"] == "running"
    assert context.store.read_some([12]) is not None
