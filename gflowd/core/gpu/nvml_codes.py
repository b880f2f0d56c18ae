"""NVML's error codes and NVIDIA's Xids that matter here, and their meaning in words. Pure."""

from __future__ import annotations

UNINITIALIZED, NOT_LOADED, MISSING, LOST, RESET_REQUIRED, MISMATCH = 1, 9, 12, 15, 16, 18
NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, NO_FUNCTION = 3, 4, 6, 13
OF_THE_DRIVER = (UNINITIALIZED, NOT_LOADED, MISMATCH)  # nothing is known of any GPU
LASTING = (LOST, RESET_REQUIRED)  # faults after which a GPU is not used again until it is resumed
UNABLE = (NOT_SUPPORTED, NO_FUNCTION)  # this GPU or driver does not have it
NONE = 0xFFFFFFFF  # where a process has no GPU instance or compute instance
GREATEST_PID = 1 << 22  # of Linux on 64 bits (proc(5)); R535 before 535.98 returns its v3 lists in another shape

TROUBLES = {
    NO_PERMISSION: "the NVIDIA driver denies this user access; allow access to the device files /dev/nvidia*",
    NOT_LOADED: "the NVIDIA driver is not loaded; load it (modprobe nvidia) or reboot",
    MISSING: "there is an NVIDIA GPU but no libnvidia-ml.so.1; install the NVIDIA driver",
    MISMATCH: "the NVIDIA driver and its library are of different versions; reboot or reload the driver",
}
GONE = "gone from the bus"
MIG = "in MIG mode without a MIG device; create some (nvidia-smi mig -cgi) or leave MIG mode (nvidia-smi -mig 0)"

FATAL_XIDS = {  # those of NVIDIA's catalogue that require a reset; none that a program can cause
    46: "it stopped processing",
    48: "double bit memory error",
    62: "its controller halted",
    64: "a bad memory page could not be retired",
    74: "NVLink error",
    79: "fell off the bus",
    95: "uncontained memory error",
    119: "its system processor does not respond",
    120: "its system processor failed",
    140: "unrecovered memory error",
}
