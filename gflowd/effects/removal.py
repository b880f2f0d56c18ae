"""Removes directories in a separate process: jobs may have left any amount in them, nested to any depth."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TOOL = ("rm", "-rf", "--")  # walks with a bounded stack and follows no links


class Removal:
    """A running removal of `paths`. Raises OSError if it cannot begin."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths
        self._process = subprocess.Popen(
            [*TOOL, *paths], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def is_over(self) -> bool:
        """Whether the removal has ended."""
        return self._process.poll() is not None

    def left(self) -> list[str]:
        """Those of `paths` that still exist."""
        return [path for path in self.paths if os.path.lexists(path)]
