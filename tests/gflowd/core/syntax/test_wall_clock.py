from __future__ import annotations

from datetime import datetime

from gflowd.core.syntax import instants
from gflowd.core.syntax.wall_clock import first_instant, on_the_wall

VIENNA = instants.zone("Europe/Vienna")


def test_what_the_clock_shows_is_when_it_shows_that_first() -> None:
    for text in ("2026-01-01 12:00:00", "2026-10-25 02:30:00", "2026-03-29 03:00:00"):
        wall = datetime.fromisoformat(text)
        assert on_the_wall(first_instant(wall, VIENNA), VIENNA) == wall
    skipped = first_instant(datetime.fromisoformat("2026-03-29 02:30"), VIENNA)
    assert on_the_wall(skipped, VIENNA) == datetime.fromisoformat("2026-03-29 03:00")
