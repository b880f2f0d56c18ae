"""Reservations to test with."""

from __future__ import annotations

from hypothesis import strategies as st

from gflowd.core.planning.reservations import Reservation
from gflowd.core.syntax import instants

HOUR, DAY = 3600, 86400
ZONES = ("Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Tehran", "Africa/Casablanca", "UTC")


def at(text: str) -> float:
    """An instant in Vienna."""
    return instants.parse(text, 0, instants.zone("Europe/Vienna"))


def reservation(number: int, **fields: object) -> Reservation:
    """An hour on one GPU, unless `fields` say otherwise."""
    told = {"user": "ada", "start": 0.0, "duration": HOUR, "created_at": 0.0, "created_by": "ada", **fields}
    if "gpu_list" not in told:
        told.setdefault("gpus", 1)
    return Reservation(id=number, **told)  # type: ignore[arg-type]


def _made(
    number: int, day: int, minute: int, minutes: int, repeat: str | None, which: int | tuple[int, ...], cancelled: float
) -> Reservation:
    start = at("2025-01-01") + day * DAY + minute * 60
    longest = {None: 40 * 1440, "daily": 1440, "weekly": 7 * 1440}[repeat]
    gpus = {"gpus": which} if isinstance(which, int) else {"gpu_list": which}
    ends = {} if cancelled < 0 else {"cancelled_at": start + cancelled}
    return reservation(number, start=start, duration=60.0 * min(minutes, longest), repeat=repeat, **gpus, **ends)


lists = st.sets(st.integers(0, 3), min_size=1).map(lambda indices: tuple(sorted(indices)))
one = st.builds(
    _made,
    st.integers(1, 10**6),
    st.integers(0, 400),
    st.sampled_from([0, 30, 90, 119, 120, 121, 150, 179, 180, 540, 1320]) | st.integers(0, 1439),
    st.sampled_from([1, 30, 60, 120, 480, 1440, 7 * 1440]) | st.integers(1, 20000),
    st.sampled_from([None, "daily", "weekly"]),
    st.integers(1, 4) | lists,
    st.just(-1.0) | st.floats(0, 10 * DAY),
)
reservations_strategy = st.lists(one, max_size=6, unique_by=lambda each: each.id)
