from __future__ import annotations

import csv
import io
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from gflowctl.commands import stats
from gflowctl.output import render
from gflowd.core.job.model import Ended, Run

if TYPE_CHECKING:
    from support.ctl import Ctl

NOON = 1741608000.0  # 2025-03-10T12:00:00Z
HOUR = 3600.0


def ran(ctl: Ctl, job_id: int, hours: float, gpu_ids: tuple[int, ...] = (0,), at: float = NOON, **how: Any) -> None:
    run = Run(executor="process", launched_at=at, gpu_ids=gpu_ids)
    how = {"state": "finished", "exit_code": 0, **how}
    ctl.set_phase(job_id, Ended(started_at=at, ended_at=at + hours * HOUR, run=run, **how))


@pytest.fixture
def used(ctl: Ctl) -> Ctl:
    """Jobs 1 and 2 on two days, 1 in the history; 3 of project ml failed; 4 waits; 5 is bob's, in the history."""
    for words in (["-g", "1"], ["-g", "2"], ["-g", "1", "-P", "ml"], [], ["-g", "1"]):
        ctl.submit(*words, "true")
    with ctl.store.commit() as commit:
        specs = commit.fold().of("spec")
        for job_id in range(1, 6):
            commit.put("spec", job_id, {**specs[job_id], "submitted_at": NOON - 60})
        commit.put("spec", 5, {**specs[5], "submitted_at": NOON, "user": "bob"})
    ran(ctl, 1, 2.0)
    ran(ctl, 2, 24.0, (1, 2))
    ran(ctl, 3, 1.0, (3,), state="failed", exit_code=1)
    ran(ctl, 5, 1.0, (4,))
    ctl.archive(1, 5)
    return ctl


def groups(ctl: Ctl, *words: str) -> dict[str | None, dict[str, Any]]:
    return {group["name"]: group for group in json.loads(ctl.ok("stats", "--json", *words))["groups"]}


def test_my_jobs_of_queue_and_history_are_one(used: Ctl) -> None:
    found = json.loads(used.ok("stats", "--json"))
    (group,) = found["groups"]
    assert {key: group[key] for key in ("name", "jobs", "finished", "failed", "queued", "peak_gpus", "gpu_hours")} == {
        "name": None, "jobs": 4, "finished": 2, "failed": 1, "queued": 1, "peak_gpus": 4, "gpu_hours": 51.0,
    }  # fmt: skip
    assert group["success_rate"] == pytest.approx(2 / 3)
    assert (group["wait_mean"], group["run_median"], group["run_p95"]) == (60.0, 2 * HOUR, 24 * HOUR)
    assert found["gpu_hours_by_day"] == {"2025-03-10": 27.0, "2025-03-11": 24.0}
    assert (found["since"], found["by"]) == (None, None)


def test_others_count_when_they_are_asked_for(used: Ctl) -> None:
    assert groups(used, "--all-users")[None]["jobs"] == 5
    assert groups(used, "-u", "bob")[None]["gpu_hours"] == 1.0
    assert groups(used, "-u", "nobody")[None]["jobs"] == 0
    assert groups(used, "--all-users", "--by", "user")["bob"]["peak_gpus"] == 1


def test_groups_are_by_project_and_by_day(used: Ctl) -> None:
    assert {name: group["jobs"] for name, group in groups(used, "--by", "project").items()} == {"-": 3, "ml": 1}
    days = groups(used, "--by", "day")
    assert {name: (group["jobs"], group["gpu_hours"]) for name, group in days.items()} == {
        "2025-03-10": (2, 27.0), "2025-03-11": (1, 24.0),
    }  # fmt: skip


def test_since_leaves_out_what_was_over_before(used: Ctl) -> None:
    found = groups(used, "--since", "2025-03-10 13:30")[None]
    assert (found["jobs"], found["finished"], found["failed"]) == (3, 2, 0)
    assert found["gpu_hours"] == pytest.approx(0.5 + 2 * 22.5)


def test_a_run_of_a_series_waits_from_the_time_when_it_was_due(ctl: Ctl) -> None:
    """The daemon queues it a whole period before."""
    ctl.submit("--repeat", "every 24h", "true")
    ctl.submit("--repeat", "every 24h", "true")
    ctl.submit("true")
    with ctl.store.commit() as commit:
        for job_id, spec in commit.fold().of("spec").items():
            due = {} if spec.get("repeat") is None else {"repeat": {**spec["repeat"], "due": NOON - 60, "series": 9}}
            commit.put("spec", job_id, {**spec, "submitted_at": NOON - 24 * HOUR, **due})
    ran(ctl, 1, 1.0)
    ran(ctl, 2, 1.0)
    ctl.archive(2)
    (group,) = groups(ctl).values()
    assert (group["wait_mean"], group["wait_p95"]) == (60.0, 60.0)
    ran(ctl, 3, 1.0)
    ctl.archive(3)
    (group,) = groups(ctl).values()
    assert (group["wait_median"], group["wait_p95"]) == (60.0, 24 * HOUR)


def test_a_running_job_counts_up_to_now(ctl: Ctl) -> None:
    ctl.submit("-g", "2", "true")
    ctl.run_job(1, gpu_ids=(0, 1), since=HOUR)
    (group,) = groups(ctl).values()
    assert group["gpu_hours"] == pytest.approx(2.0, abs=0.1)
    assert (group["running"], group["run_mean"], group["success_rate"]) == (1, None, None)


def test_values_separated_by_commas_have_a_header_and_a_line_for_each_group(used: Ctl) -> None:
    rows = list(csv.DictReader(io.StringIO(used.ok("stats", "--csv", "--by", "day"))))
    assert [(row["day"], row["jobs"], row["gpu_hours"]) for row in rows] == [
        ("2025-03-10", "2", "27.0"), ("2025-03-11", "1", "24.0"),
    ]  # fmt: skip
    assert used.ok("stats", "--csv").startswith("group,jobs,queued,")
    assert used.ok("stats", "--csv", "--by", "user", "-u", "nobody").count("\n") == 1


def test_a_reader_gets_sentences_and_a_chart_in_plain_characters(used: Ctl) -> None:
    shown = used.ok("stats")
    assert "Jobs:         4 (1 queued, 2 finished, 1 failed)\n" in shown
    assert "Success rate: 66.7 %\n" in shown
    assert "Ran:          mean 9:00:00, median 2:00:00, 95 % at most 1-00:00:00\n" in shown
    assert shown.isascii()
    assert shown.endswith(f"2025-03-10  {'#' * 40}  27.00\n2025-03-11  {'#' * 36}      24.00\n")
    table = used.ok("stats", "--by", "project").splitlines()
    assert table[0].split()[:3] == ["PROJECT", "JOBS", "FINISHED"]
    assert "GPU hours per day" not in used.ok("stats", "--by", "day")


def test_a_chart_of_a_long_time_shows_the_last_month_empty_days_too(ctl: Ctl) -> None:
    noon = time.mktime((*time.localtime()[:3], 12, 0, 0, 0, 0, -1))  # half an hour from now may be another day's
    for days in (100, 2):
        ran(ctl, ctl.submit("-g", "1", "true"), 0.5, at=noon - days * 24 * HOUR)
    chart = ctl.ok("stats").partition("GPU hours per day\n")[2].splitlines()
    assert len(chart) == 30
    assert sum("#" in line for line in chart) == 1


def test_without_jobs_there_is_not_much_to_say(ctl: Ctl) -> None:
    assert ctl.ok("stats").startswith("Jobs:         0\nSuccess rate: N/A\nWaited:       N/A\n")
    assert groups(ctl)[None]["jobs"] == 0
    assert groups(ctl, "--by", "user") == {}


def test_what_does_not_go_together_is_said(ctl: Ctl) -> None:
    assert "not both" in ctl.fails(2, "stats", "--csv", "--json")
    assert "not both" in ctl.fails(2, "stats", "-u", "x", "--all-users")
    assert "--since" in ctl.fails(2, "stats", "--since", "nonsense")
    assert ctl.fails(2, "stats", "--by", "moon")


@pytest.mark.parametrize("by", ["user", "project", "day"])
def test_a_table_fits_eighty_columns_however_large_its_numbers(ctl: Ctl, by: str) -> None:
    for job_id, name in enumerate(("ada", "maximilian-von-und-zu-\u4e2d\u6587"), 1):
        ctl.submit("-g", "8", "true")
        with ctl.store.commit() as commit:
            spec = commit.fold().of("spec")[job_id]
            commit.put("spec", job_id, {**spec, "user": name, "project": name, "submitted_at": NOON - 4e7})
        ran(ctl, job_id, 12345.0 * job_id, tuple(range(8)), state="failed", exit_code=1)
    shown, status = ctl.on_a_terminal("stats", "--all-users", "--by", by, columns=80, env={"NO_COLOR": "1"})
    lines = shown.splitlines()
    assert (status, max(map(render.width, lines)) <= 80) == (0, True), shown
    assert lines[0].split() == [by.upper(), "JOBS", "CD", "F", "CA", "TO", "OK", "WAIT", "RAN", "GPUH", "PEAK"]
    wide = ctl.on_a_terminal("stats", "--all-users", "--by", by, columns=120, env={"NO_COLOR": "1"})[0]
    assert "GPUHOURS" in wide
    assert "FINISHED" in ctl.ok("stats", "--all-users", "--by", by), "what scripts read is always the same"


def test_short_forms_of_numbers_take_five_columns_at_most() -> None:
    numbers = [0, 7, 99999, 100_000, 9_999_999, 123_456_789, 0.0, 7.25, 99.999, 812.54, 81234.5, 123_456.7]
    assert [stats._short(number) for number in numbers] == [
        "0", "7", "99999", "100k", "9999k", "123M", "0.00", "7.25", "100.0", "812.5",
        "81234", "123k",
    ]  # fmt: skip
    assert max(len(stats._short(number)) for number in numbers) <= 5
    assert [stats._rough(seconds) for seconds in (0, 119, 120, 7199, 7200, 172_799, 172_800, 8_639_999, 1e8)] == [
        "0s", "119s", "2m", "120m", "2.0h", "48.0h", "2.0d", "100d", "1157d",
    ]  # fmt: skip
