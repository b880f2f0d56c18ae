"""Redoing what other jobs, arrays or elements wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl


def needs(ctl: Ctl, job_id: int) -> list[tuple[Any, ...]]:
    wanted = ctl.spec(job_id).needs
    return [] if wanted is None else [(each.kind, each.id, each.element) for each in wanted.dependencies]


def fail(ctl: Ctl, *ids: int) -> None:
    for job_id in ids:
        ctl.end_job(job_id, "failed", exit_code=1, reason="NonZeroExit")


def fall(ctl: Ctl, because: int, *ids: int) -> None:
    for job_id in ids:
        ctl.end_job(job_id, "cancelled", reason=f"DependencyFailed:{because}")


@pytest.fixture
def array(ctl: Ctl) -> Ctl:
    """1 to 3, indices 1 to 3; 4 waits for all of them, 5 for 1_1, 6 for 1_3; 7 to 9 correspond, 10 waits for 7_3."""
    ctl.ok("submit", "-a", "1-3", "true")
    for words in (["-d", "1"], ["-d", "1_1"], ["-d", "3"], ["-a", "1-3", "-d", "aftercorr:1"], ["-d", "7_3"]):
        ctl.ok("submit", *words, "true")
    ctl.end_job(1)
    ctl.end_job(2)
    fail(ctl, 3)
    fall(ctl, 1, 4)
    fall(ctl, 3, 6, 9)
    fall(ctl, 9, 10)
    return ctl


def test_a_failed_element_and_all_that_fell_with_it(array: Ctl) -> None:
    assert array.ok("redo", "1_3", "--cascade") == "Submitted batch jobs 11-15\n"
    found = {job["redone_from"]: job["id"] for job in array.jobs("11-15")}
    assert sorted(found) == [3, 4, 6, 9, 10]
    new = found[3]
    assert array.jobs(str(new))[0]["array_index"] == 3
    assert needs(array, found[4]) == [("afterok", new, False)]
    assert needs(array, found[6]) == [("afterok", new, True)]
    assert needs(array, found[9]) == [("aftercorr", new, False)]
    assert needs(array, found[10]) == [("afterok", found[9], True)]


def give_up(ctl: Ctl, *ids: int) -> None:
    for job_id in ids:
        ctl.end_job(job_id, "cancelled", reason="MaxFailures:1")


@pytest.mark.parametrize("archived", [False, True])
def test_what_an_array_gave_up_after_its_failures_falls_with_them(ctl: Ctl, archived: bool) -> None:
    ctl.ok("submit", "-a", "1-5", "--max-failures", "1", "true")
    ctl.ok("submit", "-d", "1_4", "true")
    ctl.ok("submit", "-a", "1-2", "--max-failures", "1", "true")
    ctl.end_job(1)
    fail(ctl, 2, 7)
    give_up(ctl, 3, 4, 8)
    fall(ctl, 4, 6)
    ctl.end_job(5, "cancelled", reason="CancelledByUser")
    if archived:
        ctl.archive(1, 6, 7)
    assert ctl.ok("redo", "1_2") == "Submitted batch job 9\n"
    assert ctl.ok("redo", "1_2", "--cascade") == "Submitted batch jobs 10-13\n"
    assert [(job["redone_from"], job["array_index"]) for job in ctl.jobs("10-13")] == [
        (2, 2),
        (2, 3),
        (2, 4),
        (6, None),
    ]
    assert needs(ctl, 13) == [("afterok", 12, True)]


def test_a_given_up_element_alone_brings_no_other(ctl: Ctl) -> None:
    ctl.ok("submit", "-a", "1-3", "--max-failures", "1", "true")
    fail(ctl, 1)
    give_up(ctl, 2, 3)
    assert ctl.ok("redo", "1_2", "--cascade") == "Submitted batch job 4\n"


def test_another_element_that_failed_is_waited_for_still(array: Ctl) -> None:
    fail(array, 2)
    array.ok("redo", "1_3,4")
    assert needs(array, 12) == [("afterok", 11, False), ("afterok", 2, True)]


def test_what_fell_because_of_another_element_is_left(array: Ctl) -> None:
    fail(array, 1)
    fall(array, 1, 5)
    array.ok("redo", "1_2", "--cascade")
    assert 5 not in {job["redone_from"] for job in array.jobs("-a")}
    array.ok("redo", "1_1", "--cascade")
    assert 5 in {job["redone_from"] for job in array.jobs("-a")}


def test_an_element_that_is_not_redone_stays_what_is_waited_for(array: Ctl) -> None:
    array.ok("redo", "1_3,5")
    assert needs(array, 12) == [("afterok", 1, True)]


def test_a_whole_array_and_those_that_wait_for_it(array: Ctl) -> None:
    array.ok("redo", "1,4,5,6,7")
    found = {job["redone_from"]: job["id"] for job in array.jobs("11-19") if job["array_index"] in (None, 1)}
    assert needs(array, found[4]) == [("afterok", found[1], False)]
    assert needs(array, found[5]) == [("afterok", found[1], True)]
    assert needs(array, found[6]) == [("afterok", found[1] + 2, True)]
    assert needs(array, found[7]) == [("aftercorr", found[1], False)]


def test_corresponding_elements_alone(array: Ctl) -> None:
    array.ok("redo", "7_[2-3]")
    assert needs(array, 11) == [("aftercorr", 1, False)]
    said = array.fails(1, "redo", "1_2,7_[2-3]")
    assert "these elements cannot keep their dependencies (aftercorr:1): also redo the same elements of array 1" in said
    array.ok("redo", "1_2,7_[2-3]", "--clear-dependencies")


def test_an_element_of_a_sweep_waits_for_its_partner_whatever_its_new_index(ctl: Ctl) -> None:
    ctl.ok("submit", "--param", "x=1:3", "true")
    ctl.ok("submit", "--param", "x=1:3", "-d", "aftercorr:1", "true")
    ctl.ok("redo", "4_2")
    assert needs(ctl, 7) == [("afterok", 3, True)]
    ctl.ok("redo", "1_[1-2],4_[1-2]")
    assert needs(ctl, 10) == [("aftercorr", 8, False)]
    assert "cannot keep their dependencies" in ctl.fails(1, "redo", "4_[1-2]")


@pytest.mark.parametrize("text", ["afterany:1", "after:1"])
def test_what_has_yet_to_come_of_an_array_is_waited_for(ctl: Ctl, text: str) -> None:
    ctl.ok("submit", "-a", "1-4", "true")
    ctl.submit("-d", text, "true")
    fail(ctl, 1, 2)
    ctl.run_job(3)
    ctl.ok("redo", "1_1,5")
    left = [4] if text == "after:1" else [3, 4]
    assert needs(ctl, 7) == [(text[:-2], 6, False), *((text[:-2], each, True) for each in left)]


def test_the_failure_of_an_array_is_that_of_its_new_part(ctl: Ctl) -> None:
    ctl.ok("submit", "-a", "1-4", "true")
    ctl.submit("-d", "afternotok:1", "true")
    ctl.ok("redo", "1_1,5")
    assert needs(ctl, 7) == [("afternotok", 6, False)]


def test_redoing_with_a_dependency_that_does_not_fit(array: Ctl) -> None:
    array.ok("submit", "-a", "1-2", "true")
    assert array.fails(1, "redo", "7", "-d", "aftercorr:11") == "aftercorr:11: no job 11_3"
    array.ok("redo", "7_[1-2]", "-d", "aftercorr:11", "--conda-env", "ml")
    assert (needs(array, 13), array.spec(13).conda_env) == ([("aftercorr", 11, False)], "ml")


def test_a_large_array_with_a_large_array_that_fell(ctl: Ctl) -> None:
    ctl.ok("submit", "-a", "1-5000", "true")
    ctl.ok("submit", "-a", "1-5000", "-d", "aftercorr:1", "true")
    with ctl.store.commit() as commit:
        for job_id in range(1, 5001):
            ended = {"is": "ended", "state": "failed", "ended_at": 1.0, "reason": "NonZeroExit"}
            commit.put("phase", job_id, ended)
            fallen = {**ended, "state": "cancelled", "reason": f"DependencyFailed:{job_id}"}
            commit.put("phase", job_id + 5000, fallen)
    assert ctl.ok("redo", "1", "--cascade") == "Submitted batch jobs 10001-20000\n"
    assert needs(ctl, 15001) == [("aftercorr", 10001, False)]
