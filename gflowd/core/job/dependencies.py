"""Dependencies as users write them (`afterok:1:2,afterany:3`) and as the snapshot stores them. Evaluates nothing."""

from __future__ import annotations

import re

from gflowd.core.errors import Refused
from gflowd.core.job.value_base import Value
from gflowd.core.syntax import durations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any, Final

    # The jobs that a word such as `42`, `@~1`, `42-45`, `42_3` or `42_[1-5]` names, each with whether it is one element
    # of an array; raises Refused when there are none. A whole array is the one id of its first element.
    Resolve = Callable[[str], Iterable[tuple[int, bool]]]

AFTEROK, AFTERANY, AFTERNOTOK, AFTER = "afterok", "afterany", "afternotok", "after"
AFTERCORR, SINGLETON = "aftercorr", "singleton"
KINDS = (AFTEROK, AFTERANY, AFTERNOTOK, AFTER, AFTERCORR, SINGLETON)
ALL, ANY = "all", "any"

JOB_FORMS = "such as 42, @, @~1 or 42_3"
SHOWN = 40  # characters of a wrong word that an error repeats

_JOIN = re.compile(r"\[[^][]*\]|([,?])")
_COLON = re.compile(r"\[[^][]*\]|(:)")
_TARGET = re.compile(
    r"((?:[0-9]{1,18}(?:-[0-9]{1,18}|_(?:[0-9]{1,18}|\[[0-9,:%\s-]+\]))?)|@(?:~[0-9]{1,9})?)(?:\+([0-9.a-zA-Z]+))?"
)


class Dependency(Value):
    """One condition. `id` is that of a job, or of an array and then means all of it; None for `singleton`.

    `delay`: seconds, only for `after`. `element`: `id` means that one element, even if it is the array's first.
    """

    __slots__ = ("delay", "element", "id", "kind")

    def __init__(
        self,
        *,
        kind: str,
        id: int | None = None,  # noqa: A002 -- the field's name
        delay: float = 0.0,
        element: bool = False,
    ) -> None:
        self.kind: Final = kind
        self.id: Final = id
        self.delay: Final = delay
        self.element: Final = element


class Needs(Value):
    """All dependencies of a job. `mode`: `all` or `any`; `auto_cancel`: whether the job is cancelled if they cannot be
    satisfied.
    """

    __slots__ = ("auto_cancel", "dependencies", "mode")

    def __init__(self, *, dependencies: tuple[Dependency, ...] = (), mode: str = ALL, auto_cancel: bool = True) -> None:
        self.dependencies: Final = dependencies
        self.mode: Final = mode
        self.auto_cancel: Final = auto_cancel

    @property
    def ids(self) -> tuple[int, ...]:
        """Each id that is named, once."""
        return tuple(dict.fromkeys(each.id for each in self.dependencies if each.id is not None))


NOTHING = Needs()
ALONE = Needs(dependencies=(Dependency(kind=SINGLETON),))  # what --singleton asks for


def parse(text: str, resolve: Resolve) -> Needs:
    """What `--depends-on` asks for: items joined by `,` (all) or `?` (any), each a job or `KIND:JOB[:JOB...]`.

    A job alone means `afterok`. As in sbatch(1), a number after `after:JOB+` is minutes. Raises `Refused`.
    """
    pieces, joins = _split(_JOIN, text)
    if len(joins) > 1:
        raise Refused("dependencies are joined by ',' (all of them) or by '?' (any of them), not by both")
    found: dict[Dependency, None] = {}
    for piece in pieces:
        found.update(dict.fromkeys(_parse_item(piece.strip(), resolve)))
    return Needs(dependencies=tuple(found), mode=ANY if "?" in joins else ALL)


def parse_list(text: str, mode: str, resolve: Resolve) -> Needs:
    """What `--depends-on-all` and `--depends-on-any` ask for: jobs, all or any of which must have finished."""
    words, joins = _split(_JOIN, text)
    if "?" in joins:
        raise Refused(f"{text[:SHOWN]!r} is not a list of jobs to depend on (such as 1,2 or 1,5-7,@)")
    found = (each for word in words for each in _parse_target(word.strip(), AFTEROK, resolve))
    return Needs(dependencies=tuple(dict.fromkeys(found)), mode=mode)


def join(*parts: Needs) -> Needs:
    """All of `parts` together, when several options name dependencies. Raises `Refused` if that has no meaning."""
    given = [part for part in parts if part.dependencies]
    if len(given) > 1 and any(part.mode == ANY and len(part.dependencies) > 1 for part in given):
        raise Refused("any of several dependencies cannot be combined with further ones; give them in one option")
    return Needs(
        dependencies=tuple(dict.fromkeys(each for part in given for each in part.dependencies)),
        mode=given[0].mode if len(given) == 1 else ALL,
        auto_cancel=all(part.auto_cancel for part in parts),
    )


def _split(separator: re.Pattern[str], text: str) -> tuple[list[str], set[str]]:
    """The pieces of `text` between separators outside brackets, and the separators found."""
    pieces, met, begin = [], set(), 0
    for match in separator.finditer(text):
        if match[1] is not None:
            pieces.append(text[begin : match.start()])
            met.add(match[1])
            begin = match.end()
    return [*pieces, text[begin:]], met


def _parse_item(item: str, resolve: Resolve) -> Iterator[Dependency]:
    words, _ = _split(_COLON, item)
    kind = AFTEROK
    if words[0][:1].isalpha():
        kind = words.pop(0).lower()
        if kind not in KINDS:
            raise Refused(f"{kind[:SHOWN]!r} is not a kind of dependency ({', '.join(KINDS)})")
        if kind == SINGLETON:
            if words:
                raise Refused("singleton takes no job: it waits for every other job with the same name and user")
            yield Dependency(kind=SINGLETON)
        elif not words:
            raise Refused(f"{kind} needs a job, such as {kind}:42")
    for word in words:
        yield from _parse_target(word, kind, resolve)


def _parse_target(word: str, kind: str, resolve: Resolve) -> Sequence[Dependency]:
    match = _TARGET.fullmatch(word)
    if match is None:
        raise Refused(f"{word[:SHOWN]!r} is not a job to depend on ({JOB_FORMS})")
    if match[2] is not None and kind != AFTER:
        raise Refused(f"{word!r}: only after takes a delay, as in after:42+10 (minutes)")
    delay = 0.0 if match[2] is None else durations.parse(match[2])
    return [Dependency(kind=kind, id=job_id, delay=delay, element=element) for job_id, element in resolve(match[1])]


def show(needs: Needs, name: Callable[[Dependency], str] = lambda dependency: str(dependency.id)) -> str:
    """`needs` in the form that `parse` reads; `name` gives the label of a job."""
    return ("?" if needs.mode == ANY else ",").join(_show_one(each, name) for each in needs.dependencies)


def _show_one(each: Dependency, name: Callable[[Dependency], str]) -> str:
    if each.id is None:
        return each.kind
    if not each.delay:
        return f"{each.kind}:{name(each)}"
    minutes, seconds = divmod(each.delay, 60)
    delay = f"{each.delay:.6f}".rstrip("0").rstrip(".") + "s" if seconds else f"{minutes:.0f}"
    return f"{each.kind}:{name(each)}+{delay}"


def encode(needs: Needs) -> dict[str, Any]:
    """`needs` as fields of a record; omits defaults."""
    out: dict[str, Any] = {}
    if needs.dependencies:
        out["dependencies"] = [encode_one(each) for each in needs.dependencies]
    if needs.mode != ALL:
        out["dependency_mode"] = needs.mode
    if not needs.auto_cancel:
        out["auto_cancel"] = False
    return out


def encode_one(each: Dependency) -> dict[str, Any]:
    """`{kind, id}`, with `delay` and `element` where they are set."""
    out: dict[str, Any] = {"kind": each.kind, "id": each.id}
    if each.delay:
        out["delay"] = each.delay
    if each.element:
        out["element"] = True
    return out


def decode(raw: Mapping[str, Any]) -> Needs:
    """The needs among the fields of a record. Raises KeyError if a dependency lacks its kind or its id."""
    found = tuple(decode_one(each) for each in raw.get("dependencies", ()))
    mode, auto_cancel = raw.get("dependency_mode", ALL), raw.get("auto_cancel", True)
    return Needs(dependencies=found, mode=mode, auto_cancel=auto_cancel)


def decode_one(raw: Mapping[str, Any]) -> Dependency:
    """What `encode_one` wrote. Raises KeyError."""
    kind = raw["kind"]
    job_id = None if kind == SINGLETON else raw["id"]
    return Dependency(kind=kind, id=job_id, delay=raw.get("delay", 0.0), element=raw.get("element", False))
