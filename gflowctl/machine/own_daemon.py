"""The jobs of a user's own gflowd, beside that for all users: they go on, and are easily forgotten."""

from __future__ import annotations

import os

from gflowd import paths
from gflowd.core.errors import GflowError
from gflowd.core.job.records import PHASE, SPEC, WISH, is_settled
from gflowd.core.syntax.plurals import count
from gflowd.storage.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflowctl.context import Context


def note(context: Context) -> str | None:
    """That jobs of the user's own gflowd have not ended; None where this is that one, or it has none."""
    if context.state.shared is None:
        return None
    environ = {name: value for name, value in context.environ.items() if name != "GFLOW_STATE_DIR"}
    own = paths.State(paths.default_state_dir(environ))
    if not os.path.lexists(own.snapshot):
        return None
    try:
        own.check()
        left = _left(own)
    except GflowError:  # which `gflowctl --daemon user` tells
        return None
    if not left:
        return None
    return f"note: {count(left, 'job')} of your own gflowd {'has' if left == 1 else 'have'} not ended; " + HOW


HOW = "gflowctl --daemon user queue lists them"


def _left(own: paths.State) -> int:
    """How many jobs have not ended, an array by its elements."""
    from gflowctl.view import selection

    fold = Store(own).read()
    phases, wishes = fold.of(PHASE), fold.of(WISH)
    ids = selection.ids(fold, selection.array_index(fold)) if fold.of(SPEC) else []
    return sum(not is_settled(phases.get(job_id), wishes.get(job_id)) for job_id in ids)
