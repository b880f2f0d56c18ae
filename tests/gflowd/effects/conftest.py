"""The real pynvml on the fake NVML."""

from __future__ import annotations

import ctypes
import sys
from _ctypes import dlclose
from typing import TYPE_CHECKING

import pytest
from support.nvidia import VARIABLE, Cards

from gflowd.effects.gpu.nvml import Nvml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def cards(tmp_path: Path, fake_nvml: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cards]:
    """Three GPUs; the library is found by its name since it is loaded already."""
    found = Cards(tmp_path / "gpus", 3)
    # Only what the C library itself was told is seen by the fake: os.environ does that.
    monkeypatch.setenv(VARIABLE, str(found.file))
    library = ctypes.CDLL(str(fake_nvml))
    yield found
    if "pynvml" in sys.modules:
        loaded = sys.modules.pop("pynvml").nvmlLib
        if loaded is not None:
            dlclose(loaded._handle)
    dlclose(library._handle)


@pytest.fixture
def driver(cards: Cards) -> Iterator[Nvml]:
    made = Nvml(lambda: False)
    yield made
    made.close()
