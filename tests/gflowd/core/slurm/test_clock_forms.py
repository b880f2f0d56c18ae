"""Durations as sacct shows them, and times as it reads them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gflowd.core.errors import Refused
from gflowd.core.slurm import clock_forms

NOW = datetime(2026, 11, 27, 15, 6, 50, tzinfo=UTC).timestamp()
TIMES = {
    "now": "2026-11-27 15:06:50", "now-1days": "2026-11-26 15:06:50", "now-1 hour": "2026-11-27 14:06:50",
    "now+90": "2026-11-27 15:08:20", "NOW - 2weeks": "2026-11-13 15:06:50", "midnight": "2026-11-27 00:00:00",
    "today": "2026-11-27 00:00:00", "yesterday": "2026-11-26 00:00:00", "noon": "2026-11-27 12:00:00",
    "15:00": "2026-11-27 15:00:00", "3:00pm": "2026-11-27 15:00:00", "15:30:01": "2026-11-26 15:30:01",
    "12:05am": "2026-11-27 00:05:00", "2026-11-27": "2026-11-27 00:00:00", "2026-11-27T10:00": "2026-11-27 10:00:00",
    "2026-11-25-10:00:05": "2026-11-25 10:00:05", "11/26": "2026-11-26 00:00:00", "11/28": "2025-11-28 00:00:00",
    "1126": "2026-11-26 00:00:00", "112525": "2025-11-25 00:00:00", "11.26.25": "2025-11-26 00:00:00",
    "11/27/26-15:00:00": "2026-11-27 15:00:00",
}  # fmt: skip


def test_times_are_read_as_sacct_reads_them() -> None:
    for text, meant in TIMES.items():
        found = datetime.fromtimestamp(clock_forms.past_instant(text, NOW, UTC), UTC)
        assert f"{found:%Y-%m-%d %H:%M:%S}" == meant, text


@pytest.mark.parametrize(
    "text", ["", "foo", "now-", "now-1fortnight", "25:00", "2026-13-01", "2026-11", "1795792010", "11/27/26-x", "13:77"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Refused, match=r"Invalid time specification \(pos=0\)"):
        clock_forms.past_instant(text, NOW, UTC)


def test_durations_have_sacct_s_forms() -> None:
    assert [clock_forms.whole(seconds) for seconds in (-1, 65.9, 3600, 176_400)] == [
        "00:00:00", "00:01:05", "01:00:00", "2-01:00:00",
    ]  # fmt: skip
    assert [clock_forms.cpu(seconds) for seconds in (0.004, 65.25, 65, 3600.5)] == [
        "00:00.004", "01:05.250", "00:01:05", "01:00:00",
    ]  # fmt: skip
