"""The words with which a cluster's programs are called, with what is put before them."""

from __future__ import annotations

import posixpath
import shlex
from typing import TYPE_CHECKING

from gflowd.effects.cluster.call import Call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowd.core.cluster.clusters import Cluster

SHELLS = ("ssh", "gsissh", "autossh", "sshpass")  # they give what they are told to a shell, with blanks between


class Programs:
    """Those of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._prefix = cluster.command_prefix
        self._is_read_by_shell = any(posixpath.basename(word) in SHELLS for word in self._prefix)

    def call(self, words: Sequence[str], mono: float) -> Call:
        """Starts one."""
        return Call((*self._prefix, *(map(shlex.quote, words) if self._is_read_by_shell else words)), mono)
