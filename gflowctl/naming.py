"""Which jobs there are and which of them a list of jobs names, the elements of arrays among them. Decodes no job."""

from __future__ import annotations

from gflowd.core import joblist
from gflowd.core.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowd.core.roster import Roster
    from gflowd.snapshot import Fold

UNKNOWN = "no job "  # how joblist begins to name what is not known


def roster(fold: Fold) -> Roster | None:
    """The arrays of a snapshot; None when there are none, which spares their imports."""
    found = [(job_id, raw) for job_id, raw in fold.of("spec").items() if "family" in raw]
    if not found:
        return None
    from gflowd.core.roster import Roster

    made = Roster()
    for job_id, raw in found:
        made.note(job_id, raw)
    return made


def ids(fold: Fold, arrays: Roster | None) -> list[int]:
    """Every job's id, ascending."""
    specs = sorted(fold.of("spec"))
    if arrays is None:
        return specs
    return [job_id for spec_id in specs for job_id in arrays.ids(spec_id)]


def select(text: str, fold: Fold, arrays: Roster | None, user: str, *, whole: bool = True) -> list[int]:
    """The ids that a list of jobs names; `@` is a submission of `user`. Raises as `joblist.select`.

    A word that names an array means all its elements, or where `whole` is False its first id, which stands for it.
    """
    known = ids(fold, arrays)
    mine = sorted(job_id for job_id, raw in fold.of("spec").items() if raw["user"] == user)
    if (arrays is None or not whole) and "_" not in text and "[" not in text:
        return joblist.select(text, known, mine)
    from gflowd.core import elements

    def plain(word: str) -> tuple[Sequence[int], Sequence[str]]:
        try:
            return joblist.select(word, known, mine), ()
        except Refused as error:
            return (), (str(error).removeprefix(UNKNOWN),)

    families = {} if arrays is None else arrays.families
    return elements.resolve(text, families, plain)
