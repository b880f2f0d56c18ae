"""MIG devices, as the real pynvml tells of those of the fake NVML."""

from __future__ import annotations

import pytest
from support.nvidia import Cards, address

from gflowd.core.gpu import nvml_codes
from gflowd.core.gpu.device import Gpu
from gflowd.effects.gpu.nvml import Nvml

GOOD = (None, False, True)


def states(gpus: tuple[Gpu, ...]) -> list[tuple[str, str | None, bool, bool]]:
    assert [gpu.index for gpu in gpus] == list(range(len(gpus)))
    return [(gpu.model, gpu.fault, gpu.lasting, gpu.answers) for gpu in gpus]


def pids(gpu: Gpu) -> list[int]:
    return [process.pid for process in gpu.processes]


def test_mig_devices_stand_where_their_gpu_stood(cards: Cards, driver: Nvml) -> None:
    cards.cut("b", "3g.40gb", None, "1g.10gb")
    cards.set("b2", used=512)
    cards.set("b", temp=66, ecc=2)
    found = driver.poll()
    assert states(found) == [
        ("Fake-A", *GOOD), ("Fake-B MIG 3g.40gb", *GOOD), ("Fake-B MIG 1g.10gb", *GOOD), ("Fake-C", *GOOD),
    ]  # fmt: skip
    assert found[2] == Gpu(
        index=2, uuid=cards.uuids["b2"], parent=cards.uuids["b"], instance=(9, 0), model="Fake-B MIG 1g.10gb",
        memory_mb=9728, used_mb=512, temperature=66, ecc=2, links=("SYS", "MIG", "X", "SYS"),
    )  # fmt: skip
    assert found[2].utilisation is None, "nobody counts it"
    assert driver.poll() == found
    cards.reorder("cba")
    assert driver.poll() == found


@pytest.mark.parametrize(
    ("attributes", "name"),
    [({}, "MIG device"), ({"of": 3, "parts": 3, "size": 40192}, "MIG 3g.40gb"),
     ({"of": 3, "parts": 1, "size": 19968}, "MIG 1c.3g.20gb")],
)  # fmt: skip
def test_a_device_without_a_name_of_its_own_is_named_by_what_it_has(
    cards: Cards, driver: Nvml, attributes: dict[str, int], name: str
) -> None:
    cards.cut("a", "1g.10gb")
    cards.set("a0", nameless=1, **attributes)
    assert driver.poll()[0].model == f"Fake-A {name}"


def test_a_gpu_in_mig_mode_without_a_device_says_what_to_do(cards: Cards, driver: Nvml) -> None:
    cards.cut("a")
    assert states(driver.poll())[0] == ("Fake-A", nvml_codes.MIG, False, True)
    cards.cut("a", "1g.10gb")
    assert states(driver.poll())[0] == ("Fake-A MIG 1g.10gb", *GOOD)


def test_a_gpu_that_cannot_tell_its_mode_is_not_given_away_whole(cards: Cards, driver: Nvml) -> None:
    cards.set("a", mig=2)
    assert states(driver.poll())[0] == ("Fake-A", "Unknown Error", False, False)


def test_devices_that_people_take_away_are_forgotten(cards: Cards, driver: Nvml) -> None:
    before = driver.poll()
    cards.cut("a", "1g.10gb", "1g.10gb")
    assert len(driver.poll()) == 4
    cards.cut("a", "2g.20gb")
    assert [gpu.model for gpu in driver.poll()] == ["Fake-A MIG 2g.20gb", "Fake-B", "Fake-C"]
    cards.join("a")
    assert driver.poll() == before


@pytest.mark.parametrize("how", ["error", "handle", "order"])
def test_a_gpu_that_is_lost_takes_its_devices_with_it_and_they_keep_their_places(
    cards: Cards, driver: Nvml, how: str
) -> None:
    cards.cut("b", "1g.10gb", "2g.20gb")
    before = driver.poll()
    if how == "order":
        cards.reorder("ac")
    else:
        cards.set("b", **{how: 15})
    why = nvml_codes.GONE if how == "order" else "GPU is lost"
    assert states(driver.poll()) == [
        ("Fake-A", *GOOD), ("Fake-B MIG 1g.10gb", why, True, False), ("Fake-B MIG 2g.20gb", why, True, False),
        ("Fake-C", *GOOD),
    ]  # fmt: skip
    cards.set("b", error=None, handle=None)
    cards.reorder("abc")
    assert driver.poll() == before


def test_a_device_that_fails_fails_alone(cards: Cards, driver: Nvml) -> None:
    cards.cut("a", "1g.10gb", "1g.10gb")
    driver.poll()
    cards.set("a1", error=999)
    found = driver.poll()
    assert [(gpu.fault, gpu.memory_mb) for gpu in found[:2]] == [(None, 9728), ("Unknown Error", 9728)]
    cards.set("a1", error=15)
    assert [gpu.fault for gpu in driver.poll()[:2]] == ["GPU is lost", "GPU is lost"], "which is of all of the GPU"


def test_a_fatal_xid_is_of_all_devices(cards: Cards, driver: Nvml) -> None:
    cards.cut("a", "1g.10gb", "1g.10gb")
    driver.poll()
    cards.set("a", xid="79/1")
    assert [gpu.fault for gpu in driver.poll()] == ["Xid 79: fell off the bus"] * 2 + [None, None]


def test_processes_are_told_by_the_device_they_are_on(cards: Cards, driver: Nvml) -> None:
    cards.cut("a", "1g.10gb", "1g.10gb")
    cards.set("a0", processes="5:100", graphics="6")
    cards.set("a1", processes="7")
    first, second, *_ = driver.poll()
    assert (pids(first), pids(second)) == ([5, 6], [7])
    assert (first.processes[1].graphics, second.processes[0].memory_mb) == (True, None)


def test_or_by_their_gpu_which_says_where_they_are(cards: Cards, driver: Nvml) -> None:
    cards.cut("a", "1g.10gb", "1g.10gb")
    cards.set("a", processes=f"5:100:7:0,6:100:8:{nvml_codes.NONE},9:1")
    cards.set("a0", processes="5:100")
    assert [pids(gpu) for gpu in driver.poll()[:2]] == [[5], [6]]
    cards.set("a1", listing=3)
    assert [pids(gpu) for gpu in driver.poll()[:2]] == [[5], [6, 9]], "9 may be on any that cannot tell"


def test_a_device_is_not_free_when_nobody_tells_who_is_on_it(cards: Cards, driver: Nvml) -> None:
    cards.cut("a", "1g.10gb", "1g.10gb")
    cards.set("a", listing=4)
    cards.set("a1", listing=4)
    assert [gpu.fault for gpu in driver.poll()[:2]] == [None, "Insufficient Permissions"]


def test_mig_devices_have_no_nvlink(cards: Cards, driver: Nvml) -> None:
    cards.set("a", nvlinks=address(cards, "bb"))
    cards.set("b", nvlinks=address(cards, "aa"))
    assert driver.poll()[0].links == ("X", "NV2", "SYS")
    cards.cut("b", "1g.10gb", "1g.10gb")
    cards.say(f"way {cards.uuids['a']} {cards.uuids['b']} 30")
    assert [gpu.links for gpu in driver.poll()] == [
        ("X", "PHB", "PHB", "SYS"), ("PHB", "X", "MIG", "SYS"), ("PHB", "MIG", "X", "SYS"), ("SYS", "SYS", "SYS", "X"),
    ]  # fmt: skip
