"""What is kept of a job since its submission: its environment and its script. On a machine of many users these are
their users' files, who may have made them any size since: no more is read than could be submitted.
"""

from __future__ import annotations

from gflowd.core.gateway.protocol import TAIL_LIMIT
from gflowd.effects import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflowd.core.job.model import Spec
    from gflowd.paths import State


def environment(state: State, spec: Spec) -> bytes:
    """`NAME=value` and a zero byte for each variable. Raises OSError."""
    return _read(state, state.environment(spec.env, spec.uid))


def script(state: State, spec: Spec) -> bytes:
    """The script of a job that has one. Raises OSError."""
    return _read(state, state.script(spec.script or "", spec.uid))


def _read(state: State, path: str) -> bytes:
    return files.read_plain(path, None if state.shared is None else TAIL_LIMIT)
