from __future__ import annotations

from pathlib import Path

from gflowd.core.gpu.device import Gpu
from gflowd.core.gpu.device_access import Files
from gflowd.effects.gpu import device_files

DEVICES = "Character devices:\n  1 mem\n195 nvidia\n195 nvidiactl\n236 nvidia-caps\n\nBlock devices:\n  7 nvidia-caps\n"


def test_the_numbers_are_those_that_the_kernel_lists(tmp_path: Path) -> None:
    assert device_files.read((), str(tmp_path)) == Files(195), "nothing is there"
    devices = tmp_path / "devices"
    devices.write_text("Character devices:\n  1 mem\n240 nvidia-frontend\n")
    assert device_files.read((), str(tmp_path)) == Files(240)
    devices.write_text(DEVICES)
    assert device_files.read((), str(tmp_path)) == Files(195, 236)


def test_the_driver_says_which_files_mig_devices_take(tmp_path: Path) -> None:
    (tmp_path / "devices").write_text(DEVICES)
    capabilities = tmp_path / "driver" / "nvidia" / "capabilities"
    files = {"mig/config": 1, "mig/monitor": 2, "gpu2/mig/gi3/access": 30, "gpu2/mig/gi3/ci0/access": 31}
    for name, minor in files.items():
        (capabilities / name).parent.mkdir(parents=True, exist_ok=True)
        (capabilities / name).write_text(f"DeviceFileMinor: {minor}\nDeviceFileMode: 292\n")
    parts = [Gpu(index=n, uuid=f"MIG-{n}", model="X", memory_mb=1, minor=2, instance=(3, n)) for n in (0, 1)]
    whole = Gpu(index=2, uuid="GPU-2", model="X", memory_mb=1, minor=0)
    found = device_files.read([*parts, whole], str(tmp_path))
    assert found == Files(195, 236, {(2, 3, None): 30, (2, 3, 0): 31}, 2), "the other compute instance is not there"
