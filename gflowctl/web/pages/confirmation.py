"""The question before something is done to jobs: which jobs, and what else would come of it. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowctl.web.actions import ACTIONS
from gflowctl.web.pages import queue
from gflowctl.web.pages.frame import Page, Query, one
from gflowd.core.errors import Refused

if TYPE_CHECKING:
    from gflowctl.view.views import View
    from gflowctl.web.actions import Actions

LISTED = 50  # jobs
MOST = 5000  # labels in one question


def build(view: View, query: Query, actions: Actions) -> Page:
    """`do` (an action), `job` (a label, repeated). Raises `GflowError` where it cannot be done."""
    what, labels = one(query, "do"), query.get("job", [])[:MOST]
    if what not in ACTIONS:
        raise Refused("this asks for nothing")
    if not labels:
        raise Refused(f"mark the jobs to {what} first")
    found = actions.preview(what, labels)
    rows = [queue.row(view, job_id) for job_id in found.ids[:LISTED] if view.knows(job_id)]
    values = {
        "what": what, "action": ACTIONS[what], "labels": labels, "rows": rows, "count": len(found.ids),
        "unlisted": len(found.ids) - len(rows), "notes": found.notes,
        "back": f"/jobs/{labels[0]}" if len(labels) == 1 else "/",
    }  # fmt: skip
    return Page("ask", f"{ACTIONS[what].verb}?", "queue", values, links_back=True)
