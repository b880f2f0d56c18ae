"""Jobs that have left the queue: named, listed and shown as if they had not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.imports import imported

from gflowctl.context import Context
from gflowctl.view import dependency_request
from gflowctl.view.dependency_request import DependencyRequest
from gflowctl.view.views import View
from gflowd.core.errors import Refused
from gflowd.core.job.model import Ended, Run
from gflowd.core.job.records import KINDS, LIMIT, PHASE, SPEC, WISH
from gflowd.storage.history_queries import Choice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ctl import Ctl

SQL = {"sqlite3", "gflowd.storage.history"}


@pytest.fixture
def old(ctl: Ctl) -> Ctl:
    """1 finished, 2 (an array, 2-4) of which the second failed, 5 cancelled because of 3: in the history. 6 queued."""
    ctl.submit("-n", "one", "true")
    ctl.ok("submit", "-n", "many", "-a", "1-3", "-P", "ml", "true")
    ctl.submit("-n", "late", "-d", "2_2", "true")
    ctl.submit("-n", "six", "true")
    for job_id in (1, 2, 4):
        ctl.end_job(job_id, exit_code=0)
    ctl.end_job(3, "failed", exit_code=7, reason="NonZeroExit")
    ctl.set_phase(5, Ended(state="cancelled", ended_at=2e9, reason="DependencyFailed:3"))
    ctl.archive(1, 2, 5)
    return ctl


def ids(ctl: Ctl, *words: str) -> list[int]:
    return [job["id"] for job in ctl.jobs(*words)]


def test_the_queue_is_what_is_still_in_it_unless_more_is_asked_for(old: Ctl) -> None:
    assert ids(old) == [6]
    assert ids(old, "-a") == [1, 2, 3, 4, 5, 6]
    assert ids(old, "-c") == [1, 2, 3, 4, 5]
    assert ids(old, "-s", "failed,cancelled") == [3, 5]
    assert ids(old, "-s", "running") == []
    assert ids(old, "1,3-5") == [1, 3, 4, 5]
    assert ids(old, "2_[1-2]") == [2, 3]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["-a", "-l", "2"], [1, 2]),
        (["-a", "-l", "-2"], [5, 6]),
        (["-c", "-l", "-3"], [3, 4, 5]),
        (["-a", "-l", "0"], []),
        (["-a", "-l", "-2", "--sort", "-JOBID"], [2, 1]),
        (["-a", "-n", "many", "-l", "1"], [2]),
        (["-a", "-P", "ml"], [2, 3, 4]),
        (["-a", "-u", "nobody"], []),
        (["-c", "--since", "2030-01-01"], [5]),
        (["-c", "--since", "2001-01-01", "-s", "F"], [3]),
    ],
)
def test_filters_and_limits_hold_for_the_past_too(old: Ctl, words: list[str], found: list[int]) -> None:
    assert ids(old, *words) == found


def test_a_job_is_shown_as_it_was(ctl: Ctl) -> None:
    ctl.submit("-n", "x", "-g", "1", "--max-retries", "1", "true")
    run = Run(executor="process", launched_at=5.0, gpu_ids=(1,))
    with ctl.store.commit() as commit:
        commit.put("attempt", "1.1", {"is": "ended", "state": "failed", "ended_at": 9.0, "exit_code": 3})
    ctl.set_phase(1, Ended(state="finished", ended_at=20.0, started_at=6.0, exit_code=0, run=run.replace(attempt=2)))
    before = [ctl.ok("show", "1"), ctl.ok("show", "1", "--json"), ctl.ok("queue", "-a", "--json")]
    assert '"exit_code": 3' in before[1]
    ctl.archive(1)
    assert [ctl.ok("show", "1"), ctl.ok("show", "1", "--json"), ctl.ok("queue", "-a", "--json")] == before
    ctl.archive()  # as it lies there


def test_arrays_come_back_whole(old: Ctl) -> None:
    shown = old.ok("show", "2")
    assert "2 finished, 1 failed" in shown
    assert "2_[1-3], ids 2-4" in shown
    assert "Element: " in old.ok("show", "2_2")


def test_every_command_that_looks_finds_them(old: Ctl) -> None:
    log = Path(old.state.job_log(1, 1))
    log.parent.mkdir(parents=True)
    log.write_text("hello\n")
    assert old.ok("log", "1") == "hello\n"
    assert old.ok("log", "-f", "1") == "hello\n"
    assert old.run("wait", "1").returncode == 0
    assert old.run("wait", "1-5").returncode == 130
    assert old.run("wait", "2_2").returncode == 7
    assert "no longer there" in old.fails(1, "log", "2_1")
    assert "is finished, not running" in old.fails(1, "attach", "1")


def test_what_changes_jobs_says_that_they_have_ended(old: Ctl) -> None:
    done = old.run("cancel", "1")
    assert (done.returncode, done.stdout) == (0, "")
    assert "job 1 has already ended (finished)" in done.stderr
    assert "history" in old.fails(1, "requeue", "1")
    assert "history" in old.fails(1, "requeue", "2")
    assert old.fails(1, "limit", "2", "1").startswith("job 2 is in the history; gflowctl redo")
    assert old.fails(1, "update", "--comment", "x", "1").startswith("job 1 is in the history; gflowctl redo")
    for words in (["hold", "1"], ["release", "1"], ["top", "1"], ["update", "--comment", "x", "1"]):
        before = old.store.read().records
        old.run(*words)
        assert old.store.read().records == before
    assert old.store.read().of("wish") == {}


BRINGING: dict[str, Callable[[View], object]] = {
    "by name": lambda view: view.select(["1,2_2"]),
    "as one": lambda view: view.knows(1),
    "as chosen": lambda view: view.recall(Choice()),
    "as fallen": lambda view: view.recall_fallen([3]),
    "as waited for": lambda view: dependency_request.asked(WAITS, view),
}
WAITS = DependencyRequest(spec="afterany:1", all_of=None, any_of=None, singleton=False, auto_cancel=True)


@pytest.mark.parametrize("how", BRINGING)
def test_what_is_brought_from_the_history_stands_behind_the_snapshot_and_never_in_it(old: Ctl, how: str) -> None:
    context, before = Context(old.env, None, old.state.root), Path(old.state.snapshot).read_bytes()
    with old.store.commit() as commit:
        fold = commit.fold()
        snapshot = {kind: copy.deepcopy(fold.of(kind)) for kind in KINDS}
        view = View(context, fold)
        BRINGING[how](view)
        past = set(view.records.of(SPEC)) - {6}
        assert past
        assert {kind: fold.of(kind) for kind in KINDS} == snapshot
        for kind in KINDS:
            shown: Any = view.records.of(kind)
            with pytest.raises(TypeError):
                shown[1] = {}
            assert not {"pop", "popitem", "setdefault", "update", "clear"}.intersection(dir(shown))
        with pytest.raises(AttributeError):
            commit.rewrite(view.records)  # type: ignore[arg-type]
        for spec_id in past:
            with pytest.raises(Refused, match="is in the history"):
                view.check_changeable(spec_id)
        view.check_changeable(6)
    assert Path(old.state.snapshot).read_bytes() == before


def test_what_the_snapshot_has_stands_before_what_the_history_has(old: Ctl) -> None:
    with old.store.commit() as commit:
        commit.put(WISH, 1, {"held": True})
    view = View(Context(old.env, None, old.state.root), old.store.read())
    assert view.select(["1,6"]) == [1, 6]
    assert (view.records.of(WISH)[1], view.records.of(SPEC)[1]["name"]) == ({"held": True}, "one")
    assert (view.records.of(SPEC)[6]["name"], view.records.next_id) == ("six", 7)


def test_a_job_that_is_redone_from_the_history_leaves_its_records_there(old: Ctl) -> None:
    old.ok("redo", "1", "2", "--cascade", "-d", "afterany:5")
    with old.store.commit() as commit:
        commit.rewrite(commit.fold())
    kept = old.store.read()
    assert set(kept.of(SPEC)) == {6, 7, 8, 11}
    assert kept.of(PHASE) == kept.of(LIMIT) == {}


def test_unknown_ids_are_named_as_ever(old: Ctl) -> None:
    assert old.fails(1, "show", "99") == "no job 99"
    assert old.fails(1, "show", "1-99") == "no job 7-99"
    assert old.fails(1, "show", "2_[2-9]") == "no job 2_[4-9]"
    assert old.fails(1, "submit", "-d", "afterok:1:99", "true") == "no job 99"


def test_at_counts_submissions_that_have_left(old: Ctl) -> None:
    assert [job["id"] for job in old.jobs("@")] == [6]
    assert [job["id"] for job in old.jobs("@~1")] == [5]
    assert [job["id"] for job in old.jobs("@~2")] == [2, 3, 4]
    assert old.fails(1, "show", "@~4") == "no job @~4"
    old.end_job(6)
    old.archive(6)
    assert [job["id"] for job in old.jobs("@")] == [6]


def test_a_new_job_may_wait_for_an_old_one(old: Ctl) -> None:
    new = old.submit("-d", "afterany:1:2_2,after:5+3", "true")
    needs = old.spec(new).needs
    assert [(each.id, each.element) for each in needs.dependencies] == [(1, False), (3, True), (5, False)]
    assert "(finished)" in old.ok("show", str(new))
    assert old.jobs(str(new))[0]["reason"] in {"DaemonDown", "Dependency"}
    assert "2_2" in old.ok("show", str(old.submit("-d", "@~1,2_2", "true")))


def test_redo_brings_old_jobs_and_all_that_fell_with_them_to_life(old: Ctl) -> None:
    new = int(old.ok("redo", "--parsable", "1"))
    assert old.spec(new).redone_from == 1
    again = old.ok("redo", "--parsable", "--cascade", "2_2").strip()
    first, last = map(int, again.split("-"))
    assert (old.spec(first).redone_from, old.spec(last).redone_from) == (3, 5)
    assert [each.id for each in old.spec(last).needs.dependencies] == [first]


def test_redo_without_the_environment_says_so(old: Ctl) -> None:
    for path in Path(old.state.path("env")).iterdir():
        path.unlink()
    assert "no longer kept" in old.fails(1, "redo", "1")


def test_what_is_in_both_is_listed_once_as_the_snapshot_has_it(ctl: Ctl) -> None:
    ctl.submit("true")
    ctl.end_job(1, "failed", exit_code=1)
    ctl.archive(1, drop=False)
    assert [(job["id"], job["state"]) for job in ctl.jobs("-a")] == [(1, "failed")]
    ctl.ok("requeue", "1")
    assert [(job["id"], job["state"]) for job in ctl.jobs("-a")] == [(1, "queued")]


def test_waiting_goes_on_when_the_job_leaves_meanwhile(ctl: Ctl) -> None:
    ctl.submit("true")
    ctl.ok("submit", "-a", "1-2", "true")
    waiting = ctl.start("wait", "1,2")
    following = ctl.start("log", "-f", "1")
    ctl.waits(waiting)
    ctl.waits(following)
    ctl.end_job(1, exit_code=0)
    ctl.end_job(2, exit_code=0)
    ctl.end_job(3, "failed", exit_code=9)
    ctl.archive(1, 2)
    assert waiting.wait(30) == 9
    assert following.wait(30) == 0
    for each in (waiting, following):
        each.communicate()


def test_only_who_asks_for_the_past_pays_for_it(old: Ctl) -> None:
    for words in (["queue"], ["queue", "6"], ["show", "6"], ["submit", "true"], ["submit", "-d", "6", "true"],
                  ["queue", "@"], ["cancel", "6"]):  # fmt: skip
        assert not imported(old, *words) & SQL, words
    assert imported(old, "show", "1") >= SQL


@pytest.fixture(params=["garbage", "link", "open"])
def broken(old: Ctl, request: pytest.FixtureRequest) -> Iterator[Ctl]:
    path = Path(old.state.history)
    if request.param == "garbage":
        path.write_bytes(b"garbage" * 1000)
        path.with_name("history.db-wal").unlink(missing_ok=True)
    elif request.param == "open":
        path.chmod(0o644)
    else:
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("elsewhere")
    return old


def test_a_history_that_cannot_be_read_costs_one_line_and_the_past_only(broken: Ctl) -> None:
    assert ids(broken) == [6]
    assert "history.db" in broken.run("show", "1").stderr
    for words in (["queue", "-a", "--json"], ["stats", "--json"]):
        done = broken.run(*words)
        assert done.returncode == 0
        assert json.loads(done.stdout)
        assert done.stderr.count("\n") == 1
        assert "history.db" in done.stderr


def test_the_doctor_looks_at_the_history(old: Ctl) -> None:
    assert "history.db: 5 jobs" in old.run("doctor").stdout
    Path(f"{old.state.history}.corrupt-20250131T120000").touch()
    assert "damaged history was kept" in old.run("doctor").stdout
    Path(old.state.history).write_bytes(b"garbage" * 1000)
    assert "history.db: file is not a database" in old.run("doctor").stdout
