"""Looks up a few jobs by id without folding a long queue."""

from __future__ import annotations

from gflowctl.view import selection, views
from gflowd.core.job.records import PHASE, SPEC, attempt_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowctl.context import Context
    from gflowd.storage.record_log import Fold

FEW = 4  # each is one more search of the whole file


def view(context: Context, texts: Sequence[str]) -> views.View:
    """The jobs that JOBS arguments name, perhaps without the others. They look as in the whole snapshot."""
    words = ",".join(texts).split(",")
    ids = [int(word) for word in words if word.isascii() and word.isdecimal() and len(word) <= 18]
    some = context.store.read_some(ids) if len(ids) == len(words) <= FEW else None
    if some is None or not all(_stands_alone(some, job_id) for job_id in ids):
        some = context.store.read()
    return views.View(context, some)


def _stands_alone(fold: Fold, job_id: int) -> bool:
    """Whether only records with its id concern a job: it is in no array or series, waits for no other, and was tried
    once.
    """
    spec, phase = fold.of(SPEC).get(job_id), fold.of(PHASE).get(job_id)
    array_index = selection.array_index(fold)
    if array_index is not None and array_index.array_of(job_id) is not None:
        return False
    alone = spec is None or (spec.get("needs") is None and spec.get("repeat") is None)
    return alone and (phase is None or attempt_of(phase) == 1)
