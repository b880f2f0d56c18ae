"""Removes directories in a process of its own: what jobs left in them is nested as deep, and as much, as jobs like."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TOOL = ("rm", "-rf", "--")  # walks with a bounded stack and follows no links


class Removal:
    """The removal of `paths`, which has begun. Raises OSError if it cannot begin."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths
        self._process = subprocess.Popen(
            [*TOOL, *paths], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def is_over(self) -> bool:
        """Whether all is done that could be done."""
        return self._process.poll() is not None

    def left(self) -> list[str]:
        """Those of `paths` that are still there."""
        return [path for path in self.paths if os.path.lexists(path)]
