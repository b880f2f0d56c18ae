"""What sbatch(1) means in terms of `gflowctl submit`: each option the same, nothing, or impossible; and its output."""

from __future__ import annotations

import math
import re

from gflowd.core.errors import Refused
from gflowd.core.job import arrays
from gflowd.core.job.value_base import Value
from gflowd.core.slurm.sbatch_options import REFUSED, WITHOUT_EFFECT
from gflowd.core.syntax import addresses, durations, memory, ranges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Final

    from gflowd.core.slurm.sbatch_options import Option

    Argv = Sequence[str]
    Rule = Callable[[str, "_Job"], Argv]

RENAMED = {
    "account": "project", "chdir": "chdir", "comment": "comment", "constraint": "constraint",
    "dependency": "depends-on", "export": "export", "job-name": "name",
}  # fmt: skip
RENAMED_FLAGS = {
    "hold": "hold",
    "overcommit": "overcommit",
    "parsable": "parsable",
    "requeue": "requeue",
    "test-only": "dry-run",
    "wait": "wait",
}
GPU_OPTIONS = ("gpus", "gpus-per-node", "gres")
REQUEUES = ("requeue", "no-requeue")
SHARED_WITH = ("user", "mcs", "topo")  # values of --exclusive that do not ask for the whole machine
PER_TASK = "gpus-per-task"
SILENT = ("kill-on-invalid-dep", "no-requeue", "open-mode")  # where they ask for what is so anyway
LONGEST_NUMBER = 12  # digits
WIDEST_NUMBER = 10  # digits of a number in a file's name
# An empty value of these is as good as none.
MAY_BE_EMPTY = (
    "array", "constraint", "dependency", "error", "gres", "input", "job-name", "mail-type", "mail-user",
    "output", "signal",
)  # fmt: skip
EVENTS = (
    "begin", "end", "fail", "requeue", "time_limit", "time_limit_90", "time_limit_80", "time_limit_50",
    "invalid_depend", "stage_out", "array_tasks", "all", "none",
)  # fmt: skip  # of --mail-type

_COUNT = r"(?P<count>[0-9]{1,6})"
_AMOUNT = rf"(?:{_COUNT}|(?P<type>[^:,=]+):(?P<many>[0-9]{{1,6}}))"  # a type may be digits: 1080:2
_GPUS = re.compile(rf"(?:gpu[:=])?{_AMOUNT}")
_GRES = re.compile(rf"(?i:(?:gres[/:])?gpu)(?:[:=](?:{_AMOUNT}|(?P<alone>[^:,=]+)))?")
_SIGNAL = re.compile(r"(?:R?(B?):)?([A-Za-z0-9]+)(?:@([0-9]+))?")
_NOW = re.compile(r"now\s*\+\s*([0-9]{1,12})\s*([a-z]*)", re.IGNORECASE)
_FILE_CODE = re.compile(r"%([0-9]*)(.?)", re.DOTALL)
_ARRAY_WORD = re.compile(r"\[?\s*([0-9]{1,18})\]?(?:-([0-9]{1,18})\]?(?::([0-9]{1,18})\]?)?)?(?:%[0-9]*)?\]?")
_UNITS = {"": 1, "second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_CLOCK = {"midnight": "00:00", "noon": "12:00", "fika": "15:00", "teatime": "16:00"}


class _Job(Value):
    """What option values may depend on."""

    __slots__ = ("alone", "cpus", "gpus", "gpus_said", "host", "tasks", "wins")

    def __init__(
        self, *, cpus: int, gpus: int, gpus_said: bool, tasks: int, host: str | None, wins: bool, alone: bool
    ) -> None:
        self.cpus: Final = cpus  # of all tasks, at least 1
        self.gpus: Final = gpus
        self.gpus_said: Final = gpus_said  # by a number that does not come from the tasks
        self.tasks: Final = tasks  # at least 1
        self.host: Final = host
        self.wins: Final = wins  # the command line says how many CPUs
        self.alone: Final = alone  # it has the whole machine


class Meaning(Value):
    """The meaning of options: words for `gflowctl submit`, and notes, each with its line."""

    __slots__ = ("argv", "troubles", "without_effect")

    def __init__(
        self,
        argv: tuple[tuple[int, str], ...],
        without_effect: tuple[tuple[int, str], ...],
        troubles: tuple[tuple[int, str], ...],
    ) -> None:
        self.argv: Final = argv
        self.without_effect: Final = without_effect
        self.troubles: Final = troubles  # each a reason to refuse the script


def translate(
    asked: Sequence[Option], *, cpus: int | None, gpus: int | None, host: str | None, tasks: int | None = None
) -> Meaning:
    """What the options of a script mean; arguments as for `script_head.read`. Of an option that is given twice the last
    one counts, as in sbatch(1).
    """
    last: dict[str, Option] = {}
    for option in asked:
        for name in REQUEUES if option.name in REQUEUES else (option.name,):
            last.pop(name, None)
        last[option.name] = option
    asked = list(last.values())
    argv: list[tuple[int, str]] = []
    without_effect: list[tuple[int, str]] = []
    troubles: list[tuple[int, str]] = []
    job = _job(asked, cpus, gpus, tasks, host)
    for option in asked:
        if option.name in REFUSED:
            troubles.append((option.line, f"{option.told}: {REFUSED[option.name]}"))
            continue
        if option.value == "" and option.name in MAY_BE_EMPTY:
            continue
        try:
            words = _RULES[option.name](option.value or "", job)
        except Refused as error:
            troubles.append((option.line, f"{option.told}: {error}"))
            continue
        argv += [(option.line, word) for word in words]
        if option.name in WITHOUT_EFFECT or not (words or option.name in SILENT):
            without_effect.append((option.line, str(option)))
        elif option.name == "ntasks-per-node" and _whole(option.value or "") < job.tasks:
            without_effect.append((option.line, f"{option} (all {job.tasks} tasks are on this machine)"))
        elif option.name == "mail-type" and (unknown := [*_events(option.value or "", known=False)]):
            without_effect.append((option.line, f"--mail-type={','.join(unknown)}"))
    return Meaning(tuple(argv), tuple(without_effect), tuple(troubles))


def _job(asked: Sequence[Option], cpus: int | None, gpus: int | None, tasks: int | None, host: str | None) -> _Job:
    values = {option.name: option.value or "" for option in asked}
    number = {name: _whole(value) for name, value in values.items()}
    said = [_gpus_said(option) for option in asked if option.name in GPU_OPTIONS] if gpus is None else [gpus]
    found_gpus, per_gpu = said[-1] if said else 0, number.get("ntasks-per-gpu", 0)
    tasks = tasks or number.get("ntasks", 0)
    if not said and tasks and per_gpu:
        found_gpus = -(-tasks // per_gpu)
    tasks = tasks or per_gpu * found_gpus or number.get("ntasks-per-node") or 1
    if not said and not found_gpus:
        of_task = next((_gpus_said(option) for option in asked if option.name == PER_TASK), 0)
        found_gpus = of_task * tasks
    of_gpus = number.get("cpus-per-gpu", 0) * found_gpus if cpus is None else 0
    per_task = (number.get("cpus-per-task") or 1) if cpus is None else cpus
    found = max(1 if "overcommit" in values else tasks * per_task, of_gpus, number.get("mincpus", 0), 1)
    alone = values.get("exclusive", SHARED_WITH[0]) not in SHARED_WITH
    wins = cpus is not None
    return _Job(cpus=found, gpus=found_gpus, gpus_said=bool(said), tasks=tasks, host=host, wins=wins, alone=alone)


def _gpus_said(option: Option) -> int:
    try:
        return gpu_request(option.name, option.value or "")[0]
    except Refused:  # reported when the option itself is translated
        return 0


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else 0


def _renamed(ours: str) -> Rule:
    return lambda value, _: (f"--{ours}={value}",)


def _flag(ours: str) -> Rule:
    return lambda _value, _job: (f"--{ours}",)


def _nothing(_value: str, _job: _Job) -> Argv:
    return ()


def _file(ours: str) -> Rule:
    return lambda value, job: (f"--{ours}={_pattern(value, job.host)}",)


def _gpu_words(option: str) -> Rule:
    def words(value: str, _job: _Job) -> Argv:
        count, kind = gpu_request(option, value)
        return (f"--gpus={count}",) if kind is None else (f"--gpus={count}", f"--gpu-type={kind}")

    return words


def gpu_request(option: str, value: str) -> tuple[int, str | None]:
    """Number and type of GPUs, of `2`, `a100:2`, or for --gres of `gpu`, `gpu:2`, `gpu:a100:2`."""
    if value.lower() == "none":
        return 0, None
    match = (_GRES if option == "gres" else _GPUS).fullmatch(value.strip(","))
    if match is None:
        raise Refused("gflow supports GPUs of one type (e.g. gpu:2 or gpu:a100:2) and no other generic resource")
    found = match.groupdict()
    return int(found["count"] or found["many"] or 1), found["type"] or found.get("alone")


def _number(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= LONGEST_NUMBER):
        raise Refused("not a number")
    return int(value)


def _tasks(ours: str) -> Rule:
    return lambda value, _: (f"--{ours}={_positive(value)}",)


def _cpus_per_task(value: str, _job: _Job) -> Argv:
    if value and not value.strip("0"):  # which ours take
        raise Refused("the least is 1")
    return (f"--cpus={value}",)


def _positive(value: str) -> int:
    found = _number(value)
    if found < 1:
        raise Refused("the least is 1")
    return found


def _tasks_per_gpu(value: str, job: _Job) -> Argv:
    """As many tasks as the GPUs make; where only the tasks are known, as many GPUs as they need."""
    _positive(value)
    if job.gpus == 0:
        raise Refused("the job asks for no GPU")
    return (f"--ntasks={job.tasks}",) if job.gpus_said else (f"--gpus={job.gpus}",)


def _gpus_per_task(value: str, job: _Job) -> Argv:
    """All of them; another option that says how many takes precedence."""
    count, kind = gpu_request(PER_TASK, value)
    number = () if job.gpus_said else (f"--gpus={count * job.tasks}",)
    return number if kind is None else (*number, f"--gpu-type={kind}")


def _cpus_per_gpu(value: str, job: _Job) -> Argv:
    return () if job.wins else (f"--mincpus={_per_gpu(_number(value), job)}",)


def _memory_per_cpu(value: str, job: _Job) -> Argv:
    """Of all CPUs of the machine it is all memory that may be needed."""
    amount = memory.parse(value) * job.cpus
    return ("--memory=all" if job.alone else f"--memory={amount}M",)


def _memory(value: str, _job: _Job) -> Argv:
    """0 is all memory of the node."""
    return (f"--memory={value if memory.parse(value) else 'all'}",)


def _one_node(value: str, _job: _Job) -> Argv:
    least, _, most = value.partition("-")
    if _number(least) != 1 or (most and _number(most) < 1):
        raise Refused("gflow runs jobs on one machine")
    return ()


def _per_gpu(amount: int, job: _Job) -> int:
    if job.gpus == 0:
        raise Refused("the job asks for no GPU")
    return amount * job.gpus


def _pattern(value: str, host: str | None) -> str:
    """Our pattern for one of sbatch(1), which takes what it does not know as it is written, and pads only numbers."""
    if value.lower() == "none":
        return "/dev/null"

    def ours(match: re.Match[str]) -> str:
        digits, code = match.groups()
        width = min(int(digits.lstrip("0")[: len(str(WIDEST_NUMBER)) + 1] or 0), WIDEST_NUMBER)
        if code in "jJAab" and code:
            return f"%{width or ''}{'j' if code == 'J' else code}"
        if code in "nt" and code:
            return "0".rjust(width, "0")
        known = {"s": "batch", "N": None if host is None else host.replace("%", "%%"), "x": "%x", "u": "%u", "%": "%%"}
        return known.get(code) or match[0].replace("%", "%%")

    return _FILE_CODE.sub(ours, value)


def _array(value: str, _job: _Job) -> Argv:
    """sbatch(1) takes brackets, indices that come twice, commas with nothing between, and nothing after the `%`."""
    found = [_ARRAY_WORD.fullmatch(word.strip()) for word in value.split(",") if word.strip()]
    spans = [(int(each[1]), int(each[2] or each[1]), int(each[3] or 1)) for each in found if each is not None]
    if not found or len(spans) < len(found) or any(first > last or step < 1 for first, last, step in spans):
        raise Refused(f"not indices ({ranges.FORMS})")
    arrays.check_size(sum(map(ranges.length, spans)))
    at_a_time = _whole(value.partition("%")[2].partition(",")[0].rstrip("]"))
    return (f"--array={ranges.show(ranges.merged(spans))}{f'%{at_a_time}' if at_a_time else ''}",)


def _instant(ours: str) -> Rule:
    """sbatch(1) counts in seconds behind `now+` and has names for hours."""

    def words(value: str, _job: _Job) -> Argv:
        match = _NOW.fullmatch(value.strip())
        unit = _UNITS.get(match[2].lower().removesuffix("s")) if match else None
        if match and unit:
            return (f"--{ours}=now+{int(match[1]) * unit}s",)
        return (f"--{ours}={_CLOCK.get(value.strip().lower(), value)}",)

    return words


def _signal(value: str, _job: _Job) -> Argv:
    match = _SIGNAL.fullmatch(value)
    if match is None:
        raise Refused("not of the form [B:]SIGNAL[@SECONDS]")
    return (f"--signal={'B:' if match[1] else ''}{match[2]}@{match[3] or 60}",)


def appends(mode: str) -> bool:
    """What `--open-mode` asks for. Raises `Refused`."""
    if mode not in ("append", "truncate", "a", "t"):
        raise Refused("neither append nor truncate")
    return mode.startswith("a")


def _open_mode(value: str, _job: _Job) -> Argv:
    return ("--append",) if appends(value) else ()


def _kill_on_invalid_dependency(value: str, _job: _Job) -> Argv:
    if value not in ("yes", "no"):
        raise Refused("neither yes nor no")
    return ("--no-auto-cancel",) if value == "no" else ()


def _time(value: str, _job: _Job) -> Argv:
    """sbatch(1) counts whole minutes, up; `2-` is two days."""
    if value.upper() in ("UNLIMITED", "INFINITE", "-1"):
        return ("--time=0",)
    value = f"{value}0" if value.endswith("-") else value
    seconds = durations.parse(value)
    return (f"--time={math.ceil(seconds / 60) if seconds % 60 else value}",)


def _mail_type(value: str, _job: _Job) -> Argv:
    """sbatch(1) leaves out the events that it does not know."""
    known = ",".join(_events(value, known=True))
    return (f"--mail-type={known}",) if known else ()


def _mail_user(value: str, _job: _Job) -> Argv:
    """Slurm looks at no address, and scripts are handed on with those of others blotted out."""
    try:
        return (f"--mail-user={','.join(addresses.addresses(value))}",)
    except Refused:
        return ()


def _events(value: str, *, known: bool) -> Iterable[str]:
    words = filter(None, (word.strip() for word in value.split(",")))
    return (word for word in words if (word.lower().replace("-", "_") in EVENTS) == known)


_RULES: dict[str, Rule] = {
    **{name: _renamed(ours) for name, ours in RENAMED.items()},
    **{name: _flag(ours) for name, ours in RENAMED_FLAGS.items()},
    **{name: _file(name) for name in ("output", "error")},
    **{name: _gpu_words(name) for name in GPU_OPTIONS},
    **dict.fromkeys(WITHOUT_EFFECT, _nothing),
    **{name: _tasks(name) for name in ("ntasks", "ntasks-per-node", "mincpus")},
    **{name: _instant(name) for name in ("begin", "deadline")},
    "array": _array,
    "cpus-per-gpu": _cpus_per_gpu,
    "cpus-per-task": _cpus_per_task,
    "exclusive": lambda value, _: () if value in SHARED_WITH else ("--exclusive",),
    "get-user-env": lambda _value, _job: ("--get-user-env",),
    "gpus-per-task": _gpus_per_task,
    "input": lambda value, _: (f"--input={'/dev/null' if value.lower() == 'none' else value}",),
    "kill-on-invalid-dep": _kill_on_invalid_dependency,
    "mail-type": _mail_type,
    "mail-user": _mail_user,
    "mem": _memory,
    "mem-per-cpu": _memory_per_cpu,
    "mem-per-gpu": lambda value, job: (f"--memory={_per_gpu(memory.parse(value), job)}M",),
    "nice": lambda value, _: (f"--nice={value or 100}",),
    "no-requeue": _nothing,
    "nodes": _one_node,
    "ntasks-per-gpu": _tasks_per_gpu,
    "open-mode": _open_mode,
    "signal": _signal,
    "time": _time,
}


def output_pattern(*, array: bool) -> str:
    """The output pattern of sbatch(1) for a script that names none."""
    return "slurm-%A_%a.out" if array else "slurm-%j.out"
