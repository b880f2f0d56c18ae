"""Tells when the wall clock is set. Python has timerfd only from 3.13 on, so libc is called."""

from __future__ import annotations

import ctypes
import os
import time
from typing import ClassVar

ABSTIME, CANCEL_ON_SET = 1, 2  # timerfd_create(2)
NEVER = 1 << 40  # seconds since the epoch


class _Spec(ctypes.Structure):
    """struct itimerspec: the interval, then when first."""

    _fields_: ClassVar = [(name, ctypes.c_long) for name in ("every", "every_ns", "first", "first_ns")]


class ClockWatch:
    """`descriptors` become readable when the wall clock is set, and after a suspend; none if the kernel cannot tell."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        fd = libc.timerfd_create(time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC)
        self.descriptors: tuple[int, ...] = (fd,) if fd >= 0 else ()
        libc.timerfd_settime(fd, ABSTIME | CANCEL_ON_SET, ctypes.byref(_Spec(first=NEVER)), None)

    def was_set(self) -> bool:
        """Whether the clock was set since the last call."""
        for fd in self.descriptors:
            try:
                os.read(fd, 8)
            except BlockingIOError:
                continue
            except OSError:  # ECANCELED
                return True
        return False

    def close(self) -> None:
        """Stops watching."""
        for fd in self.descriptors:
            os.close(fd)
        self.descriptors = ()
