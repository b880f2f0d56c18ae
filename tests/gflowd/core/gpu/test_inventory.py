from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.gpu.device import Gpu
from gflowd.core.gpu.inventory import Answer, Found, Inventory
from gflowd.core.gpu.nvml_codes import GONE


def whole(card: str) -> Found:
    """The GPU of a letter; PCI goes by the letters."""
    return (0, ord(card), 0, 0), Gpu(index=0, uuid=card, model="M", memory_mb=80)


def answer(number: int, card: str, *parts: int) -> Answer:
    place, gpu = whole(card)
    devices = [
        ((*place[:3], 1 + part), gpu.replace(uuid=f"{card}{part}", parent=card, instance=(part, 0), memory_mb=10))
        for part in parts
    ]
    return Answer(number, card, tuple(devices) or ((place, gpu),), (place, gpu))


def called(inventory: Inventory, *answers: Answer) -> list[tuple[str, str | None]]:
    return [(gpu.uuid, gpu.fault) for gpu in inventory.call(answers)]


def test_a_roll_is_empty_before_the_first_call() -> None:
    inventory = Inventory()
    assert not inventory
    assert (called(inventory), inventory.memory_mb("a")) == ([], 0)
    assert called(inventory, answer(0, "b"), answer(1, "a")) == [("a", None), ("b", None)]
    assert inventory
    assert inventory.memory_mb("a") == 80


def test_one_that_is_gone_or_silent_keeps_its_place() -> None:
    inventory = Inventory()
    inventory.call([answer(0, "a", 0, 1), answer(1, "b")])
    assert called(inventory, answer(0, "b")) == [("a0", GONE), ("a1", GONE), ("b", None)]
    silent = Answer(0, "a", fault="lost", lasting=True)
    assert called(inventory, silent, answer(1, "b")) == [("a0", "lost"), ("a1", "lost"), ("b", None)]
    gone = inventory.call([silent])[0]
    assert (gone.parent, gone.instance, gone.memory_mb, gone.lasting, gone.answers) == ("a", (0, 0), 10, True, False)


def test_what_people_take_away_is_forgotten_when_its_gpu_answers() -> None:
    inventory = Inventory()
    inventory.call([answer(0, "a", 0, 1), answer(1, "b", 0)])
    assert called(inventory, answer(0, "a", 1), answer(1, "b")) == [("a1", None), ("b", None)]
    assert called(inventory, answer(0, "a"), answer(1, "b", 3, 2)) == [("a", None), ("b2", None), ("b3", None)]


def test_one_that_says_who_it_is_and_no_more_is_in_its_place() -> None:
    inventory = Inventory()
    mute = Answer(0, "a", fault="x", whole=whole("a")[:2])
    assert called(inventory, answer(1, "b"), mute) == [("a", "x"), ("b", None)]
    assert called(inventory, answer(1, "b"), answer(0, "a", 2)) == [("a2", None), ("b", None)]


def test_one_that_never_said_who_it_is_comes_last_and_may_be_one_that_is_gone() -> None:
    inventory = Inventory()
    nameless = [Answer(number, None, fault="x") for number in (2, 3)]
    assert called(inventory, answer(0, "a", 0, 1), *nameless) == [
        ("a0", None), ("a1", None), ("unknown-2", "x"), ("unknown-3", "x"),
    ]  # fmt: skip
    assert called(inventory, *nameless) == [("a0", GONE), ("a1", GONE), ("unknown-3", "x")]


parts = st.lists(st.integers(0, 6), max_size=3, unique=True)
polls = st.lists(st.dictionaries(st.sampled_from("abc"), st.none() | parts, min_size=1), min_size=1, max_size=5)


@given(polls)
def test_no_gpu_is_listed_beside_its_own_parts_and_none_is_lost_from_sight(
    made: list[dict[str, list[int] | None]],
) -> None:
    """None: it does not answer."""
    inventory, ever = Inventory(), set()
    for poll in made:
        answers = [
            Answer(number, card, fault="x", whole=whole(card)) if cut is None else answer(number, card, *cut)
            for number, (card, cut) in enumerate(poll.items())
        ]
        listed = inventory.call(answers)
        ever |= poll.keys()
        uuids = [gpu.uuid for gpu in listed]
        assert len(set(uuids)) == len(uuids)
        assert {gpu.card for gpu in listed} == ever
        assert not {gpu.parent for gpu in listed} & set(uuids)
        told = {card: {f"{card}{part}" for part in cut} or {card} for card, cut in poll.items() if cut is not None}
        for card, expected in told.items():
            assert {gpu.uuid for gpu in listed if gpu.card == card and gpu.fault is None} == expected
            assert all(gpu.fault is None for gpu in listed if gpu.card == card)
        assert all(gpu.fault is not None for gpu in listed if gpu.card not in told)
