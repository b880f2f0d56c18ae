"""What `scontrol update JobId=... NAME=VALUE` means in terms of `gflowctl update`."""

from __future__ import annotations

from gflowd.core.errors import Refused
from gflowd.core.job.value_base import Value
from gflowd.core.slurm import sbatch_semantics
from gflowd.core.slurm.sbatch_options import COMMAND_LINE, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

JOB, NAME = "jobid", "jobname"
AS_OPTIONS = {  # of sbatch
    "comment": "comment", "cpuspertask": "cpus-per-task", "deadline": "deadline", "eligibletime": "begin",
    "gres": "gres", "mailtype": "mail-type", "mailuser": "mail-user", "mincpusnode": "cpus-per-task",
    "minmemorynode": "mem", "name": "job-name", NAME: "job-name", "nice": "nice", "numcpus": "cpus-per-task",
    "starttime": "begin", "stderr": "error", "stdin": "input", "stdout": "output", "tresperjob": "gres",
    "trespernode": "gres",
}  # fmt: skip
WITHOUT_EFFECT = (
    "admincomment", "clusterfeatures", "contiguous", "corespec", "delayboot", "excnodelist", "extra", "features",
    "licenses", "mcslabel", "nodelist", "oversubscribe", "partition", "prefer", "qos", "reboot", "reqcores",
    "reqnodelist", "reqsockets", "reqthreads", "reservationname", "resetaccruetime", "shared", "sitefactor",
    "switches", "threadspec", "timemin", "wait-for-switch", "wckey",
)  # fmt: skip
FIXED = {
    "account": "the project of a job is fixed at submission; gflowctl redo makes another job",
    "burstbuffer": "gflow has no burst buffers",
    "endtime": "give TimeLimit",
    "minmemorycpu": "give MinMemoryNode",
    "numnodes": "gflow runs jobs on one machine",
    "numtasks": "give NumCPUs",
    "requeue": "give gflowctl update --max-retries",
    "userid": "a job runs as its submitter",
    "workdir": "the directory of a job is fixed at submission; gflowctl redo makes another job",
}
ALL_MEMORY = ["--memory=all"]
OTHERS = (JOB, "arraytaskthrottle", "dependency", "priority", "timelimit")
KNOWN = (*OTHERS, *AS_OPTIONS, *WITHOUT_EFFECT, *FIXED)


class Update(Value):
    """`jobs`: as they are named, or empty where `name` chooses them; `argv`: words for `gflowctl update`; `minutes`: a
    change of the time limit; `holds`: priority 0; `notes`: what has no effect.
    """

    __slots__ = ("argv", "holds", "jobs", "minutes", "name", "notes")

    def __init__(
        self,
        *,
        jobs: str,
        name: str | None,
        argv: Sequence[str],
        minutes: int,
        holds: bool,
        notes: Sequence[str],
    ) -> None:
        self.jobs: Final = jobs
        self.name: Final = name
        self.argv: Final = argv
        self.minutes: Final = minutes
        self.holds: Final = holds
        self.notes: Final = notes


def parse(words: Sequence[str]) -> Update:
    """What the words ask for: `JobId=1 TimeLimit=30`, also `job 1 TimeLimit+=30`. Raises `Refused`."""
    jobs, name, minutes, holds = "", None, 0, False
    argv: list[str] = []
    notes: list[str] = []
    pairs = _pairs(words)
    names_job = any(key == JOB for key, _, _ in pairs)
    for key, sign, value in pairs:
        said = f"{key}={value}"
        if key == JOB:
            jobs = value
        elif key == NAME and not names_job:
            name = value
        elif key == "timelimit" and (sign or value[:1] in ("+", "-")) and value != "-1":
            minutes = _minutes(f"{sign}{value}")
        elif key in WITHOUT_EFFECT:
            notes.append(f"{said} has no effect")
        elif key in FIXED:
            raise Refused(f"{said}: {FIXED[key]}")
        elif key == "priority" and value == "0":
            holds = True
        else:
            argv += _argv(key, value)
    if not jobs and name is None:
        raise Refused("no JobId given")
    return Update(jobs=jobs, name=name, argv=argv, minutes=minutes, holds=holds, notes=notes)


def _pairs(words: Sequence[str]) -> list[tuple[str, str, str]]:
    """Names in full, `+` or `-` before an equals sign, and values; `job 1` is `JobId=1`."""
    found: list[tuple[str, str, str]] = []
    rest = iter(words)
    for word in rest:
        key, equals, value = word.partition("=")
        if not equals and key.lower() in ("job", JOB):
            found.append((JOB, "", next(rest, "")))
            continue
        sign = key[-1:] if key[-1:] in ("+", "-") else ""
        if not equals:
            raise Refused(f"Invalid input: {word}")
        found.append((_full_name(key.removesuffix(sign), word), sign, value))
    return found


def _full_name(given: str, word: str) -> str:
    """Names are read in any case, and may be shortened. Raises `Refused`."""
    low = given.lower()
    if low in KNOWN:
        return low
    if low == "job":
        return JOB
    names = [name for name in KNOWN if name.startswith(low)]
    if len(low) < 2 or len(names) != 1:
        raise Refused(f"Update of this parameter is not supported: {word}")
    return names[0]


def _minutes(text: str) -> int:
    from gflowd.core.syntax import durations

    amount = text.lstrip("+-")
    if not (amount.isascii() and amount.isdigit()):
        return round(durations.parse(amount) / 60) * (-1 if text.startswith("-") else 1)
    return int(amount[:9]) * (-1 if text.startswith("-") else 1)


def _argv(key: str, value: str) -> Sequence[str]:
    match key:
        case "arraytaskthrottle":
            return ("--clear=max-concurrent",) if value in ("0", "-1") else (f"--max-concurrent={value}",)
        case "dependency":
            return (f"--depends-on={value}",) if value else ("--clear=depends-on",)
        case "minmemorynode" if _meant("mem", value) == ALL_MEMORY:
            raise Refused(f"{key}={value}: all memory of the machine can be asked for only at submission")
        case "priority":
            return (f"--priority={value}",)
        case "timelimit":
            return _meant("time", value)
    return _meant(AS_OPTIONS[key], value)


def _meant(option: str, value: str) -> Sequence[str]:
    meaning = sbatch_semantics.translate([Option(COMMAND_LINE, option, value)], cpus=None, gpus=None, host=None)
    if meaning.troubles:
        raise Refused(meaning.troubles[0][1])
    return [word for _, word in meaning.argv]
