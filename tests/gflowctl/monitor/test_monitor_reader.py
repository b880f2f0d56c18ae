"""The pictures of the queue that the screen is given: what they show, and that each costs no more than the news."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from gflowctl.context import Context
from gflowctl.monitor import reader
from gflowctl.monitor.job_filter import Choice, parse
from gflowctl.monitor.reader import Reader
from gflowctl.monitor.screen_contents import PLACE, PROGRESS, TIME

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.ctl import Ctl

    from gflowctl.monitor.screen_contents import Picture, Row

NOW = Choice(), "JOBID"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ids of the jobs whose rows were made, to be cleared."""
    found: list[int] = []
    make: Callable[..., Row] = reader.make

    def noted(*given: object) -> Row:
        row = make(*given)
        found.append(row.job.id)
        return row

    monkeypatch.setattr(reader, "make", noted)
    monkeypatch.setattr(reader, "ROUND", 0)
    return found


def reads(ctl: Ctl) -> Reader:
    return Reader(Context(ctl.env, None, ctl.state.root))


def cells(picture: Picture, place: int) -> dict[str, str]:
    return {row.label: row.cells[place] for row in picture.rows}


def test_an_empty_queue_has_a_picture(ctl: Ctl) -> None:
    picture = reads(ctl).read(*NOW)
    assert (picture.rows, picture.sums, picture.notes) == ([], "no jobs", ("gflowd is not running; gflowd start",))


def test_only_what_is_new_is_made_again(ctl: Ctl, made: list[int]) -> None:
    for _ in range(3):
        ctl.submit("-t", "1h", "true")
    ctl.ok("submit", "--array", "1-5", "true")
    at = time.time() + 600
    ctl.observe(reasons={"2": "Resources"}, expected={"2": at})
    one = reads(ctl)
    assert one.changed()
    assert [row.label for row in one.read(*NOW).rows] == ["1", "2", "3", "4_[1-5]"]
    made.clear()
    assert not one.changed()
    assert not one.moves
    assert len(one.read(*NOW).rows) == 4
    assert made == [4], "an array's waiting jobs are few rows, so these are always made"
    ctl.run_job(3, gpu_ids=(1,))
    ctl.run_job(5)
    made.clear()
    assert one.changed()
    picture = one.read(*NOW)
    assert made == [3, 4, 5]
    assert cells(picture, PLACE) == {
        "1": "(DaemonDown)",
        "2": "(DaemonDown)",
        "3": "1",
        "4_[1,3-5]": "(DaemonDown)",
        "4_2": "-",
    }
    assert picture.sums == "2 running, 6 queued"
    assert one.moves
    made.clear()
    one.read(*NOW)
    assert made == [3, 4, 5]
    ctl.end_job(3, "failed", exit_code=1, reason="NonZeroExit")
    assert cells(one.read(*NOW), PLACE)["3"] == "(NonZeroExit)"


def test_rows_and_their_places_are_those_of_the_choice(mixed: Ctl) -> None:
    one = reads(mixed)
    assert [row.label for row in one.read(*NOW).rows] == ["1", "2", "3", "4", "5", "6"], "ended ones stay for a while"
    for text, labels in (
        ("-s R,H", ["2", "3"]), ("-c", ["4", "5", "6"]), ("SIGKILL", ["5"]), ("-P ml", ["2"]), ("true held", ["2"]),
        ("nothing", []),
    ):  # fmt: skip
        picture = one.read(parse(text, "x"), "JOBID")
        assert [row.label for row in picture.rows] == labels
        assert picture.others == 6 - len(labels)
    picture = one.read(Choice(), "-NAME")
    assert [row.label for row in picture.rows] == ["6", "5", "4", "3", "2", "1"]
    assert picture.places == {6: 0, 5: 1, 4: 2, 3: 3, 2: 4, 1: 5}
    assert cells(picture, TIME)["3"].endswith("/1:00:00")
    assert picture.widths[PROGRESS] == 0
    details = one.details(3)
    assert details is not None
    assert dict(details.lines)["State"] == "running"
    assert one.details(99) is None


def test_ended_jobs_go_after_a_while_unless_they_are_asked_for(mixed: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "REMAINS", 0.0)
    one = reads(mixed)
    assert [row.label for row in one.read(*NOW).rows] == ["1", "2", "3"]
    assert len(one.read(parse("-a", "x"), "JOBID").rows) == 6
    assert len(one.read(*NOW).rows) == 3


def test_hostile_names_are_shown_as_escapes(ctl: Ctl) -> None:
    ctl.submit("-n", "\x1b[31m[red]\u202e\n", "true")
    ctl.run_job(1, gpu_ids=(0,))
    gpu = {"index": 0, "model": "A\x1bB", "memory_mb": 1024, "state": "busy", "jobs": [1], "processes": []}
    ctl.observe(gpus=[gpu], trouble="no \x07")
    picture = reads(ctl).read(*NOW)
    assert picture.rows[0].cells[1] == "\\x1b[31m[red]\\u202e\\n"
    assert picture.gpus[0].model == "A\\x1bB"
    assert picture.gpus[0].users.startswith("job 1 \\x1b[31m[red]\\u202e\\n (")
    assert "no \\x07" in picture.notes


def test_the_first_picture_of_many_jobs_has_those_that_fit_on_a_screen(
    ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "FIRST", 2)
    for _ in range(3):
        ctl.submit("true")
    one = reads(ctl)
    first = one.glance()
    assert (len(first.rows), first.sums) == (2, "3 queued")
    assert len(one.read(*NOW).rows) == 3
