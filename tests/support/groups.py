"""Real control groups for tests, and processes in them; only for root."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from gflowd.effects.kernel import cgroups
from gflowd.effects.shared_mode import device_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def _why_no_filter() -> str | None:
    if os.geteuid() != 0:
        return "not root"
    if cgroups.find_mount() is None:
        return "no control groups of version 2"
    return device_filter.why_not()


WHY_NO_FILTER = _why_no_filter()


def inside(group: str | None, act: Callable[[], str]) -> str:
    """What `act` says in a process of that group, or of ours."""
    told, tell = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            if group is not None:
                with open(os.path.join(group, "cgroup.procs"), "w", encoding="ascii") as file:
                    file.write("0")
            os.write(tell, act().encode())
        finally:
            os._exit(0)
    os.close(tell)
    with open(told, "rb") as file:
        said = file.read()
    os.waitpid(pid, 0)
    return said.decode()


@pytest.fixture
def group() -> Iterator[str]:
    """A control group."""
    made = os.path.join(cgroups.find_mount() or "", f"gflow-test-{os.getpid()}")
    os.mkdir(made)
    yield made
    for place, _, _ in os.walk(made, topdown=False):
        os.rmdir(place)


@pytest.fixture
def bpf_place(tmp_path: Path) -> Iterator[str]:
    """A file system of type bpf."""
    place = tmp_path / "bpf"
    place.mkdir()
    if subprocess.run(["mount", "-t", "bpf", "none", str(place)], capture_output=True, check=False).returncode:
        pytest.skip("no file system of type bpf can be mounted")
    yield str(place)
    subprocess.run(["umount", str(place)], check=True)
