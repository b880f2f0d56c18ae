"""Whether the elements of an array or sweep can be what its spec makes of them. Checks the longest and shortest."""

from __future__ import annotations

from gflowd.core.job import array_task, arrays
from gflowd.core.job.arrays import Axis
from gflowd.core.job.model import Job, Queued, Wish
from gflowd.core.request import validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from gflowd.core.job.model import Spec
    from gflowd.core.request.validation import Limits


def check(spec: Spec, limits: Limits, variables: Iterable[bytes] = ()) -> None:
    """Raises `Refused` if the name or command of any element is impossible, in an environment of these `variables`."""
    assert spec.family is not None
    overridden: dict[str, list[str]] = {}
    for override in spec.family.overrides:
        overridden.setdefault(override.name, []).append(override.value)
    for choose in (max, min):
        chosen = []
        for axis in spec.family.axes:
            columns = zip(axis.names, zip(*axis.rows, strict=True), strict=True)
            row = tuple(choose((*column, *overridden.get(name, ())), key=len) for name, column in columns)
            chosen.append(Axis(names=axis.names, rows=(row,)))
        last = arrays.greatest(spec.family)
        family = spec.family.replace(axes=tuple(chosen), overrides=(), ranges=() if chosen else ((last, last, 1),))
        job = Job(1, spec.replace(family=family), Wish(), Queued(), 1)
        command = array_task.command(job)
        validation.check_size(command, variables)
        validation.checked(spec.replace(command=command, name=array_task.name(job)), limits)
