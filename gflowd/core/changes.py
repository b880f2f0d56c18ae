"""What `update` may change of a job, and when. Checks the request; whether the new spec can be met is `requests`'s."""

from __future__ import annotations

from gflowd.core.errors import Refused
from gflowd.core.model import ENDED_STATES, HELD, QUEUED, RUNNING, STARTING, STOPPING, Spec, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final

WAITING = (QUEUED, HELD)
UNTIL_STOPPED = (*WAITING, STARTING, RUNNING)
UNTIL_ENDED = (*UNTIL_STOPPED, STOPPING)


class Option(Value):
    """An option of `update`: the field of the spec that it sets, and the states of the job that allow it.

    `aliases`: its other names. `resets`: fields that fall back to their default with it, unless they are set too.
    """

    __slots__ = ("aliases", "field", "name", "resets", "states")

    def __init__(
        self,
        name: str,
        field: str,
        *,
        states: tuple[str, ...] = WAITING,
        aliases: tuple[str, ...] = (),
        resets: tuple[str, ...] = (),
    ) -> None:
        self.name: Final = name
        self.field: Final = field
        self.states: Final = states
        self.aliases: Final = aliases
        self.resets: Final = resets


OPTIONS = (
    Option("gpus", "gpus", aliases=("gres",)),
    Option("gpu-type", "gpu_type"),
    Option("gpu-memory", "gpu_memory_mb", aliases=("max-gpu-mem", "max-gpu-memory")),
    Option("shared", "shared"),
    Option("cpus", "cpus", aliases=("cpus-per-task",)),
    Option("memory", "memory_mb", aliases=("mem", "max-mem", "max-memory")),
    Option("time", "time_limit", aliases=("time-limit", "timelimit"), states=UNTIL_STOPPED),
    Option("grace", "grace"),
    Option("priority", "priority"),
    Option("begin", "begin_at"),
    Option("name", "name", aliases=("job-name",)),
    Option("comment", "comment", states=UNTIL_ENDED),
    Option("command", "command", resets=("script",)),
    Option("script", "script"),
    Option("output", "output"),
    Option("error", "error"),
    Option("input", "input"),
    Option("append", "append"),
    Option("executor", "executor"),
)
IMMUTABLE = {
    "project": "the project of a job is fixed when it is submitted",
    "account": "the project of a job is fixed when it is submitted",
    "chdir": "the directory of a job is fixed when it is submitted; redo it from another",
    "export": "the environment of a job is kept as it was when it was submitted; redo it from another",
}

_BY_NAME = {name: option for option in OPTIONS for name in (option.name, *option.aliases)}
_DEFAULTS: Mapping[str, object] = Spec.__init__.__kwdefaults__ or {}


def apply(spec: Spec, state: str, changes: Mapping[str, object], clear: Iterable[str] = ()) -> Spec:
    """`spec` of a job in `state` with `changes` (values by option) made and the options of `clear` at their defaults.

    Options by their long names, with or without dashes before. Raises `Refused`, naming the first that may not be.
    """
    given = {option(name): value for name, value in changes.items()}
    cleared = dict.fromkeys(option(name) for name in clear)
    for each in (*given, *cleared):
        _check_state(each, state)
    fields: dict[str, object] = {}
    for each in cleared:
        if each in given:
            raise Refused(f"--{each.name} is both set and cleared")
        if each.field not in _DEFAULTS:
            raise Refused(f"--{each.name} cannot be cleared: a job must have one")
        fields[each.field] = _DEFAULTS[each.field]
    for each in given:
        fields.update((name, _DEFAULTS[name]) for name in each.resets)
    fields.update((each.field, value) for each, value in given.items())
    return spec.replace(**fields)


def option(name: str) -> Option:
    """The option that `name` means. Raises `Refused` when it is none that can be changed."""
    word = name.removeprefix("--").replace("_", "-")
    if word in _BY_NAME:
        return _BY_NAME[word]
    if word in IMMUTABLE:
        raise Refused(f"--{word} cannot be changed: {IMMUTABLE[word]}")
    known = ", ".join(each.name for each in OPTIONS)
    raise Refused(f"{name[:40]!r} is not an option that can be changed (they are {known})")


def _check_state(each: Option, state: str) -> None:
    if state in ENDED_STATES:
        raise Refused(f"--{each.name} cannot be changed: the job has ended ({state}); redo makes a new one")
    if state not in each.states:
        others = [one.name for one in OPTIONS if state in one.states]
        raise Refused(f"--{each.name} cannot be changed while the job is {state}; only {' and '.join(others)} can")
