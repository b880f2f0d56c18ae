"""Which jobs exist, and which of them, including elements of arrays, a list of jobs names. Decodes no job."""

from __future__ import annotations

from gflowd.core.errors import Refused
from gflowd.core.job.records import SPEC
from gflowd.core.syntax import job_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, Protocol

    from gflowd.core.job.array_index import ArrayIndex

    class Records(Protocol):
        """Readable records: a folded snapshot, or one with parts of the history behind it (`view.history`)."""

        @property
        def next_id(self) -> int: ...

        def of(self, kind: str) -> Mapping[Any, Any]: ...


UNKNOWN = "no job "  # how job_ids begins its message about unknown ids


def array_index(records: Records) -> ArrayIndex | None:
    """The arrays of a snapshot; None if there are none, which avoids their imports."""
    found = [(job_id, raw) for job_id, raw in records.of(SPEC).items() if "family" in raw]
    if not found:
        return None
    from gflowd.core.job.array_index import ArrayIndex

    made = ArrayIndex()
    for job_id, raw in found:
        made.note(job_id, raw)
    return made


def ids(records: Records, arrays: ArrayIndex | None) -> list[int]:
    """Every job's id, ascending."""
    specs = sorted(records.of(SPEC))
    if arrays is None:
        return specs
    return [job_id for spec_id in specs for job_id in arrays.ids(spec_id)]


def select(text: str, records: Records, arrays: ArrayIndex | None, user: str, more: Iterable[int] = ()) -> list[int]:
    """The ids that a list of jobs names, of jobs and `more`; `@` is a submission of `user`. Raises as `job_ids.select`.

    A word that names an array means all its elements.
    """
    known, mine = ids(records, arrays), submissions(records, user)
    known = sorted({*known, *more}) if more else known
    if arrays is None and "_" not in text and "[" not in text:
        return job_ids.select(text, known, mine)
    from gflowd.core.job import array_ids

    def plain(word: str) -> tuple[Sequence[int], Sequence[str]]:
        try:
            return job_ids.select(word, known, mine), ()
        except Refused as error:
            return (), (str(error).removeprefix(UNKNOWN),)

    families = {} if arrays is None else arrays.families
    return array_ids.resolve(text, families, plain)


def targets(word: str, records: Records, arrays: ArrayIndex | None, user: str) -> list[tuple[int, bool]]:
    """The ids that one word of a dependency names, each with whether it is one element of an array. Raises as `select`.

    A whole array (`42`, `@`) is only its first id; ranges of ids (`42-45`) and the ids of its other elements
    name elements.
    """
    if "_" in word:
        return [(job_id, True) for job_id in select(word, records, arrays, user)]
    found = job_ids.select(word, ids(records, arrays), submissions(records, user))
    if arrays is None:
        return [(job_id, False) for job_id in found]
    wholes = arrays.families.keys() if "-" not in word else ()
    return [(job_id, job_id not in wholes and arrays.array_of(job_id) is not None) for job_id in found]


def submissions(records: Records, user: str) -> list[int]:
    """The ids of what `user` submitted: all but the later runs of series."""
    mine = ((job_id, raw.get("repeat")) for job_id, raw in records.of(SPEC).items() if raw["user"] == user)
    return sorted(job_id for job_id, repeat in mine if repeat is None or repeat.get("series") is None)
