"""The tasks of a step: what each runs, its variables, GPUs and files; and what their ends make of the step. Pure."""

from __future__ import annotations

from gflowd.core.errors import Refused
from gflowd.core.job.value_base import Value
from gflowd.core.syntax import job_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Final

    from gflowd.core.slurm.step.srun_options import Step
    from gflowd.core.slurm.step.steps import Need

ALL, NONE, ONE, SHARED, EACH = "all", "none", "one", "shared", "each"
NOTHING = "/dev/null"
KEPT = ("SLURM_", "SLURMD_", "GFLOW_", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")  # by --export=NONE too
SIGNALLED = 128
_NOT_ARRAY = "4294967294"  # what Slurm writes for %a where there is none


class Stream(Value):
    """Where a stream of the tasks leads: `all` to srun's own, `one` to that of task `task` alone, `shared` to one file,
    `each` to a file for each task, `none` nowhere.
    """

    __slots__ = ("kind", "pattern", "task")

    def __init__(self, kind: str, pattern: str = "", task: int = 0) -> None:
        self.kind: Final = kind
        self.pattern: Final = pattern
        self.task: Final = task


def stream(text: str | None, tasks: int) -> Stream:
    """What --input, --output or --error means."""
    if text is None or text == "-" or text.lower() == "all":
        return Stream(ALL)
    if text.lower() == "none":
        return Stream(NONE)
    if text.isdecimal() and text.isascii() and len(text) < 10 and int(text) < tasks:
        return Stream(ONE, task=int(text))
    if tasks == 1 or any(code in "tnN" for code, _ in _codes(text)):
        return Stream(EACH, text)
    return Stream(SHARED, text)


def _codes(pattern: str) -> list[tuple[str, int]]:
    """Each code of a pattern, with its width."""
    return [(part[0], part[1]) for part in _parts(pattern) if isinstance(part, tuple)]


def _parts(pattern: str) -> list[str | tuple[str, int]]:
    found: list[str | tuple[str, int]] = []
    head, *rest = pattern.split("%")
    found.append(head)
    percent = False
    for part in rest:
        if percent:  # the second of two
            found.append(part)
            percent = False
            continue
        letter = part.lstrip("0123456789")
        width = part[: len(part) - len(letter)]
        if part == "":
            found.append("%")
            percent = True
        elif letter and letter[0] in "AaJjNnstux" and len(width) < 4:
            found += [(letter[0], min(int(width or 0), 10)), letter[1:]]
        else:
            found.append(f"%{part}")
    return found


def path(pattern: str, environ: Mapping[str, str], number: int, task: int, user: Callable[[], str]) -> str:
    """The file of one task by a pattern; numbers may be padded with zeros, `%3t`."""
    job = environ.get("SLURM_JOB_ID", "0")
    values = {
        "A": environ.get("SLURM_ARRAY_JOB_ID", job),
        "a": environ.get("SLURM_ARRAY_TASK_ID", _NOT_ARRAY),
        "J": f"{job}.{number}",
        "j": job,
        "N": environ.get("SLURMD_NODENAME", ""),
        "n": "0",
        "s": str(number),
        "t": str(task),
        "x": environ.get("SLURM_JOB_NAME", "").replace("/", "_"),
    }
    if "%" in pattern and any(code == "u" for code, _ in _codes(pattern)):
        values["u"] = user()
    return "".join(
        each if isinstance(each, str) else values[each[0]].rjust(each[1], "0" if values[each[0]].isdecimal() else " ")
        for each in _parts(pattern)
    )


def base_environment(step: Step, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that --export leaves. Raises `Refused`."""
    if step.export is None:
        return dict(environ)
    found, everything = {}, False
    for word in _words(step.export):
        name, equals, value = word.partition("=")
        if not equals and word.upper() == "ALL":
            everything = True
        elif not equals and word.upper() == "NONE":
            break
        elif not (name.isidentifier() and name.isascii()):
            raise Refused(f"--export: {name!r} is not the name of a variable")
        elif equals:
            found[name] = value
        elif name in environ:
            found[name] = environ[name]
    kept = environ if everything else {name: text for name, text in environ.items() if name.startswith(KEPT)}
    return {**kept, **found}


def _words(text: str) -> list[str]:
    """The parts between commas, but for commas in quotes."""
    found, quote = [""], ""
    for letter in text:
        if quote or letter in "'\"":
            if letter in (quote or letter):
                quote = "" if quote else letter
            else:
                found[-1] += letter
        elif letter == ",":
            found.append("")
        else:
            found[-1] += letter
    return [each for each in found if each]


def step_variables(
    step: Step, need: Need, number: int, node: str, gpus: Sequence[str], ids: Sequence[str]
) -> dict[str, str]:
    """What all tasks of a step have in common. `gpus` are the step's, `ids` their numbers on the machine."""
    count, each = str(need.tasks), str(need.cpus_of_task)
    found = {
        "SLURM_STEP_ID": str(number),
        "SLURM_STEPID": str(number),
        "SLURM_STEP_NODELIST": node,
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_STEP_NUM_TASKS": count,
        "SLURM_STEP_TASKS_PER_NODE": count,
        "SLURM_NTASKS": count,
        "SLURM_NPROCS": count,
        "SLURM_TASKS_PER_NODE": count,
        "SLURM_GTIDS": ",".join(map(str, range(need.tasks))),
        "SLURM_NNODES": "1",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_NODEID": "0",
        "SLURM_JOB_NODELIST": node,
        "SLURM_NODELIST": node,
        "SLURMD_NODENAME": node,
        "SLURM_LAUNCH_NODE_IPADDR": "127.0.0.1",
        "SLURM_SRUN_COMM_HOST": "127.0.0.1",
        "SLURM_CPUS_ON_NODE": str(need.tasks * need.cpus_of_task),
        "CUDA_VISIBLE_DEVICES": ",".join(gpus),
    }
    if step.cpus is not None:
        found["SLURM_CPUS_PER_TASK"] = each
    if gpus:
        found |= {"SLURM_STEP_GPUS": ",".join(ids), "SLURM_GPUS_ON_NODE": str(len(gpus))}
    if step.name:
        found["SLURM_JOB_NAME"] = step.name
    return found


def gpus_of_task(step: Step, places: Sequence[int], task: int) -> tuple[int, ...]:
    """Which of a step's GPUs one task sees. Raises `Refused` for a --gpu-bind that is none."""
    words = [word for word in (step.gpu_bind or "").split(",") if word not in ("verbose", "v", "closest")]
    kind, _, value = ",".join(words).removeprefix("verbose,").partition(":")
    if kind not in ("", "none", "single", "per_task", "map_gpu", "mask_gpu"):
        raise Refused(f"--gpu-bind={step.gpu_bind}: give none, single:N, per_task:N, map_gpu:LIST or mask_gpu:LIST")
    if kind == "none" or not places:
        return tuple(places)
    if kind in ("map_gpu", "mask_gpu"):
        given = value.split(",")
        number = _bound(step, given[task % len(given)].partition("*")[0])
        bits = 1 << min(number, len(places)) if kind == "map_gpu" else number
        return tuple(place for index, place in enumerate(places) if bits >> index & 1)
    if kind == "single":
        return (places[task // max(1, _bound(step, value)) % len(places)],)
    count = _bound(step, value) if kind == "per_task" else step.gpus_per_task
    return tuple(places) if count is None else tuple(places[task * count : (task + 1) * count])


def _bound(step: Step, word: str) -> int:
    try:
        number = int(word, 0)
    except ValueError:
        number = -1
    if number < 0:
        raise Refused(f"--gpu-bind={step.gpu_bind}: {word!r} is not a number")
    return number


def programs(content: str, tasks: int) -> list[tuple[str, ...]]:
    """The command of each task by a file for --multi-prog. Raises `Refused`."""
    import shlex

    found: dict[int, tuple[str, ...]] = {}
    for place, line in enumerate(content.replace("\\\n", " ").splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            raise Refused(f"line {place} of the file for --multi-prog: a quote is not closed") from None
        if not words:
            continue
        ranks = range(tasks) if words[0] == "*" else _ranks(words[0], place, tasks)
        for offset, rank in enumerate(ranks):
            if rank not in found:
                found[rank] = tuple(word.replace("%t", str(rank)).replace("%o", str(offset)) for word in words[1:])
        if len(words) == 1:
            raise Refused(f"line {place} of the file for --multi-prog names no program")
    for rank in range(tasks):
        if rank not in found:
            raise Refused(f"Configuration file invalid, no record for task id {rank}")
    return [found[rank] for rank in range(tasks)]


def _ranks(text: str, place: int, tasks: int) -> list[int]:
    """Those below `tasks`."""
    found: list[int] = []
    for each in text.split(","):
        first, dash, last = each.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(each) > 15:
            raise Refused(f"line {place} of the file for --multi-prog: {text!r} names no tasks")
        found += range(int(first), min(int(last) + 1, tasks)) if dash else [int(first)]
    return found


def named(numbers: Sequence[int]) -> str:
    """`task 3`, `tasks 0-2`."""
    return f"task{'s' * (len(numbers) != 1)} {job_ids.show(numbers)}"


def status(ends: Iterable[int]) -> int:
    """The exit status of a step whose tasks ended with these codes, where -N is the signal N: the greatest signal,
    else the greatest code.
    """
    least, most = 0, 0
    for code in ends:
        least, most = min(least, code), max(most, code)
    return SIGNALLED - least if least < 0 else most


def label(task: int, tasks: int) -> bytes:
    """What -l writes before each line of a task."""
    return b"%*d: " % (len(str(tasks - 1)), task)
