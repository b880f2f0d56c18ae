"""What users are told to type where a package is missing."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest

from gflowd.effects import installer


@pytest.mark.parametrize(
    ("managed", "apt", "said"),
    [
        (False, True, ("-m pip install nvidia-ml-py orjson", "-m pip install --force-reinstall orjson")),
        (True, True, ("sudo apt install python3-pynvml python3-orjson", "sudo apt reinstall python3-orjson")),
        (True, False, ("install nvidia-ml-py, orjson from your distribution", "install orjson from your distribution")),
    ],
)
def test_a_distributions_python_is_left_to_the_distribution(
    managed: bool, apt: bool, said: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if managed:
        (tmp_path / "EXTERNALLY-MANAGED").touch()
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setattr(installer, "APT", str(tmp_path if apt else tmp_path / "apt"))
    assert installer.command("nvidia-ml-py", "orjson").removeprefix(f"{sys.executable} ") == said[0]
    assert installer.command("orjson", again=True).removeprefix(f"{sys.executable} ") == said[1]


def test_an_environment_of_ones_own_is_pips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(sys, "prefix", "/home/ada/venv")
    assert installer.command("orjson") == f"{sys.executable} -m pip install orjson"
