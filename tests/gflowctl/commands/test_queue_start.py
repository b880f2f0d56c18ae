"""When queued jobs start, as far as that is known. A daemon is only played."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gflowd.core.job.model import Queued

if TYPE_CHECKING:
    from support.ctl import Ctl


def starts(ctl: Ctl) -> dict[str, str]:
    rows = [line.split() for line in ctl.ok("queue", "--start", "-f", "JOBID,START").splitlines()[1:]]
    return {row[0]: row[1] for row in rows}


def test_a_begin_time_is_known(up: Ctl) -> None:
    up.submit("true")
    up.submit("--begin", "2099-01-02 03:04", "true")
    up.submit("--begin", "2098-01-02 03:04", "true")
    up.submit("--begin", "2097-01-02 03:04", "-d", "1", "true")
    up.submit("--begin", "2096-01-02 03:04", "--hold", "true")
    up.submit("true")
    up.set_phase(6, Queued(attempt=2, begin_at=4000000000.0))
    up.observe(reasons={"1": "Quota"})
    assert list(starts(up).items()) == [
        ("6", "~2096-10-02T07:06:40"), ("3", "~2098-01-02T03:04:00"), ("2", "~2099-01-02T03:04:00"), ("1", "N/A"),
        ("4", "N/A"),
    ]  # fmt: skip
    assert up.jobs("2")[0]["expected_start"] == "2099-01-02T03:04:00.000000Z"
    assert (up.jobs("4")[0]["expected_start"], up.jobs("5")[0]["expected_start"]) == (None, None)


def test_a_begin_time_is_known_without_a_daemon(ctl: Ctl) -> None:
    ctl.submit("--begin", "2099-01-02 03:04", "true")
    assert starts(ctl) == {"1": "~2099-01-02T03:04:00"}


def test_what_was_expected_long_ago_is_not_now(up: Ctl) -> None:
    for _ in range(3):
        up.submit("true")
    now = time.time()
    up.observe(reasons=dict.fromkeys("123", "Resources"), expected={"1": now - 3600, "2": now - 1, "3": now + 3600})
    found = starts(up)
    assert list(found) == ["2", "3", "1"]
    assert found["1"] == "N/A"
    assert found["2"].startswith("~")
