"""What waits to be delivered survives everything, and is bounded."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from gflowd.core.errors import Refused
from gflowd.storage.outbox import Outbox, OutboxFailed

if TYPE_CHECKING:
    from gflowd.paths import State


@pytest.fixture
def outbox(state: State) -> Iterator[Outbox]:
    opened = Outbox(state.outbox, write=True)
    yield opened
    opened.close()


def event(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"1-{number}", "kind": "job_ended", "job": number, **more}


def test_a_message_is_added_once_and_kept(state: State, outbox: Outbox) -> None:
    assert (outbox.last, outbox.waiting()) == (None, [])
    with outbox.commit():
        for _ in range(2):
            outbox.add("mail ada", event(1), 5.0)
        outbox.add("url x", event(1), 6.0)
        outbox.last = "1-1"
    with contextlib.suppress(ZeroDivisionError), outbox.commit():
        outbox.add("mail ada", event(2), 5.0)
        outbox.last = "1-2"
        _ = 1 / 0
    reader = Outbox(state.outbox)
    assert reader.last == "1-1"
    assert [(each.key, each.number, each.oldest, each.failures) for each in reader.waiting()] == [
        ("mail ada", 1, 5.0, 0), ("url x", 1, 6.0, 0),
    ]  # fmt: skip
    (unit,) = reader.units("mail ada", 5)
    assert (unit.event_id, unit.events, unit.made_at) == ("1-1", (event(1),), 5.0)
    reader.close()
    assert os.stat(state.outbox).st_mode & 0o77 == 0


def test_a_receiver_that_fails_is_tried_later_and_its_least_tried_message_first(outbox: Outbox) -> None:
    for number in (1, 2):
        outbox.add("mail ada", event(number), 0.0)
    outbox.failed("mail ada", outbox.units("mail ada", 1)[0].ids, "SMTP 421", 99.0)
    (waiting,) = outbox.waiting()
    assert (waiting.failures, waiting.due_at, waiting.why) == (1, 99.0, "SMTP 421")
    first, second = outbox.units("mail ada", 5)
    assert (first.event_id, second.event_id, second.tries) == ("1-2", "1-1", 1)
    outbox.refused("mail ada", first.ids, "SMTP 550")
    assert outbox.failures("mail ada") == (0, "SMTP 550", 1)
    outbox.retry_now()
    assert outbox.waiting()[0].due_at == 0
    outbox.delivered("mail ada", second.ids)
    assert outbox.waiting() == []
    assert outbox.failures("mail ada") == (0, "", 0)


def test_many_become_one_unit_that_stays_the_same(outbox: Outbox) -> None:
    for number in range(1, 31):
        outbox.add("mail ada", event(number), float(number))
    outbox.merge("mail ada", over=30, most=100)
    assert len(outbox.units("mail ada", 100)) == 30
    outbox.merge("mail ada", over=20, most=25)
    first, *others = outbox.units("mail ada", 100)
    assert (first.event_id, len(first.events), first.made_at, len(others)) == ("1-1.to.1-25", 25, 1.0, 5)
    outbox.add("mail ada", event(31), 31.0)
    outbox.merge("mail ada", over=20, most=25)
    assert outbox.units("mail ada", 1) == [first]


def test_what_waits_is_bounded_and_not_kept_for_ever(outbox: Outbox) -> None:
    for number in range(10):
        outbox.add("mail ada", event(number), float(number))
    outbox.add("url x", event(1), 1.0)
    assert outbox.bound(7) == [("mail ada", 3)]
    assert sorted(outbox.give_up(5.0)) == [("mail ada", 2), ("url x", 1)]
    assert [(each.key, each.number, each.dropped) for each in outbox.waiting()] == [("mail ada", 5, 5)]
    assert outbox.give_up(5.0) == []
    outbox.drop("mail ada")
    assert outbox.waiting() == []


def test_targets_are_known_since_they_are_in_the_configuration(outbox: Outbox) -> None:
    assert outbox.know(["a", "b"], 5.0) == {"a": 5.0, "b": 5.0}
    assert outbox.know(["b", "c"], 7.0) == {"b": 5.0, "c": 7.0}
    assert outbox.know(["a"], 9.0) == {"a": 9.0}


def test_an_array_ends_once_and_again_after_a_requeue(outbox: Outbox) -> None:
    assert outbox.first_to_begin(10, 3, 1.0)
    assert not outbox.first_to_begin(10, 3, 1.0)
    assert not outbox.element_ended(10, 3, 10, "finished", "", 2.0)
    assert not outbox.element_ended(10, 3, 11, "failed", "11 failed", 2.0)
    assert not outbox.element_ended(10, 3, 11, "failed", "11 failed", 2.0)  # told twice
    outbox.element_again(10, 3, 12, 2.0)  # a retry: it had not ended
    outbox.element_again(10, 3, 11, 2.0)
    assert not outbox.element_ended(10, 3, 12, "finished", "", 2.0)
    assert outbox.element_ended(10, 3, 11, "failed", "11 failed", 3.0)
    assert outbox.take_summary(10, 9) == {
        "count": 3, "states": {"finished": 2, "failed": 1}, "failures": ["11 failed"], "more": 0,
    }  # fmt: skip
    assert outbox.first_again(10, 3, 3.0)
    assert not outbox.first_again(10, 3, 3.0)
    outbox.element_again(10, 3, 11, 4.0)
    outbox.element_again(10, 3, 11, 4.0)
    outbox.element_again(10, 3, 12, 4.0)
    assert not outbox.element_ended(10, 3, 11, "finished", "", 5.0)
    assert outbox.element_ended(10, 3, 12, "failed", "12 failed", 5.0)
    assert outbox.take_summary(10, 0) == {
        "count": 2, "states": {"finished": 1, "failed": 1}, "failures": [], "more": 1,
    }  # fmt: skip
    assert outbox.element_ended(10, 3, 12, "failed", "", 5.0)  # whose requeueing was never seen
    outbox.forget_arrays(99.0)
    assert not outbox.element_ended(10, 3, 10, "finished", "", 100.0)


def test_marks_wait_stand_still_and_move(outbox: Outbox) -> None:
    outbox.set_mark(1, "time_limit_50", 100.0, event(1))
    outbox.set_mark(2, "time_limit_50", 90.0, event(2))
    assert outbox.next_mark() == 90.0
    outbox.drop_marks(2)
    outbox.pause_marks(1, 60.0)
    outbox.pause_marks(1, 70.0)
    assert (outbox.next_mark(), outbox.due_marks(1e9)) == (None, [])
    outbox.go_on_with_marks(1, 1000.0)
    outbox.go_on_with_marks(1, 2000.0)
    assert outbox.next_mark() == 1040.0
    assert outbox.marks(range(1, 3)) == [(1, "time_limit_50", event(1))]
    outbox.shift_mark(1, "time_limit_50", 10.0, event(1, x=1))
    assert outbox.due_marks(1049.0) == []
    assert outbox.due_marks(1050.0) == [(1, "time_limit_50", 1050.0, event(1, x=1))]
    assert outbox.next_mark() is None


def test_a_damaged_or_newer_outbox_is_told_apart(state: State, outbox: Outbox) -> None:
    outbox.close()
    with pytest.raises(OutboxFailed) as failure:
        outbox.waiting()
    assert not failure.value.damaged
    with open(state.outbox, "wb") as file:
        file.write(b"x" * 10000)
    with pytest.raises(OutboxFailed) as failure:
        Outbox(state.outbox, write=True)
    assert failure.value.damaged
    os.unlink(state.outbox)
    with pytest.raises(FileNotFoundError):
        Outbox(state.outbox)
    Outbox(state.outbox, write=True).close()
    os.chmod(state.outbox, 0o644)
    with pytest.raises(Refused):
        Outbox(state.outbox)
