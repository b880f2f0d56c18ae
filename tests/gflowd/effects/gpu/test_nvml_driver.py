"""The real pynvml on the fake NVML."""

from __future__ import annotations

import os
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

import pytest
from support.nvidia import VARIABLE, Cards, address, build

from gflowd.core.gpu import nvml_codes
from gflowd.core.gpu.device import Gpu
from gflowd.core.gpu.faults import DriverFailed
from gflowd.effects.gpu import pci
from gflowd.effects.gpu.nvml import Nvml

ROOT = Path(__file__).parents[4]


def nothing() -> bool:
    """No GPU is plugged in."""
    return False


def states(gpus: tuple[Gpu, ...]) -> list[tuple[str, str | None, bool, bool]]:
    return [(gpu.model, gpu.fault, gpu.lasting, gpu.answers) for gpu in gpus]


GOOD = (None, False, True)


def test_a_gpu_is_told_with_all_that_it_has(cards: Cards, driver: Nvml) -> None:
    cards.set("b", total=81920, used=1024, util=99, temp=71, ecc=0, processes="4711:1000,4712")
    first, second, third = driver.poll()
    assert first == Gpu(
        index=0, uuid=cards.uuids["a"], model="Fake-A", memory_mb=24576, utilisation=0, temperature=40,
        links=("X", "SYS", "SYS"),
    )  # fmt: skip
    assert (second.memory_mb, second.used_mb, second.utilisation, second.temperature) == (81920, 1024, 99, 71)
    assert [(process.pid, process.memory_mb) for process in second.processes] == [(4711, 1000), (4712, None)]
    assert (third.index, third.processes, third.fault) == (2, (), None)
    assert driver.poll() == (first, second, third)


def test_the_order_is_that_of_the_pci_bus_whatever_nvml_s_is(cards: Cards, driver: Nvml) -> None:
    before = driver.poll()
    cards.reorder("cab")
    assert driver.poll() == before
    assert Nvml(nothing).poll() == before


@pytest.mark.parametrize("how", ["error", "handle"])
def test_one_that_is_lost_is_faulty_alone_and_keeps_its_place(cards: Cards, driver: Nvml, how: str) -> None:
    driver.poll()
    cards.set("b", **{how: 15})
    found = driver.poll()
    assert states(found) == [("Fake-A", *GOOD), ("Fake-B", "GPU is lost", True, False), ("Fake-C", *GOOD)]
    assert (found[1].uuid, found[1].memory_mb) == (cards.uuids["b"], 24576)
    cards.set("b", **{how: None})
    assert states(driver.poll())[1] == ("Fake-B", *GOOD)


def test_one_that_is_gone_keeps_its_place_and_gets_it_back(cards: Cards, driver: Nvml) -> None:
    driver.poll()
    cards.reorder("ac")
    assert states(driver.poll()) == [("Fake-A", *GOOD), ("Fake-B", nvml_codes.GONE, True, False), ("Fake-C", *GOOD)]
    cards.reorder("abc")
    assert states(driver.poll())[1] == ("Fake-B", *GOOD)


def test_one_that_never_said_who_it_is_is_shown_all_the_same(cards: Cards, driver: Nvml) -> None:
    cards.set("b", handle=15)
    assert [(gpu.index, gpu.model, gpu.answers) for gpu in driver.poll()] == [
        (0, "Fake-A", True), (1, "Fake-C", True), (2, "unknown", False),
    ]  # fmt: skip
    cards.set("b", handle=None)
    assert [gpu.model for gpu in driver.poll()] == ["Fake-A", "Fake-B", "Fake-C"]


def test_a_failure_that_may_pass_does_not_last(cards: Cards, driver: Nvml) -> None:
    cards.set("a", error=999)
    assert states(driver.poll())[0] == ("Fake-A", "Unknown Error", False, False)


def test_memory_errors_are_counted(cards: Cards, driver: Nvml) -> None:
    cards.set("a", ecc=3, mig=0)
    assert [(gpu.ecc, gpu.fault) for gpu in driver.poll()] == [(3, None), (0, None), (0, None)]


def test_the_number_of_its_device_file_is_told_if_the_driver_knows_it(cards: Cards, driver: Nvml) -> None:
    cards.set("a", minor=4)
    cards.set("c", minor=0)
    cards.cut("c", "1g.10gb")
    assert [gpu.minor for gpu in driver.poll()] == [4, None, 0]
    cards.reorder("bc")
    assert [gpu.minor for gpu in driver.poll()] == [4, None, 0], "one that is gone keeps it"


def test_one_that_never_answered_is_in_its_place_when_it_says_who_it_is(cards: Cards, driver: Nvml) -> None:
    cards.set("b", error=15)
    assert states(driver.poll()) == [("Fake-A", *GOOD), ("Fake-B", "GPU is lost", True, False), ("Fake-C", *GOOD)]


def test_one_that_cannot_tell_its_processes_is_not_known_to_be_free(cards: Cards, driver: Nvml) -> None:
    cards.set("b", listing=999)
    assert states(driver.poll()) == [("Fake-A", *GOOD), ("Fake-B", "Unknown Error", False, False), ("Fake-C", *GOOD)]


def test_what_only_draws_is_told_from_what_computes(cards: Cards, driver: Nvml) -> None:
    cards.set("a", processes="5:100", graphics="5:100,6:30")
    cards.set("b", graphics="7")
    drawn = [[(each.pid, each.memory_mb, each.graphics) for each in gpu.processes] for gpu in driver.poll()]
    assert drawn == [[(5, 100, False), (6, 30, True)], [(7, None, True)], []]


def test_what_the_driver_keeps_for_itself_is_not_in_use_unless_it_is_too_old_to_say(cards: Cards, driver: Nvml) -> None:
    cards.set("a", used=100)
    assert [gpu.used_mb for gpu in driver.poll()] == [100, 0, 0]
    cards.say("version 2")
    assert [gpu.used_mb for gpu in driver.poll()] == [580, 480, 480]


def test_the_lists_of_old_drivers_and_of_confused_ones_are_read(cards: Cards, driver: Nvml) -> None:
    cards.say("version 2")
    cards.set("a", processes="5:100,6")
    assert [each.pid for each in driver.poll()[0].processes] == [5, 6]
    cards.say()
    cards.set("a", garbled=1)
    assert [each.pid for each in driver.poll()[0].processes] == [5, 6]


def test_a_fatal_xid_is_told_once_and_a_program_s_own_is_not(cards: Cards, driver: Nvml) -> None:
    driver.poll()
    cards.set("b", xid="79/1")
    cards.set("c", xid="31/1")
    assert states(driver.poll())[1:] == [("Fake-B", "Xid 79: fell off the bus", True, True), ("Fake-C", *GOOD)]
    assert states(driver.poll())[1] == ("Fake-B", *GOOD)


def test_a_fatal_xid_counts_although_its_gpu_fails_otherwise(cards: Cards, driver: Nvml) -> None:
    driver.poll()
    cards.set("b", xid="62/1", listing=999)
    assert states(driver.poll())[1][:3] == ("Fake-B", "Xid 62: its controller halted", True)
    cards.set("b", xid="62/2", mig=2)
    assert states(driver.poll())[1] == ("Fake-B", "Xid 62: its controller halted", True, False)


@pytest.mark.parametrize(
    ("code", "cure"), [(4, "/dev/nvidia"), (9, "modprobe"), (18, "reboot or reload"), (999, "Unknown Error")]
)
def test_a_driver_that_fails_says_how_to_mend_it_and_comes_back(
    cards: Cards, driver: Nvml, code: int, cure: str
) -> None:
    cards.say(f"init {code}")
    for _ in range(3):
        with pytest.raises(DriverFailed, match=cure):
            driver.poll()
    cards.say()
    assert len(driver.poll()) == 3
    cards.say(f"init {code}")
    with pytest.raises(DriverFailed, match=cure):
        driver.poll()
    cards.say()
    assert len(driver.poll()) == 3


def test_links_are_those_of_nvidia_smi(cards: Cards, driver: Nvml) -> None:
    cards.say(f"way {cards.uuids['b']} {cards.uuids['c']} 30")
    cards.set("a", nvlinks=address(cards, "bb"))
    cards.set("b", nvlinks=address(cards, "aa"))
    assert [gpu.links for gpu in driver.poll()] == [("X", "NV2", "SYS"), ("NV2", "X", "PHB"), ("SYS", "PHB", "X")]
    for name in "abc":
        cards.set(name, nvlinks="0:9:0,0:a:0,0:b:0")  # switches
    assert Nvml(nothing).poll()[1].links == ("NV3", "X", "NV3")


def test_a_machine_without_the_library_has_no_gpus_unless_one_is_plugged_in() -> None:
    if find_library("nvidia-ml"):
        pytest.skip("this machine has it")
    assert Nvml(nothing).poll() == ()
    assert "pynvml" not in sys.modules
    with pytest.raises(DriverFailed, match="install the NVIDIA driver"):
        Nvml(lambda: True).poll()


def test_a_gpu_that_is_plugged_in_is_seen(tmp_path: Path) -> None:
    assert not pci.has_nvidia(str(tmp_path))
    for name, vendor, kind in (("0000:01:00.0", "0x10de", "0x040300"), ("0000:02:00.0", "0x1002", "0x030000")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{vendor}\n")
        (tmp_path / name / "class").write_text(f"{kind}\n")
    assert not pci.has_nvidia(str(tmp_path)), "its sound alone, and another's"
    (tmp_path / "0000:01:00.0" / "class").write_text("0x030200\n")
    assert pci.has_nvidia(str(tmp_path))


def test_a_package_that_cannot_be_imported_is_a_trouble_of_the_driver(
    cards: Cards, driver: Nvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "pynvml", None)
        with pytest.raises(DriverFailed, match=r"nvidia-ml-py cannot be imported: ModuleNotFoundError: .*install"):
            driver.poll()
    assert len(driver.poll()) == len(cards.uuids)


def test_a_library_brought_up_to_date_meanwhile_is_found(tmp_path: Path, fake_nvml: Path) -> None:
    Cards(tmp_path / "gpus", 2)
    build(tmp_path, "-DOUTDATED")
    text = f"""
import os, sys
from gflowd.effects.gpu.nvml import DriverFailed, Nvml
driver = Nvml(lambda: False)
try:
    driver.poll()
except DriverFailed as error:
    print(error)
os.replace({str(tmp_path / "good")!r}, {str(tmp_path / "libnvidia-ml.so.1")!r})
print(len(driver.poll()))
"""
    (tmp_path / "good").write_bytes(fake_nvml.read_bytes())
    env = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), VARIABLE: str(tmp_path / "gpus"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", text], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == [nvml_codes.TROUBLES[18], "2"], done.stderr


@pytest.mark.parametrize(
    "lacks",
    [
        "nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v2", "nvmlDeviceGetMigMode",
        "nvmlDeviceGetTemperature", "nvmlDeviceGetTotalEccErrors", "nvmlDeviceGetUtilizationRates", "nvmlMemory_v2",
        "nvmlDeviceGetMemoryInfo", "nvmlEventSetWait_v2", "nvmlEventSetCreate", "nvmlDeviceRegisterEvents",
        "nvmlDeviceGetP2PStatus", "nvmlDeviceGetNvLinkState", "nvmlDeviceGetTopologyCommonAncestor",
    ],
)  # fmt: skip
def test_a_function_that_pynvml_lacks_costs_only_what_it_tells(
    cards: Cards, driver: Nvml, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    import pynvml

    cards.set("b", processes="4711:1000")
    monkeypatch.delattr(pynvml, lacks)
    for _ in range(2):
        found = driver.poll()
        assert [(gpu.model, gpu.fault) for gpu in found] == [(f"Fake-{name}", None) for name in "ABC"]
        assert [process.pid for process in found[1].processes] == [4711]
