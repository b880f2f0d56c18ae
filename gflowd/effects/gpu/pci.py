"""The PCI devices that the kernel lists (sysfs), with or without a driver."""

from __future__ import annotations

import glob

DEVICES = "/sys/bus/pci/devices"
NVIDIA, DISPLAY = "0x10de", "0x03"  # vendor, and the class of display controllers


def has_nvidia(devices: str = DEVICES) -> bool:
    """Whether there is an NVIDIA display controller."""
    return any(
        _word(f"{device}/vendor") == NVIDIA and _word(f"{device}/class").startswith(DISPLAY)
        for device in glob.iglob(f"{glob.escape(devices)}/*")
    )


def _word(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(64).strip()
    except OSError:
        return ""
