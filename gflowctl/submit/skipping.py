"""What `submit --skip-if-queued` finds: the latest job of the same user and name that has not ended."""

from __future__ import annotations

from gflowctl.output import render
from gflowctl.view import jobs, views
from gflowd.core.job.records import SPEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflowctl.submit.drafting import Answer
    from gflowd.core.job.model import Spec


class IsQueued(Exception):
    """There is such a job, so nothing is submitted. `ids`: its own, or those of its array."""

    def __init__(self, view: views.View, ids: range) -> None:
        super().__init__()
        self.view = view
        self.ids = ids

    def tell(self, answer: Answer) -> None:
        """Prints what its submission printed where a program reads that, else a sentence."""
        if answer.json:
            render.write_json(self._records())
            return
        first = self.view.job(self.ids[0])
        which = str(first.series or first.id) if len(self.ids) == 1 else f"{self.ids[0]}-{self.ids[-1]}"
        if answer.parsable:
            render.write(f"{which}\n")
            return
        said = "Would submit nothing" if answer.dry_run else "Nothing submitted"
        how = f"job {which} ({first.spec.name}) is {jobs.state(first)}"
        if len(self.ids) > 1:
            how = f"jobs {which} ({first.spec.name}) have not ended"
        render.write(f"{said}: {render.escape(how)}\n")

    def _records(self) -> list[dict[str, Any]]:
        from gflowctl.output import json_records

        return [json_records.record(self.view, self.view.job(job_id)) for job_id in self.ids]


def check(view: views.View, spec: Spec) -> None:
    """Raises `IsQueued` if there is a job like that. Decodes none."""
    specs = view.fold.of(SPEC)
    for spec_id in sorted(specs, reverse=True):
        raw = specs[spec_id]
        if raw["name"] == spec.name and raw["user"] == spec.user:
            ids = view.ids_of(spec_id)
            if not all(map(view.has_ended, ids)):
                raise IsQueued(view, range(ids[0], ids[-1] + 1))
