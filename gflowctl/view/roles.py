"""Whose jobs the user may change: their own, and as an operator everyone's. Where all jobs are one user's, every one.

The gateway judges by the same table of rights; here it is known beforehand, and said for each job.
"""

from __future__ import annotations

import os

from gflowd.core.errors import Refused
from gflowd.core.job.records import SPEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from gflowctl.view.views import View


def changeable(view: View, ids: Iterable[int]) -> list[int]:
    """Those of `ids` that the user may change."""
    if view.context.state.shared is None:
        return [*ids]
    found = [*ids]
    mine = [job_id for job_id in found if is_own(view, job_id)]
    return found if len(mine) < len(found) and view.context.is_operator else mine


def check(view: View, job_id: int) -> None:
    """Raises `Refused` for a job that the user may not change, in words that follow `job 7`: `belongs to ada`."""
    if not is_own(view, job_id) and not view.context.is_operator:
        raise Refused(f"belongs to {_spec(view, job_id)['user']}")


def check_own(view: View, job_id: int, label: int | str) -> None:
    """Raises `Refused` for another's job, for an operator too: its script and environment are its owner's alone."""
    if not is_own(view, job_id):
        from gflowd.core.admission import rights

        raise Refused(rights.belongs(label, _spec(view, job_id)))


def is_own(view: View, job_id: int) -> bool:
    """Whether the job is the user's."""
    context = view.context
    if context.state.shared is None:
        return True
    from gflowd.core.admission import rights
    from gflowd.core.admission.requester import Requester

    return rights.is_owner(Requester(os.getuid(), context.user), _spec(view, job_id))


def _spec(view: View, job_id: int) -> Any:
    return view.records.of(SPEC)[view.spec_of(job_id)]
