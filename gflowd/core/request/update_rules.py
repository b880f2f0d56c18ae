"""What `update` may change in a job, and when. Checks the request; whether the new spec can be met is
`validation`'s.
"""

from __future__ import annotations

from gflowd.core.errors import Refused, meant
from gflowd.core.job import dependencies
from gflowd.core.job.model import ENDED_STATES, HELD, QUEUED, RUNNING, SKIP, STARTING, STOPPING, SUSPENDED, Spec
from gflowd.core.job.retry_policy import DEFAULT_ON, ZOMBIE
from gflowd.core.job.value_base import Value
from gflowd.core.request import validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Final

    from gflowd.core.job.dependencies import Needs
    from gflowd.core.job.model import Repeat
    from gflowd.core.job.retry_policy import Retry

WAITING = (QUEUED, HELD)
UNTIL_STOPPED = (*WAITING, STARTING, RUNNING, SUSPENDED)
UNTIL_ENDED = (*UNTIL_STOPPED, STOPPING)


class Option(Value):
    """An option of `update`: the field of the spec that it sets, and the states of the job that allow it.

    `aliases`: its other names. `resets`: fields that it resets to their defaults, unless they are set too.
    `without`: for an option that sets only a part of a field, the field's value without it.
    """

    __slots__ = ("aliases", "field", "name", "resets", "states", "without")

    def __init__(
        self,
        name: str,
        field: str,
        *,
        states: tuple[str, ...] = WAITING,
        aliases: tuple[str, ...] = (),
        resets: tuple[str, ...] = (),
        without: Callable[[Any], Value | None] | None = None,
    ) -> None:
        self.name: Final = name
        self.field: Final = field
        self.states: Final = states
        self.aliases: Final = aliases
        self.resets: Final = resets
        self.without: Final = without


def _not_alone(needs: Needs) -> Needs | None:
    left = tuple(each for each in needs.dependencies if each.kind != dependencies.SINGLETON)
    return needs.replace(dependencies=left) if left else None


def _refuse_to_clear_the_rule(_: Repeat) -> None:
    raise Refused("--repeat cannot be cleared; gflowctl cancel ends a series")


def _not_after_vanishing(retry: Retry) -> Retry | None:
    left = tuple(cause for cause in retry.on if cause != ZOMBIE)
    return retry.replace(on=left) if left else None


def _refuse_to_clear_parameters(_: object) -> None:
    raise Refused("--param cannot be cleared; give the value that it had")


OPTIONS = (
    Option("gpus", "gpus", aliases=("gres",)),
    Option("gpu-type", "gpu_type"),
    Option("gpu-prefer", "gpu_prefer"),
    Option("gpu-memory", "gpu_memory_mb", aliases=("max-gpu-mem", "max-gpu-memory")),
    Option("shared", "shared"),
    Option("cpus", "cpus", aliases=("cpus-per-task",)),
    Option("memory", "memory_mb", aliases=("mem", "max-mem", "max-memory")),
    Option("time", "time_limit", aliases=("time-limit", "timelimit"), states=UNTIL_STOPPED),
    Option("signal", "early_signal", states=UNTIL_STOPPED),
    Option("grace", "grace"),
    Option("quiet-limit", "quiet_limit", states=UNTIL_STOPPED),
    Option("priority", "priority"),
    Option("begin", "begin_at"),
    Option("deadline", "deadline"),
    Option("repeat", "repeat", without=_refuse_to_clear_the_rule),
    Option("overlap", "repeat", without=lambda repeat: repeat.replace(overlap=SKIP)),
    Option("name", "name", aliases=("job-name",)),
    Option("comment", "comment", states=UNTIL_ENDED),
    Option("command", "command", resets=("asked", "script", "slurm")),
    Option("script", "script", resets=("asked", "slurm")),
    Option("output", "output"),
    Option("error", "error"),
    Option("input", "input"),
    Option("append", "append"),
    Option("executor", "executor"),
    Option("cluster", "cluster"),
    Option("conda-env", "conda_env"),
    Option("depends-on", "needs", aliases=("dependency", "depends-on-all", "depends-on-any")),
    Option("singleton", "needs", without=_not_alone),
    Option("auto-cancel", "needs", aliases=("no-auto-cancel",), without=lambda needs: needs.replace(auto_cancel=True)),
    Option("max-retries", "retry"),
    Option("retry-on", "retry", without=lambda retry: retry.replace(on=DEFAULT_ON)),
    Option("retry-delay", "retry", without=lambda retry: retry.replace(delay=0.0, factor=1.0)),
    Option("requeue", "retry", without=_not_after_vanishing),
    Option("param", "family", without=_refuse_to_clear_parameters),
    Option("max-concurrent", "family", states=UNTIL_STOPPED,
           without=lambda family: family.replace(max_concurrent=None)),
    Option("max-failures", "family", states=UNTIL_STOPPED, without=lambda family: family.replace(max_failures=None)),
    Option("notify-email", "notify_email", aliases=("mail-user",)),
    Option("notify-on", "notify_on", aliases=("mail-type",)),
    Option("notify", "notify"),
)  # fmt: skip
IMMUTABLE = {
    "project": "the project of a job is fixed at submission",
    "account": "the project of a job is fixed at submission",
    "chdir": "the directory of a job is fixed at submission; submit the job again from another directory",
    "export": "the environment of a job is fixed at submission; submit the job again with another environment",
}

# Fields of a spec that no option names, and those with whose options they change; and of a family, with its option.
_FOLLOWS = {
    "asked": ("command", "script"), "slurm": ("command", "script"), "tasks": ("cpus",), "exclusive": ("cpus",),
    "all_memory": ("memory_mb",),
}  # fmt: skip
PARTS_OF_ARRAY = {"max_concurrent": "max-concurrent", "max_failures": "max-failures", "overrides": "param"}
FIXED = "it is fixed at submission"
NO_SERIES = "--{option} is for series; submit the job with --repeat"
WAITS_FOR_RUN = "it is a run of a series, which only waits for the run before"
HAS_NO_DEADLINE = "it is a run of a series, which has no deadline; --time limits each run"
_WHY_FIXED = {
    "project": IMMUTABLE["project"], "cwd": IMMUTABLE["chdir"], "env": IMMUTABLE["export"],
    "ranges": "the elements of an array are fixed at submission",
    "axes": "the elements of a sweep are fixed at submission",
}  # fmt: skip

OF_GPUS = ("gpus", "gpu_type", "gpu_memory_mb", "gpu_prefer", "shared")  # fields that depend on each other

_BY_NAME = {name: option for option in OPTIONS for name in (option.name, *option.aliases)}
_DEFAULTS: Mapping[str, object] = Spec.__init__.__kwdefaults__ or {}


def apply(spec: Spec, state: str, changes: Mapping[str, object], clear: Iterable[str] = ()) -> Spec:
    """`spec` of a job in `state` with `changes` (values by option) made and the options of `clear` at their defaults.

    Options by their long names, with or without leading dashes. Raises `Refused`, naming the first forbidden one.
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
        before = fields.get(each.field, getattr(spec, each.field))
        fields[each.field] = _DEFAULTS[each.field] if each.without is None or before is None else each.without(before)
    for each in given:
        fields.update((name, _DEFAULTS[name]) for name in each.resets)
    fields.update((each.field, value) for each, value in given.items())
    made = spec.replace(**fields)
    if not fields.keys().isdisjoint(OF_GPUS):
        made = validation.with_gpus(made, said=any(each.field == "gpus" for each in given))
    return validation.with_amounts(made, fields.keys())


def check_changed(old: Spec, new: Spec, state: str) -> None:
    """Raises `Refused` unless options of `update` could make `new` of `old`, the spec of a job in `state`."""
    for name in changed(old, new):
        options = [each for each in OPTIONS if each.field in (name, *_FOLLOWS.get(name, ()))]
        if name in PARTS_OF_ARRAY:
            options = [_BY_NAME[PARTS_OF_ARRAY[name]]]
        if not options:
            raise Refused(f"{name.replace('_', '-')} cannot be changed: {_WHY_FIXED.get(name, FIXED)}")
        if not any(state in each.states for each in options):
            _check_state(options[0], state)
    if old.repeat is not None:
        _check_series(old, new)
    elif new.repeat is not None:
        raise Refused(NO_SERIES.format(option="repeat"))


def changed(old: Spec, new: Spec) -> list[str]:
    """The fields that differ; of arrays and sweeps those of their families."""
    found = [name for name in Spec.__slots__ if getattr(old, name) != getattr(new, name)]
    if "family" in found and old.family is not None and new.family is not None:
        found.remove("family")
        found += [name for name in old.family.__slots__ if getattr(old.family, name) != getattr(new.family, name)]
    elif "family" in found:
        found = [name if name != "family" else "axes" for name in found]
    return found


def _check_series(old: Spec, new: Spec) -> None:
    """What is fixed of a run of a series."""
    if new.repeat is None:
        _refuse_to_clear_the_rule(old.repeat)  # type: ignore[arg-type]
    elif old.repeat is not None and new.repeat.series != old.repeat.series:
        raise Refused("the series of a run cannot be changed")
    if new.needs != old.needs:
        raise Refused(WAITS_FOR_RUN)
    if new.deadline != old.deadline:
        raise Refused(HAS_NO_DEADLINE)


def names() -> tuple[str, ...]:
    """The options that can be changed."""
    return tuple(each.name for each in OPTIONS)


def option(name: str) -> Option:
    """The option that `name` means. Raises `Refused` if it is none that can be changed."""
    word = name.removeprefix("--").replace("_", "-")
    if word in _BY_NAME:
        return _BY_NAME[word]
    if word in IMMUTABLE:
        raise Refused(f"--{word} cannot be changed: {IMMUTABLE[word]}")
    hint = meant(word[:40], _BY_NAME)
    raise Refused(f"{name[:40]!r} is not an option that can be changed{hint} (see gflowctl update --help)")


def _check_state(each: Option, state: str) -> None:
    if state in ENDED_STATES:
        raise Refused(f"--{each.name} cannot be changed: the job has ended ({state}); gflowctl redo makes a new job")
    if state not in each.states:
        *others, last = [one.name for one in OPTIONS if state in one.states and one.field != "family"]
        named = f"{', '.join(others)} and {last}" if others else last
        raise Refused(f"--{each.name} cannot be changed while the job is {state}; only {named} can")
