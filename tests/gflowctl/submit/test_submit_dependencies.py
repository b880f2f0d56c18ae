from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl


@pytest.fixture
def three(ctl: Ctl) -> Ctl:
    """1 queued, 2 running, 3 failed."""
    for name in "abc":
        ctl.submit("-n", name, "true")
    ctl.run_job(2)
    ctl.end_job(3, "failed", exit_code=1, reason="NonZeroExit")
    return ctl


def waits_for(ctl: Ctl, job_id: int) -> list[tuple[str, int | None]]:
    return [(each["kind"], each["id"]) for each in ctl.jobs(str(job_id))[0]["dependencies"]]


@pytest.mark.parametrize(
    ("words", "found", "mode"),
    [
        (["-d", "1"], [("afterok", 1)], "all"),
        (["--dependency", "afterok:1:2,afterany:3"], [("afterok", 1), ("afterok", 2), ("afterany", 3)], "all"),
        (["--depends-on", "afternotok:1?after:2+5"], [("afternotok", 1), ("after", 2)], "any"),
        (["-d", "@"], [("afterok", 3)], "all"),
        (["-d", "@~1"], [("afterok", 2)], "all"),
        (["--depends-on-all", "1-3"], [("afterok", 1), ("afterok", 2), ("afterok", 3)], "all"),
        (["--depends-on-any", "1,@"], [("afterok", 1), ("afterok", 3)], "any"),
        (["--singleton"], [("singleton", None)], "all"),
        (["-d", "1", "--singleton"], [("afterok", 1), ("singleton", None)], "all"),
        ([], [], None),
        (["--no-auto-cancel"], [], None),
    ],
)
def test_what_a_submission_waits_for(three: Ctl, words: list[str], found: list[object], mode: str | None) -> None:
    assert three.submit(*words, "true") == 4
    assert waits_for(three, 4) == found
    assert three.jobs("4")[0]["dependency_mode"] == mode


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-d", "99"], "no job 99"),
        (["-d", "1,98-99"], "no job 98-99"),
        (["-d", "4"], "no job 4"),
        (["-d", "@~3"], "no job @~3"),
        (["-d", "1_2"], "no job 1_2"),
        (["-d", ""], "'' is not a job to depend on"),
        (["-d", "1,,2"], "'' is not a job to depend on"),
        (["-d", "1,2?3"], "joined by ',' (all of them) or by '?'"),
        (["-d", "afterever:1"], "'afterever' is not a kind of dependency"),
        (["-d", "afterok"], "afterok needs a job"),
        (["-d", "afterok:x"], "'x' is not a job"),
        (["-d", "afterok:1+5"], "only after takes a delay"),
        (["-d", "after:1+x"], "'x' is not a duration"),
        (["-d", "singleton:1"], "singleton takes no job"),
        (["--depends-on-any", "1?2"], "not a list of jobs"),
        (["--depends-on-all", "x"], "'x' is not a job"),
        (["--depends-on-any", "1,2", "-d", "3"], "any of several dependencies cannot be combined"),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_wrong_dependency_is_one_line_and_queues_nothing(
    three: Ctl, words: list[str], said: str, dry: list[str]
) -> None:
    before = three.store.read().lines
    assert said in three.fails(1, "submit", *words, *dry, "true")
    assert three.store.read().lines == before


def test_the_first_job_of_all_can_wait_for_none(ctl: Ctl) -> None:
    assert ctl.fails(1, "submit", "-d", "@", "true") == "no job @"
    assert ctl.fails(1, "submit", "-d", "1", "true") == "no job 1"
    assert ctl.jobs("-a") == []


def test_a_dependency_that_can_never_come_is_accepted(three: Ctl) -> None:
    three.submit("-d", "3", "true")
    assert three.jobs("4")[0]["reason"] == "Dependency"


def test_the_reason_of_a_job_that_waits(three: Ctl) -> None:
    three.submit("-d", "afterany:2", "true")
    three.submit("-d", "afterany:3", "true")
    three.submit("-n", "b", "--singleton", "true")
    three.submit("-n", "new", "--singleton", "true")
    three.submit("-d", "after:2", "true")
    three.submit("-d", "after:2+600", "true")
    found = {job["id"]: job["reason"] for job in three.jobs("4-9")}
    assert [job_id for job_id, reason in found.items() if reason == "Dependency"] == [4, 6, 9]
    assert set(found.values()) == {"Dependency", "DaemonDown"}
    three.end_job(2)
    assert three.jobs("4")[0]["reason"] == "DaemonDown"


def test_a_job_cancelled_in_the_queue_counts_as_ended(three: Ctl) -> None:
    three.submit("-d", "afterany:1", "true")
    three.ok("cancel", "1")
    assert three.jobs("4")[0]["reason"] == "DaemonDown"


def test_dependencies_in_words(three: Ctl) -> None:
    three.submit("-d", "1,afterany:2,after:3+2", "--no-auto-cancel", "true")
    three.submit("-d", "afternotok:1?singleton", "true")
    three.submit("-d", "1", "true")
    said = three.ok("show", "4-6")
    assert (
        "all of 1 to finish (queued), 2 to end (running), 3 to start and 120 s to pass (failed); stays queued" in said
    )
    assert "any of 1 to fail (queued), other jobs of this name to end\n" in said
    assert "Waits for: 1 to finish (queued)\n" in said
    three.submit("-d", "1-6,afterany:1-3", "true")
    assert "all of 1-6 to finish, 1-3 to end\n" in three.ok("show", "7")


def test_the_tree(three: Ctl) -> None:
    three.submit("-n", "d", "-d", "1", "true")
    three.submit("-n", "e", "-d", "4,2", "true")
    three.submit("-n", "f", "-d", "1", "true")
    three.submit("-n", "g", "-d", "3,2", "true")
    lines = three.ok("queue", "-t", "-f", "JOBID,NAME").splitlines()
    assert [line.split("  ")[-1].strip() for line in lines] == ["NAME", "a", "d", "e", "f", "b", "g"]
    assert [line.rstrip("abcdefgNME ") for line in lines[1:]] == ["1", "\\_ 4", "   \\_ 5", "\\_ 6", "2", "\\_ 7"]
    assert three.ok("queue", "--tree", "-f", "NAME").splitlines()[2] == "\\_ d"
    assert "--tree or --json" in three.fails(2, "queue", "-t", "--json")


def test_a_long_chain_is_a_tree_that_one_can_read(ctl: Ctl) -> None:
    ctl.submit("true")
    spec = ctl.store.read().of("spec")[1]
    with ctl.store.commit() as commit:
        commit.allocate(3000)
        for job_id in range(2, 3001):
            needs = {"dependencies": [{"kind": "afterok", "id": job_id - 1}]}
            commit.put("spec", job_id, {**spec, "needs": needs})
    lines = ctl.ok("queue", "-t").splitlines()
    assert len(lines) == 3001
    assert "+2983 3000 " in lines[-1]
    assert len(lines[-1]) < 160
