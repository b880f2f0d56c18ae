"""Times are read and printed in one zone, whichever command does so, and the zone is seen where it is another."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from gflowd.core.job.model import PROCESS, Ended, Run
from gflowd.core.job.records import SETTING, WISH

if TYPE_CHECKING:
    from support.ctl import Ctl

TOKYO = ("--timezone", "Asia/Tokyo")
YEAR = datetime.now(UTC).year + 2


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_begin_time_is_read_in_the_zone_that_is_given(ctl: Ctl) -> None:
    begin = f"{YEAR}-07-01 09:00"
    meant = at(f"{YEAR}-07-01T00:00:00Z")
    ctl.ok("submit", "--begin", begin, *TOKYO, "true")
    assert ctl.spec(1).begin_at == meant
    ctl.ok("redo", "1", "--begin", f"{YEAR}-07-01 10:00", *TOKYO)
    assert ctl.spec(2).begin_at == meant + 3600
    ctl.ok("update", "2", "--begin", begin, *TOKYO)
    assert ctl.spec(2).begin_at == meant
    ctl.ok("release", "2", "--at", f"{YEAR}-07-01 11:00", *TOKYO)
    assert ctl.store.read().of(WISH)[2]["begin_at"] == meant + 7200


def test_the_zone_may_stand_in_the_head_of_a_script_and_in_a_line_of_json(ctl: Ctl) -> None:
    head = f"#!/bin/sh\n# GFLOW --begin='{YEAR}-07-01 09:00' --timezone=Asia/Tokyo\ntrue\n"
    (ctl.home / "a.sh").write_text(head)
    ctl.ok("submit", "a.sh")
    ctl.ok("submit", "--timezone", "UTC", "a.sh")
    lines = [
        {"command": ["true"], "begin": f"{YEAR}-07-01 09:00", "timezone": zone} for zone in ("Asia/Tokyo", "UTC", None)
    ]
    ctl.ok("submit", *TOKYO, "--from", "-", input="\n".join(map(json.dumps, lines)))
    begins = [(ctl.spec(job_id).begin_at or 0.0) - at(f"{YEAR}-07-01T00:00:00Z") for job_id in range(1, 6)]
    assert begins == [0, 9 * 3600, 0, 9 * 3600, 0]


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "x" * 300, "a\0b"])
def test_a_zone_that_does_not_exist_is_refused_in_one_line(ctl: Ctl, zone: str) -> None:
    if "\0" not in zone:
        assert "is not a time zone" in ctl.fails(2, "queue", "--timezone", zone)
    line = json.dumps({"command": ["true"], "begin": "9:00", "timezone": zone})
    done = ctl.run("submit", "--from", "-", input=line)
    assert (done.returncode, done.stdout) == (1, "")
    assert "line 1: timezone: " in done.stderr


def test_every_command_that_shows_times_shows_them_in_that_zone(ctl: Ctl) -> None:
    begun = at("2026-07-01T00:30:00Z")
    ctl.observe(capacity={"gpus": 4, "cpus": 4, "memory_mb": 8192})
    ctl.submit("--begin", f"{YEAR}-07-01 00:00", "true")
    ctl.submit("true")
    ctl.run_job(2)
    ctl.ok("reserve", "create", "--gpus", "1", "--start", f"{YEAR}-07-01 09:00", "--for", "2h", *TOKYO)
    ctl.ok("drain")
    with ctl.store.commit() as commit:
        drain = {"at": begun, "by": "ada", "reason": None}
        commit.put(SETTING, "drain", drain)
    shown = {
        ("queue", "-f", "JOBID,START"): f"~{YEAR}-07-01T09:00:00+09:00",
        ("show", "1"): f"not before {YEAR}-07-01T09:00:00+09:00",
        ("reserve", "list"): f"{YEAR}-07-01T09:00:00+09:00  {YEAR}-07-01T11:00:00+09:00",
        ("reserve", "show", "1"): f"{YEAR}-07-01T09:00:00+09:00 to {YEAR}-07-01T11:00:00+09:00",
        ("info",): "since 2026-07-01T09:30:00+09:00 by ada",
    }
    for words, text in shown.items():
        assert text in ctl.ok(*words, *TOKYO), words
        assert text.replace("+09:00", "") not in re.sub(r"\+09:00", "", ctl.ok(*words)), "else in UTC"
    assert "since 2026-07-01T09:30:00+09:00 by ada" in ctl.run("drain", *TOKYO).stderr
    assert "since 2026-07-01T09:30:00+09:00 by ada" in ctl.run("doctor", *TOKYO).stdout
    timeline = ctl.ok("reserve", "list", "--timeline", *TOKYO)
    assert re.match(r"[\w :-]*?\d\d:\d\d\+09:00 to [\w :-]*?\d\d:\d\d\+09:00\n", timeline)
    wanted = ("--gpus", "4", "--start", f"{YEAR}-07-01 08:00", "--for", "9h", "--timezone", "Asia/Seoul")
    clash = ctl.fails(1, "reserve", "create", *wanted)
    assert f", {YEAR}-07-01 09:00+09:00 for 2:00:00)" in clash


def test_a_series_repeats_in_the_zone_that_is_given(ctl: Ctl) -> None:
    (ctl.home / "a.sh").write_text("#!/bin/sh\n# GFLOW --repeat='daily 09:00' --timezone=Asia/Tokyo\ntrue\n")
    ctl.ok("submit", "--repeat", "daily 09:00", *TOKYO, "true")
    ctl.ok("submit", "a.sh")
    for number in (1, 2):
        repeat = ctl.spec(number).repeat
        assert (repeat.zone, repeat.due % 86400) == ("Asia/Tokyo", 0)
    assert "T09:00:00+09:00, " in ctl.ok("show", "1", *TOKYO)
    assert "daily 09:00 (Asia/Tokyo)" in ctl.ok("show", "1")


def test_days_are_counted_in_that_zone(ctl: Ctl) -> None:
    ctl.submit("-g", "1", "true")
    began, ended = at("2026-07-01T20:00:00Z"), at("2026-07-01T21:00:00Z")
    run = Run(executor=PROCESS, launched_at=began, gpu_ids=(0,))
    ctl.set_phase(1, Ended(state="finished", ended_at=ended, started_at=began, run=run))
    assert ctl.ok("stats", "--by", "day").splitlines()[1].startswith("2026-07-01")
    titles, day = ctl.ok("stats", "--by", "day", *TOKYO).splitlines()
    assert (titles[:16], day[:10]) == ("DAY (Asia/Tokyo)", "2026-07-02")
    assert "\nGPU hours per day in Asia/Tokyo\n2026-07-02  " in ctl.ok("stats", *TOKYO)
    assert ctl.ok("queue", "-a", "-f", "END", *TOKYO).splitlines()[1] == "2026-07-02T06:00:00+09:00"


def test_json_stays_in_utc(ctl: Ctl) -> None:
    ctl.submit("--begin", f"{YEAR}-07-01 09:00", *TOKYO, "true")
    plain = ctl.jobs("1")[0]
    assert plain["begin_at"] == f"{YEAR}-07-01T00:00:00.000000Z"
    assert json.loads(ctl.ok("queue", "--json", *TOKYO))[0]["begin_at"] == plain["begin_at"]


def test_the_configured_zone_is_that_of_reading_and_of_showing(ctl: Ctl) -> None:
    config = ctl.home / "gflow.toml"
    config.write_text('timezone = "Asia/Tokyo"\n')
    for how in ({"GFLOW_CONFIG": str(config)}, {"GFLOW_TIMEZONE": "Asia/Tokyo"}):
        env = {**ctl.env, **how}
        job_id = int(ctl.ok("submit", "--parsable", "--begin", f"{YEAR}-07-01 09:00", "true", env=env))
        assert ctl.spec(job_id).begin_at == at(f"{YEAR}-07-01T00:00:00Z")
        shown = ctl.run("show", str(job_id), env=env).stdout
        assert f"not before {YEAR}-07-01T09:00:00+09:00" in shown
        shown = ctl.run("show", str(job_id), "--timezone", "UTC", env=env).stdout
        assert f"not before {YEAR}-07-01T00:00:00\n" in shown, "the machine's own zone needs no mark"


def test_jobs_are_shown_although_the_configuration_is_wrong(ctl: Ctl) -> None:
    (ctl.home / "gflow.toml").write_text('timezone = "Mars/Olympus"\n')
    env = {**ctl.env, "GFLOW_CONFIG": str(ctl.home / "gflow.toml")}
    ctl.submit("true")
    assert re.search(r"Submitted: +\S+:\d\d\n", ctl.ok("show", "1", env=env))
    assert "is not a time zone" in ctl.run("submit", "--begin", "9:00", "true", env=env).stderr


def test_tz_is_honoured_for_jobs_and_not_for_when_reservations_repeat(ctl: Ctl) -> None:
    """The daemon has its own TZ, or none."""
    start = f"{YEAR}-07-01T00:00:00Z"
    ctl.observe(config={"tz": "UTC"})
    ctl.ok("reserve", "create", "--gpus", "1", "--start", start, "--for", "1h", "--repeat", "daily")
    env = {**ctl.env, "TZ": "Europe/Vienna"}
    lines = dict(line.split(":", 1) for line in ctl.run("reserve", "show", "1", env=env).stdout.splitlines())
    assert lines["Start"].strip() == f"{YEAR}-07-01T02:00:00"
    assert lines["Repeat"].strip() == "daily in UTC"
    assert "  daily " in ctl.run("reserve", "list", env=env).stdout
    ctl.observe(config={"tz": "Europe/Vienna"})
    assert "Repeat:    daily\n" in ctl.run("reserve", "show", "1", env=env).stdout
    assert "Repeat:    daily in Europe/Vienna\n" in ctl.ok("reserve", "show", "1")
    for tz in (":Mars/Olympus", None):  # what nobody can tell, and the machine's own
        ctl.observe(config={"tz": tz})
        assert "Repeat:    daily" in ctl.ok("reserve", "show", "1")
