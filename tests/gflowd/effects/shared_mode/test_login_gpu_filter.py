"""Logins in a control group like systemd's, and a device file of NVIDIA's, with or without a driver: only for root."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.groups import WHY_NO_FILTER, inside

from gflowd import paths
from gflowd.effects.shared_mode import login_gpu_filter
from gflowd.effects.shared_mode.login_gpu_filter import Logins

pytestmark = pytest.mark.skipif(WHY_NO_FILTER is not None, reason=str(WHY_NO_FILTER))


def opens(path: str, uid: int) -> Callable[[], str]:
    """`shut` if the kernel refuses that user, whatever the mode; else whatever the driver makes of it."""

    def act() -> str:
        os.chdir(os.path.dirname(path))  # above it nobody else may enter
        os.setuid(uid)
        try:
            os.close(os.open(os.path.basename(path), os.O_RDWR))
        except PermissionError:
            return "shut"
        except OSError:  # no driver, no such GPU
            pass
        return "open"

    return act


def test_logins_are_shut_out_as_long_as_that_is_wanted_but_not_root(group: str, tmp_path: Path) -> None:
    gpu = str(tmp_path / "nvidia0")
    os.mknod(gpu, 0o020666, os.makedev(195, 0))
    os.chmod(gpu, 0o666)
    tmp_path.chmod(0o755)

    def seen(uid: int) -> str:
        return inside(f"{group}/{login_gpu_filter.SLICE}", opens(gpu, uid))

    with contextlib.closing(Logins("/state", shut=True, find_mount=lambda: group)) as wanted:
        assert wanted.look() == (None if os.path.exists(paths.SYSTEMD) else login_gpu_filter.NO_SLICE)
        for _ in range(2):  # it is made with the first login and removed with the last
            os.mkdir(f"{group}/{login_gpu_filter.SLICE}")
            assert seen(60001) == "open"
            assert wanted.look() is None
            assert (seen(60001), seen(0)) == ("shut", "open")
            assert wanted.look() is None
            os.rmdir(f"{group}/{login_gpu_filter.SLICE}")
        os.mkdir(f"{group}/{login_gpu_filter.SLICE}")
        wanted.look()
    with contextlib.closing(Logins("/other", shut=False, find_mount=lambda: group)) as other:
        assert other.look() is None
        assert seen(60001) == "shut", "by another daemon"
    with contextlib.closing(Logins("/state", shut=False, find_mount=lambda: group)) as unwanted:
        assert unwanted.look() is None
        assert seen(60001) == "open"
    os.rmdir(f"{group}/{login_gpu_filter.SLICE}")


def test_a_daemon_without_the_right_says_so_only_if_it_is_asked_to() -> None:
    def act() -> str:
        os.setuid(60001)
        return f"{Logins('/state', shut=True).look()}; {Logins('/state', shut=False).look()}"

    assert inside(None, act).endswith("(it needs CAP_BPF and CAP_NET_ADMIN); None")
