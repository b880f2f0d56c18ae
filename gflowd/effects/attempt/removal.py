"""Removes directories in a separate process: jobs may have left any amount in them, nested to any depth."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# rm walks with a bounded stack and follows no links; GNU's stays out of file systems that are mounted there. From
# directories that were made read-only, as Go's modules are, it can remove nothing before they can be written again.
SCRIPT = """\
alone='--one-file-system --preserve-root=all'; rm -f $alone || alone=
rm -rf $alone -- "$@" && exit
find "$@" -xdev -type d ! -perm -700 -exec chmod u+rwx {} ';'
rm -rf $alone -- "$@"
"""
TOOL = ("/bin/sh", "-c", SCRIPT, "sh")


class Removal:
    """A running removal of `paths`, which are absolute. Raises OSError if it cannot begin."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths
        self._process = subprocess.Popen(
            [*TOOL, *paths],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def is_over(self) -> bool:
        """Whether the removal has ended."""
        return self._process.poll() is not None

    def left(self) -> list[str]:
        """Those of `paths` that still exist."""
        return [path for path in self.paths if os.path.lexists(path)]
