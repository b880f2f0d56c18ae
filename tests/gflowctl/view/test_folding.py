"""Elements that wait alike are one row; the view that they are read from stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowctl.context import Context
from gflowctl.output import columns
from gflowctl.view import folding, jobs
from gflowctl.view.views import View

if TYPE_CHECKING:
    from support.ctl import Ctl


def view(ctl: Ctl) -> View:
    return View(Context(ctl.env, None, ctl.state.root), ctl.store.read())


def test_a_row_is_a_job_and_where_it_stands_for_several_how_they_are_named(ctl: Ctl) -> None:
    ctl.ok("submit", "--array", "1-4%2", "true")
    ctl.submit("true")
    ctl.run_job(1)
    ctl.ok("hold", "1_3")
    seen = view(ctl)
    assert sorted(folding.fold(seen, seen.ids())) == [(1, None, 1), (2, "1_[2,4%2]", 2), (3, None, 1), (5, None, 1)]
    assert folding.fold(seen, [5]) == [(5, None, 1)]


def test_what_was_folded_once_leaves_no_trace(ctl: Ctl) -> None:
    ctl.ok("submit", "--array", "1-3", "-n", "x%a", "true")
    seen = view(ctl)
    job, names = seen.job(1), ["JOBID", "NAME"]
    (row,) = folding.fold(seen, seen.ids())
    assert row == (1, "1_[1-3]", 3)
    assert columns.cells(seen, [(job, "1_[1-3]")], names) == [(job, ["1_[1-3]", job.spec.name])]
    assert columns.cells(seen, [(job, None)], names) == [(job, ["1_1", jobs.name(job)])]
