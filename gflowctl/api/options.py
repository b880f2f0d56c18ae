"""What a submission may ask for: each option with its type, and as `gflowctl submit` has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from gflowctl.api.arguments import text_of
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job.model import RANGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from gflowctl.api.arguments import Jobs


class Options(TypedDict, total=False):
    """The options of `submit`, as in gflowctl-submit(1). Durations are seconds, memory is MiB; times are seconds since
    the epoch, or text such as `tomorrow 9:00`.
    """

    name: str
    project: str
    comment: str
    gpus: int
    gpu_type: str
    gpu_memory_mb: int
    gpu_prefer: Iterable[str | int]
    shared: bool
    cpus: int
    memory_mb: int
    exclusive: bool
    time_limit: float
    grace: float
    quiet_limit: float
    signal: str  # such as USR1@60
    priority: int  # 0 to 255, higher first
    hold: bool
    depends_on: Jobs  # also the words of --depends-on, such as afterany:42
    depends_on_all: Jobs
    depends_on_any: Jobs
    singleton: bool
    auto_cancel: bool
    begin_at: float | str
    deadline: float | str
    repeat: str
    overlap: str
    array: str | Iterable[int]
    params: Mapping[str, str | Iterable[object]]  # text is that of --param, such as 1:10; others are taken as they are
    name_template: str
    max_concurrent: int
    max_failures: int
    max_retries: int
    retry_on: Iterable[str | int]
    retry_delay: float
    retry_factor: float
    requeue: bool
    cwd: str
    output: str
    error: str
    input: str
    append: bool
    conda_env: str
    executor: str
    cluster: str
    notify_email: str
    notify_on: Iterable[str]
    notify: Iterable[str]  # URLs
    skip_if_queued: bool
    environment: Mapping[str, str]  # all variables of the job; without, those of this process


def given_by(options: Options) -> dict[str, Any]:
    """The values of the options of `gflowctl submit` that these are. Raises `BadUsage` for what is no value, TypeError
    for an unknown name, as Python does.
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name not in _READ:
            raise TypeError(f"submit() got an unexpected keyword argument {name!r}")
        if value is not None:
            found |= _READ[name](name, value)
    if "retry_factor" in found:
        found["retry_delay"] = (found.get("retry_delay", 0.0), found.pop("retry_factor"))
    elif "retry_delay" in found:
        found["retry_delay"] = (found["retry_delay"], 1.0)
    return {name: value for name, value in found.items() if not (value is None or value is False or value == [])}


def command_of(command: Any) -> dict[str, Any]:
    """The words of a command, or a line of shell, as the options have it. Raises `BadUsage`."""
    if isinstance(command, str):
        return {"wrap": command}
    words = list(command) if isinstance(command, Iterable) else []
    if not words or not all(isinstance(word, str) for word in words):
        raise BadUsage("command: give a list of words, or a line of shell as one text")
    if words[0] == "-":
        raise BadUsage("command: a program has no script on its standard input to give away; name a file")
    return {"command": words}


def _plain(dest: str | None = None, kind: type | tuple[type, ...] = str, what: str = "a text") -> Any:
    def read(name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise BadUsage(f"{name}: {value!r} is not {what}")
        return {dest or name: value}

    return read


def _count(dest: str | None = None) -> Any:
    def read(name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, int) or isinstance(value, bool) or not value >= 0:
            raise BadUsage(f"{name}: {value!r} is not a whole number from 0")
        return {dest or name: value}

    return read


def _priority(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= RANGES[name][1]:
        raise BadUsage(f"{name}: {value!r} is not a priority (0 to {RANGES[name][1]}, higher first)")
    return {name: value}


def _seconds(dest: str | None = None) -> Any:
    def read(name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
            raise BadUsage(f"{name}: {value!r} is not a number of seconds")
        return {dest or name: float(value)}

    return read


def _flag(dest: str | None = None) -> Any:
    return _plain(dest, bool, "true or false")


def _moment(dest: str) -> Any:
    def read(name: str, value: Any) -> dict[str, Any]:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise BadUsage(f"{name}: {value!r} is neither seconds since the epoch nor a time in words")
        return {dest: value if isinstance(value, str) else float(value)}

    return read


def _jobs(name: str, value: Any) -> dict[str, Any]:
    return {name: text_of(value)}


def _words(name: str, value: Any) -> list[str]:
    is_one = isinstance(value, str | bytes | bytearray) or not isinstance(value, Iterable)
    words = [] if is_one else list(value)
    if is_one or not all(isinstance(word, str | int) for word in words):
        raise BadUsage(f"{name}: {value!r} is not a list of words")
    return [str(word) for word in words]


def _prefer(name: str, value: Any) -> dict[str, Any]:
    return {name: tuple(_words(name, value))}


def _array(name: str, value: Any) -> dict[str, Any]:
    return {name: value if isinstance(value, str) else ",".join(_words(name, value))}


def _params(_: str, value: Any) -> dict[str, Any]:
    from gflowd.core.request import sweep_parameters

    if not isinstance(value, Mapping) or not all(
        isinstance(name, str) and isinstance(values, Iterable) and not isinstance(values, bytes | bytearray)
        for name, values in value.items()
    ):
        raise BadUsage(f"params: {value!r} does not give texts or lists of values by names")
    found = [
        f"{name}={values}" if isinstance(values, str) else sweep_parameters.axis(name, [str(each) for each in values])
        for name, values in value.items()
    ]
    return {"param": found}


def _retry_on(name: str, value: Any) -> dict[str, Any]:
    from gflowd.core.job import retries

    return {name: retries.parse_on(",".join(_words(name, value)))}


def _signal(name: str, value: Any) -> dict[str, Any]:
    from gflowctl.options import signals

    return {name: signals.parse_early(_plain()(name, value)[name])}


def _events(name: str, value: Any) -> dict[str, Any]:
    from gflowd.core.notify import event_names

    try:
        return {name: event_names.parse(_words(name, value) or ("none",), event_names.FOR_A_JOB)}
    except Refused as refusal:
        raise BadUsage(f"{name}: {refusal}") from None


def _addresses(name: str, value: Any) -> dict[str, Any]:
    from gflowd.core.syntax import addresses

    try:
        return {name: ",".join(addresses.addresses(_plain()(name, value)[name]))}
    except Refused as refusal:
        raise BadUsage(f"{name}: {refusal}") from None


def _urls(name: str, value: Any) -> dict[str, Any]:
    from gflowctl.options import job_options

    try:
        return {name: [job_options.checked_url(url) for url in _words(name, value)]}
    except Refused as refusal:
        raise BadUsage(f"{name}: {refusal}") from None


def _nothing(_name: str, _value: Any) -> dict[str, Any]:
    return {}


_READ: dict[str, Callable[[str, Any], dict[str, Any]]] = {
    **dict.fromkeys(
        (
            "name", "project", "comment", "gpu_type", "repeat", "overlap", "name_template", "output", "error", "input",
            "conda_env", "executor", "cluster",
        ),
        _plain(),
    ),
    **dict.fromkeys(("gpus", "cpus", "max_concurrent", "max_failures", "max_retries"), _count()),
    **dict.fromkeys(("grace", "quiet_limit", "retry_delay", "retry_factor"), _seconds()),
    **dict.fromkeys(
        ("shared", "exclusive", "hold", "singleton", "requeue", "append", "skip_if_queued"), _flag()
    ),
    **dict.fromkeys(("depends_on", "depends_on_all", "depends_on_any"), _jobs),
    "priority": _priority,
    "gpu_memory_mb": _count("gpu_memory"),
    "memory_mb": _count("memory"),
    "time_limit": _seconds("time"),
    "cwd": _plain("chdir"),
    "begin_at": _moment("begin"),
    "deadline": _moment("deadline"),
    "auto_cancel": lambda name, value: {"no_auto_cancel": not _flag()(name, value)[name]},
    "gpu_prefer": _prefer,
    "array": _array,
    "params": _params,
    "retry_on": _retry_on,
    "signal": _signal,
    "notify_email": _addresses,
    "notify_on": _events,
    "notify": _urls,
    "environment": _nothing,
}  # fmt: skip
