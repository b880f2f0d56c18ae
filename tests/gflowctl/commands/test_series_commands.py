"""Series from the command line: how they are submitted, shown, changed and ended, without a daemon."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from gflowd.core.execution import recurring_series
from gflowd.core.job import codec
from gflowd.core.job.dependencies import AFTERANY, Dependency, Needs
from gflowd.core.job.model import QUEUE, Repeat, Run, Starting
from gflowd.core.syntax import instants

if TYPE_CHECKING:
    from support.ctl import Ctl

DAILY = ("--repeat", "daily 02:00")


def follow(ctl: Ctl, job_id: int) -> int:
    """Starts a queued run and lets the next follow, as the scheduler does; the id of that."""
    fold = ctl.store.read()
    job = codec.job(job_id, *(fold.of(kind).get(job_id) for kind in ("spec", "wish", "phase")))
    after = Starting(run=Run(executor="process", launched_at=time.time()))
    spec = recurring_series.following(job, (after,))
    assert spec is not None
    with ctl.store.commit() as commit:
        commit.put("phase", job_id, codec.encode_phase(after))
        following = commit.allocate()
        commit.put("spec", following, codec.encode(spec))
    return following


def wish(ctl: Ctl, job_id: int) -> dict[str, object]:
    found: dict[str, object] = ctl.store.read().of("wish").get(job_id, {})
    return found


def shown(ctl: Ctl, *words: str) -> dict[str, str]:
    lines = (line.partition(":") for line in ctl.ok("show", *words).splitlines())
    return {key: value.strip() for key, _, value in lines}


def at_two(ctl: Ctl, job_id: int) -> datetime:
    """When the job is to begin, which is at two o'clock in the zone of the test."""
    begin_at = ctl.spec(job_id).begin_at
    assert begin_at is not None
    found = datetime.fromtimestamp(begin_at, UTC)
    assert (found.hour, found.minute, found.second) == (2, 0, 0)
    return found


def test_a_series_begins_with_its_first_run(ctl: Ctl) -> None:
    before = time.time()
    job_id = ctl.submit(*DAILY, "true")
    spec = ctl.spec(job_id)
    assert spec.repeat == Repeat(rule="daily 02:00", due=spec.begin_at or 0.0, zone="UTC")
    assert before < at_two(ctl, job_id).timestamp() <= time.time() + 86400
    every = ctl.spec(ctl.submit("--repeat", "every  6h", "--overlap", "queue", "true"))
    assert every.repeat is not None
    assert (every.repeat.rule, every.repeat.overlap) == ("every 6h", QUEUE)
    assert every.begin_at == every.repeat.due >= before, "it begins at once"


def test_a_series_may_begin_later(ctl: Ctl) -> None:
    spec = ctl.spec(ctl.submit("--repeat", "0 2 1 * *", "--begin", "2030-01-01 2:00", "true"))
    assert spec.begin_at == datetime(2030, 1, 1, 2, tzinfo=UTC).timestamp()
    spec = ctl.spec(ctl.submit("--repeat", "every 1h", "--begin", "2030-01-01 2:00", "true"))
    assert spec.begin_at == datetime(2030, 1, 1, 2, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("tz", "config", "zone"),
    [
        ("Europe/Vienna", None, "Europe/Vienna"),
        (":Europe/Vienna", None, "Europe/Vienna"),
        ("Europe/Vienna", "Asia/Tokyo", "Asia/Tokyo"),
        ("CET-1CEST", None, None),
        ("", None, None),
    ],
)
def test_the_time_zone_of_the_submission_is_kept(ctl: Ctl, tz: str, config: str | None, zone: str | None) -> None:
    env = {**ctl.env, "TZ": tz} | ({} if config is None else {"GFLOW_TIMEZONE": config})
    ctl.ok("submit", *DAILY, "true", env=env)
    found = ctl.spec(1).repeat
    assert found is not None
    assert found.zone == zone


def test_the_head_of_a_script_may_say_it(ctl: Ctl) -> None:
    script = ctl.home / "job.sh"
    script.write_text('#!/bin/sh\n# GFLOW --repeat "weekly sun 03:00" --overlap queue\ntrue\n')
    found = ctl.spec(ctl.submit("job.sh")).repeat
    assert found is not None
    assert (found.rule, found.overlap) == ("weekly sun 03:00", QUEUE)


@pytest.mark.parametrize(
    ("status", "words", "said"),
    [
        (1, ("--repeat", "sometimes"), "'sometimes' is no rule"),
        (1, ("--repeat", "0 25 * * *"), "bad hour"),
        (1, ("--repeat", "every 0s"), "too often"),
        (2, ("--overlap", "skip"), "--overlap needs --repeat"),
        (2, (*DAILY, "--array", "1-3"), "not for arrays"),
        (2, (*DAILY, "--param", "a=1,2"), "not for arrays"),
        (2, (*DAILY, "-d", "1"), "dependencies"),
        (2, (*DAILY, "--singleton"), "dependencies"),
        (2, (*DAILY, "--deadline", "now+1h"), "--deadline"),
        (2, (*DAILY, "--overlap", "maybe"), "maybe"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(ctl: Ctl, status: int, words: tuple[str, ...], said: str) -> None:
    assert said in ctl.fails(status, "submit", *words, "true")
    assert not ctl.state.has_snapshot()


def test_cron_words_are_refused_where_the_package_is_missing(ctl: Ctl) -> None:
    missing = ctl.home / "cronsim.py"
    missing.write_text("raise ImportError\n")
    env = {**ctl.env, "PYTHONPATH": f"{ctl.home}:{ctl.env['PYTHONPATH']}"}
    said = ctl.fails(1, "submit", "--repeat", "0 2 * * *", "true", env=env)
    assert said == "--repeat: cron words need the package cronsim: pip install 'gflow[cron]' (Debian: python3-cronsim)"
    ctl.ok("submit", *DAILY, "true", env=env)


def test_a_dry_run_tells_the_next_times(ctl: Ctl) -> None:
    found = ctl.ok("submit", "--dry-run", "--repeat", "0 2 1 1 *", "--begin", "2030-01-01 1:00", "true")
    assert found.splitlines()[1:] == [
        "Repeats 0 2 1 1 * (UTC)",
        "Runs at 2030-01-01T02:00:00, 2031-01-01T02:00:00, 2032-01-01T02:00:00, ...",
    ]


def test_show_and_json_tell_of_the_series(ctl: Ctl) -> None:
    first = ctl.submit("--repeat", "0 2 1 1 *", "--begin", "2030-01-01 1:00", "true")
    assert shown(ctl, "1")["Series"] == "1, 0 2 1 1 * (UTC)"
    assert shown(ctl, "1")["Overlap"] == "a run that is due while another goes on is skipped"
    assert shown(ctl, "1")["Next runs"] == "this one at 2030-01-01T02:00:00, then 2031-01-01T02:00:00, ..."
    repeat = {
        "series": 1, "rule": "0 2 1 1 *", "timezone": "UTC", "overlap": "skip",
        "due_at": "2030-01-01T02:00:00.000000Z",
    }  # fmt: skip
    assert ctl.jobs("1")[0]["repeat"] == repeat
    following = follow(ctl, first)
    assert ctl.jobs("2")[0]["estimated_start"] == "2031-01-01T02:00:00.000000Z", "also while the first goes on"
    ctl.end_job(first)
    assert shown(ctl, "1")["Next runs"] == "job 2 at 2031-01-01T02:00:00, then 2032-01-01T02:00:00, ..."
    record = json.loads(ctl.ok("show", "--json", "1"))[0]
    assert record["next_runs"] == [f"{year}-01-01T02:00:00.000000Z" for year in (2031, 2032, 2033)]
    assert ctl.jobs("2")[0]["repeat"] == {**repeat, "due_at": "2031-01-01T02:00:00.000000Z"}
    ctl.submit("true")
    assert ctl.jobs("3")[0]["repeat"] is None
    assert "next_runs" not in json.loads(ctl.ok("show", "--json", "3"))[0]
    assert "Series" not in shown(ctl, "3")
    ctl.ok("cancel", str(first))
    assert shown(ctl, str(following))["Next runs"] == "none, the series has ended"


def test_queue_shows_the_series_with_its_runs_and_its_rule(ctl: Ctl) -> None:
    first = ctl.submit(*DAILY, "true")
    following = follow(ctl, first)
    ctl.end_job(first)
    ctl.submit("true")
    assert [job["id"] for job in ctl.jobs("1")] == [first, following]
    assert [job["id"] for job in ctl.jobs("2-3")] == [2, 3]
    found = ctl.ok("queue", "-f", "JOBID,REPEAT,NODELIST(REASON)").split()
    assert found[3:] == ["2", "daily", "02:00", "(BeginTime)", "3", "-", "(DaemonDown)"]


def test_the_last_submission_is_no_later_run(ctl: Ctl) -> None:
    first = ctl.submit(*DAILY, "true")
    following = follow(ctl, first)
    assert [job["id"] for job in ctl.jobs("@")] == [first, following], "the series"
    ctl.end_job(first)
    last = follow(ctl, following)
    ctl.end_job(following)
    ctl.archive(first, following)
    assert json.loads(ctl.ok("show", "--json", "@"))[0]["id"] == first
    ctl.ok("cancel", "@")
    assert wish(ctl, last)["cancelled_by"]


def test_hold_release_top_and_update_mean_the_next_run(ctl: Ctl) -> None:
    first = ctl.submit(*DAILY, "true")
    assert ctl.ok("hold", "1") == "Held job 1\n"
    assert ctl.ok("release", "1") == "Released job 1\n"
    following = follow(ctl, first)
    assert ctl.ok("hold", "1") == f"Held job {following}\n"
    assert ctl.ok("release", "1") == f"Released job {following}\n"
    assert ctl.ok("top", "1") == f"Moved to the front: job {following}\n"
    assert ctl.ok("update", "1", "--cpus", "3") == f"Updated job {following}\n"
    assert (ctl.spec(first).cpus, ctl.spec(following).cpus) == (1, 3)
    assert ctl.ok("update", "--run", "1", "--time", "1h") == "Updated job 1\n"
    assert (ctl.spec(first).time_limit, ctl.spec(following).time_limit) == (3600.0, None)
    assert ctl.spec(follow(ctl, following)).cpus == 3


def test_update_changes_the_series_itself(ctl: Ctl) -> None:
    following = follow(ctl, ctl.submit(*DAILY, "true"))
    ctl.ok("release", "1", "--at", "now+9d")
    before = time.time()
    ctl.ok("update", "1", "--repeat", "every 1h", "--overlap", "queue")
    spec = ctl.spec(following)
    assert spec.repeat is not None
    assert (spec.repeat.rule, spec.repeat.overlap, spec.repeat.series) == ("every 1h", QUEUE, 1)
    assert before <= spec.repeat.due == spec.begin_at
    assert wish(ctl, following) == {}, "the earlier wish for a time is gone"
    ctl.ok("update", "1", "--repeat", "daily 02:00", "--begin", "2030-01-01")
    assert at_two(ctl, following).year == 2030
    ctl.ok("update", "1", "--clear", "overlap")
    spec = ctl.spec(following)
    assert spec.repeat is not None
    assert (spec.repeat.rule, spec.repeat.overlap) == ("daily 02:00", "skip")


def test_update_keeps_the_time_zone_of_a_series_unless_it_names_another(ctl: Ctl) -> None:
    ctl.submit("--repeat", "daily 02:00", "--timezone", "Asia/Tokyo", "true")
    for words, rule, zone in (
        (("--repeat", "daily 03:00"), "daily 03:00", "Asia/Tokyo"),
        (("--repeat", "daily 04:00", "--timezone", "Asia/Kolkata"), "daily 04:00", "Asia/Kolkata"),
        (("--overlap", "queue", "--timezone", "Asia/Tokyo"), "daily 04:00", "Asia/Kolkata"),
    ):
        ctl.ok("update", "1", *words)
        spec = ctl.spec(1)
        assert spec.repeat is not None
        assert (spec.repeat.rule, spec.repeat.zone) == (rule, zone)
    due = datetime.fromtimestamp(spec.repeat.due, instants.zone("Asia/Kolkata"))
    assert (due.hour, due.minute) == (4, 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("1", "--clear", "repeat"), "gflowctl cancel ends a series"),
        (("1", "--clear", "depends-on"), "only waits for the run before"),
        (("1", "-d", "2"), "only waits for the run before"),
        (("1", "--deadline", "now+1h"), "has no deadline"),
        (("1", "--no-auto-cancel"), "only waits for the run before"),
        (("1", "--repeat", "x"), "no rule"),
        (("2", "--repeat", "every 1h"), "submit the job with --repeat"),
        (("2", "--overlap", "skip"), "submit the job with --repeat"),
    ],
)
def test_update_refuses_what_would_break_a_series(ctl: Ctl, words: tuple[str, ...], said: str) -> None:
    ctl.submit(*DAILY, "true")
    ctl.submit("true")
    assert said in ctl.fails(1, "update", *words)


def test_the_id_of_a_series_cancels_all_its_runs(ctl: Ctl) -> None:
    first = ctl.submit(*DAILY, "true")
    following = follow(ctl, first)
    assert ctl.ok("cancel", "1") == f"Cancelled job {following}\nStopping job {first}\n"
    assert "only_run" not in wish(ctl, first)
    assert "only_run" not in wish(ctl, following)


def test_a_series_whose_first_run_is_forgotten_is_still_named_by_its_id(ctl: Ctl) -> None:
    following = follow(ctl, ctl.submit(*DAILY, "true"))
    with ctl.store.commit() as commit:
        for kind in ("spec", "phase"):
            commit.put(kind, 1, None)
    assert ctl.fails(1, "show", "1") == "no job 1"
    assert ctl.ok("update", "1", "--cpus", "2") == f"Updated job {following}\n"
    assert ctl.ok("cancel", "1") == f"Cancelled job {following}\n"


def test_a_later_run_is_cancelled_alone(ctl: Ctl) -> None:
    first = ctl.submit(*DAILY, "true")
    following = follow(ctl, first)
    done = ctl.run("cancel", str(following))
    assert done.stdout == f"Cancelled job {following}\n"
    assert done.stderr == "gflowctl: series 1 goes on; gflowctl cancel 1 ends it\n"
    assert wish(ctl, following)["only_run"] is True


def test_the_first_run_is_cancelled_alone_where_that_is_said(ctl: Ctl) -> None:
    ctl.submit(*DAILY, "true")
    done = ctl.run("cancel", "--run", "1")
    assert (done.returncode, done.stdout) == (0, "Cancelled job 1\n")
    assert "series 1 goes on" in done.stderr
    assert wish(ctl, 1)["only_run"] is True
    assert "--run" in ctl.fails(2, "cancel", "--run", "--all")


def test_a_series_can_be_ended_after_its_next_run_was_cancelled_while_the_daemon_is_down(ctl: Ctl) -> None:
    ctl.submit(*DAILY, "true")
    ctl.run("cancel", "--run", "1")
    assert shown(ctl, "1")["Next runs"] == "known once gflowd has seen a cancellation"
    assert ctl.ok("cancel", "1") == "Cancelled job 1\n"
    assert shown(ctl, "1")["Next runs"] == "none, the series has ended"
    assert "only_run" not in wish(ctl, 1)
    assert "already ended" in ctl.run("cancel", "1").stderr


@pytest.mark.parametrize("options", [("--all",), ("--name", "true"), ("--state", "queued")])
def test_options_that_choose_the_next_run_end_its_series(ctl: Ctl, options: tuple[str, ...]) -> None:
    following = follow(ctl, ctl.submit(*DAILY, "true"))
    ctl.ok("cancel", *options)
    assert "only_run" not in wish(ctl, following)


@pytest.mark.parametrize("options", [("--all",), ("--name", "true"), ("--state", "queued")])
def test_options_end_also_a_series_whose_next_run_has_just_been_cancelled_alone(
    ctl: Ctl, options: tuple[str, ...]
) -> None:
    ctl.submit(*DAILY, "true")
    ctl.run("cancel", "--run", "1")
    assert ctl.run("hold", "--all").stderr == "gflowctl: no job to hold\n"
    assert ctl.ok("cancel", *options) == "Cancelled job 1\n"
    assert "only_run" not in wish(ctl, 1)
    assert "no job to cancel" in ctl.run("cancel", *options).stderr


def test_redo_repeats_one_run_alone(ctl: Ctl) -> None:
    first = ctl.submit(*DAILY, "true")
    following = follow(ctl, first)
    ctl.end_job(first)
    new = int(ctl.ok("redo", "--parsable", str(following)))
    spec = ctl.spec(new)
    assert (spec.repeat, spec.needs, spec.begin_at, spec.redone_from) == (None, None, None, following)


def test_requeue_of_a_run_leaves_the_series_alone(ctl: Ctl) -> None:
    first = ctl.submit(*DAILY, "true")
    following = follow(ctl, first)
    ctl.end_job(first, "failed")
    assert ctl.ok("requeue", "1") == "Requeued job 1\n"
    ctl.run("cancel", str(following))
    ctl.ok("requeue", str(following))
    assert "only_run" not in wish(ctl, following)


def test_a_rule_that_makes_no_sense_is_shown_and_followed_by_nothing(ctl: Ctl) -> None:
    job_id = ctl.submit("true")
    spec = ctl.spec(job_id)
    needs = Needs(dependencies=(Dependency(kind=AFTERANY, id=job_id),))
    with ctl.store.commit() as commit:
        nonsense = spec.replace(repeat=Repeat(rule="x\x1b", due=5.0, zone="y", series=9), needs=needs)
        commit.put("spec", commit.allocate(), codec.encode(nonsense))
    assert shown(ctl, "2")["Series"] == "9, x\\x1b (y)"
    assert ctl.jobs("2")[0]["repeat"]["series"] == 9


def test_gflowctl_loads_what_series_need_only_for_series(ctl: Ctl) -> None:
    from support.imports import imported

    ctl.submit("true")
    found = imported(ctl, "submit", "true") | imported(ctl, "queue", "1")
    assert not {name for name in found if "recurrence" in name or "repeats" in name or name == "cronsim"}
    assert "cronsim" not in imported(ctl, "submit", *DAILY, "true")
