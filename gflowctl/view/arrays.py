"""Arrays and sweeps as users name them: by id, as a submission (`@~1`), or by name."""

from __future__ import annotations

import re

from gflowctl.view import views
from gflowd.core.errors import Refused
from gflowd.core.job.records import SPEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from gflowctl.view.views import View

LIKE_JOBS = re.compile(r"[0-9@][0-9,~_@\[\]-]*")


def find(view: View, text: str) -> list[int]:
    """The ids of the arrays that `text` names: one by an id, several by a name. Raises `Refused` for anything else."""
    if not LIKE_JOBS.fullmatch(text):
        found = [array_id for array_id in view.families if text in _names(view, array_id)]
        if not found:
            raise Refused(f"no array or sweep is named {text[:60]!r}")
        return found
    named = views.by_spec(view, view.select([text]))
    array_id = next(iter(named))
    if len(named) > 1:
        raise Refused(f"{text} names several jobs; give one array or sweep")
    if array_id not in view.families:
        raise Refused(f"job {array_id} is not an array or sweep")
    if len(named[array_id]) < len(view.ids_of(array_id)):
        raise Refused(f"{text} is a part of array {array_id}; give the whole array")
    return [array_id]


def the_one(view: View, text: str) -> int:
    """As `find`, but exactly one: of several with a name, the one that has jobs left. Raises `Refused`."""
    found = find(view, text)
    left = [array_id for array_id in found if not _is_over(view, array_id)] or found[-1:]
    if len(left) > 1:
        raise Refused(f"{text!r} is the name of several arrays: {', '.join(map(str, left))}; give an id")
    return left[0]


def _names(view: View, array_id: int) -> Iterable[str]:
    raw = view.records.of(SPEC)[array_id]
    return raw["name"], raw.get("name_template", "")


def _is_over(view: View, array_id: int) -> bool:
    return all(map(view.has_ended, view.ids_of(array_id)))
