"""What falls with a job that is cancelled is named, before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl


def also(ctl: Ctl, jobs: str) -> list[str]:
    """What a dry run says beside the jobs themselves; the same as is said when it is done."""
    dry = ctl.ok("cancel", "--dry-run", jobs).splitlines()
    assert dry[0].startswith("Would cancel job")
    done = [line for line in ctl.ok("cancel", jobs).splitlines() if not line.startswith(("Cancelled", "Stopping"))]
    found = [line.replace("Would also cancel", "@").replace("would never run", "#") for line in dry[1:]]
    assert found == [line.replace("Also cancelling", "@").replace("can never run", "#") for line in done]
    return found


def test_a_job_that_nobody_waits_for_takes_none_with_it(ctl: Ctl) -> None:
    ctl.submit("true")
    ctl.submit("true")
    assert ctl.ok("cancel", "--dry-run", "1") == "Would cancel job 1\n"
    assert ctl.ok("cancel", "1") == "Cancelled job 1\n"


def test_a_chain_falls_whole(ctl: Ctl) -> None:
    ctl.submit("true")
    for job_id in range(1, 5):
        ctl.submit("-d", str(job_id), *(["--hold"] if job_id == 2 else []), "true")
    assert also(ctl, "1") == ["@ jobs 2-5, which depend on job 1"]


def test_of_several_and_of_one_that_runs(ctl: Ctl) -> None:
    for _ in range(2):
        ctl.submit("sleep", "9")
    ctl.run_job(1)
    ctl.submit("-d", "1", "true")
    ctl.submit("-d", "2", "true")
    assert also(ctl, "1-2,4") == ["@ job 3, which depends on these"]


@pytest.mark.parametrize(
    ("wanted", "falls"),
    [("afterok:1", True), ("aftercorr:1", True), ("afternotok:1", False), ("afterany:1", False), ("after:1", False),
     ("afterok:1?afterok:2", False), ("afterok:1,afterany:2", True), ("afterok:1?afterok:3", True),
     ("singleton", False)],
)  # fmt: skip
def test_only_what_can_never_run_falls(ctl: Ctl, wanted: str, falls: bool) -> None:
    for _ in range(3):
        ctl.submit("true")
    ctl.end_job(3, "failed", exit_code=1)
    ctl.submit("-d", wanted, "true")
    assert also(ctl, "1") == (["@ job 4, which depends on job 1"] if falls else [])


def test_elements_of_arrays(ctl: Ctl) -> None:
    ctl.ok("submit", "-a", "1-3", "true")  # 1 to 3
    ctl.ok("submit", "-a", "1-3", "-d", "aftercorr:1", "true")  # 4 to 6
    ctl.ok("submit", "-a", "1-2", "-d", "1", "true")  # 7 to 8
    ctl.submit("-d", "4_1", "true")  # 9
    ctl.submit("-d", "4_2", "true")  # 10
    assert ctl.ok("cancel", "--dry-run", "1_2").splitlines() == [
        "Would cancel job 1_2", "Would also cancel jobs 10,4_2,7_[1-2], which depend on job 1_2",
    ]  # fmt: skip
    assert also(ctl, "1") == ["@ jobs 9-10,4_[1-3],7_[1-2], which depend on jobs 1_[1-3]"]


def test_what_stays_queued_can_never_run(ctl: Ctl) -> None:
    ctl.submit("true")
    ctl.submit("-d", "1", "true")
    ctl.submit("-d", "1", "--no-auto-cancel", "true")
    ctl.submit("-d", "3", "true")
    ctl.submit("-d", "afterany:3", "true")
    ctl.submit("-d", "2,3", "true")
    assert also(ctl, "1") == [
        "@ jobs 2,6, which depend on job 1",
        "Jobs 3-5 # and stay queued (--no-auto-cancel)",
    ]  # fmt: skip


def test_many_are_counted(ctl: Ctl) -> None:
    ctl.submit("true")
    lines = "".join('{"command": ["true"]%s}\n' % (', "depends-on": "1"' if n % 2 else "") for n in range(400))
    ctl.ok("submit", "--from", "-", input=lines)
    assert also(ctl, "1") == ["@ jobs 3,5,7,9,11,13,15,17,19,21 and 190 more, which depend on job 1"]


def test_whatever_has_ended_or_was_cancelled_before_is_not_named(ctl: Ctl) -> None:
    ctl.submit("true")
    for _ in range(3):
        ctl.submit("-d", "1", "true")
    ctl.end_job(2)
    ctl.ok("cancel", "3")
    assert also(ctl, "1") == ["@ job 4, which depends on job 1"]
    assert ctl.run("cancel", "1").stdout == ""


def test_a_signal_takes_nobody_along(ctl: Ctl) -> None:
    ctl.submit("true")
    ctl.run_job(1)
    ctl.submit("-d", "1", "true")
    assert ctl.ok("cancel", "--dry-run", "--signal", "USR1", "1") == "Would send SIGUSR1 to job 1\n"


def test_all_that_is_cancelled_takes_none_along(ctl: Ctl) -> None:
    ctl.submit("true")
    ctl.submit("-d", "1", "true")
    assert ctl.ok("cancel", "--dry-run", "--all") == "Would cancel jobs 1-2\n"
