"""The command line of srun(1): its grammar, and what it asks for as one value. Runs nothing."""

from __future__ import annotations

from gflowd.core.errors import Refused
from gflowd.core.job.value_base import Value
from gflowd.core.slurm import getopt, site

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Pair = getopt.Pair

_SHORT = {
    "A": "account", "B": "extra-node-info", "C": "constraint", "D": "chdir", "E": "preserve-env", "F": "nodefile",
    "G": "gpus", "H": "hold", "I": "immediate", "J": "job-name", "K": "kill-on-bad-exit", "L": "licenses",
    "M": "clusters", "N": "nodes", "O": "overcommit", "Q": "quiet", "S": "core-spec", "T": "threads", "V": "version",
    "W": "wait", "X": "disable-status", "Z": "no-allocate", "b": "begin", "c": "cpus-per-task", "d": "dependency",
    "e": "error", "h": "help", "i": "input", "k": "no-kill", "l": "label", "m": "distribution", "n": "ntasks",
    "o": "output", "p": "partition", "q": "qos", "r": "relative", "s": "oversubscribe", "t": "time",
    "u": "unbuffered", "v": "verbose", "w": "nodelist", "x": "exclude",
}  # fmt: skip
_FLAGS = (
    "contiguous", "debugger-test", "disable-status", "exact", "external", "external-launcher", "help", "hold",
    "interactive", "label", "multi-prog", "no-allocate", "overcommit", "overlap", "oversubscribe", "preserve-env",
    "quiet", "quit-on-interrupt", "reboot", "spread-job", "stepmgr", "test-only", "unbuffered", "usage",
    "use-min-nodes", "verbose", "version", "wait-for-children", "whole",
)  # fmt: skip
_MAY_HAVE_VALUE = (
    "bcast", "compress", "exclusive", "immediate", "kill-on-bad-exit", "nice", "no-kill", "propagate", "pty",
    "resv-ports", "send-libs", "x11",
)  # fmt: skip
# What chooses among machines, is for accounting, or hints at the best use of one: none of it changes what a step does.
_WITHOUT_EFFECT = (
    "accel-bind", "account", "acctg-freq", "bcast-exclude", "cluster-constraint", "clusters", "comment",
    "constraint", "core-spec", "cores-per-socket", "cpu-bind", "cpu-freq", "cpus-per-gpu", "delay-boot",
    "distribution", "exclude", "extra", "extra-node-info", "gpu-freq", "gres-flags", "hint", "licenses", "mail-type",
    "mail-user", "mcs-label", "mem", "mem-bind", "mem-per-cpu", "mem-per-gpu", "mincpus", "msg-timeout", "network",
    "nodefile", "ntasks-per-core", "ntasks-per-socket", "ntasks-per-tres", "oom-kill-step", "partition", "power",
    "prefer", "priority", "profile", "qos", "reservation", "signal", "slurmd-debug", "sockets-per-node", "switches",
    "thread-spec", "threads", "threads-per-core", "time-min", "tmp", "treewidth", "tree-width", "wait-all-nodes",
    "wckey", "begin", "deadline", "dependency",
)  # fmt: skip
_VALUED = (
    "chdir", "cpus-per-task", "error", "export", "gpu-bind", "gpus", "gpus-per-node", "gpus-per-task", "gres",
    "het-group", "ignore-signals", "input", "job-name", "jobid", "mpi", "nodelist", "nodes", "ntasks", "ntasks-per-gpu",
    "ntasks-per-node", "open-mode", "output", "relative", "time", "wait", *_WITHOUT_EFFECT,
)  # fmt: skip
_REFUSED = {
    "bb": "gflow has no burst buffers",
    "bbf": "gflow has no burst buffers",
    "container": "gflow starts no containers; let the command do so (apptainer, podman, docker)",
    "container-id": "gflow starts no containers; let the command do so (apptainer, podman, docker)",
    "epilog": "gflow runs no epilogs",
    "export-file": "gflow takes variables only from the environment",
    "gpus-per-socket": "gflow does not know sockets; give --gpus",
    "no-allocate": "every step has its job",
    "prolog": "gflow runs no prologs",
    "reboot": "gflow does not reboot the machine",
    "task-epilog": "gflow runs no epilogs",
    "task-prolog": "gflow runs no prologs",
    "tres-bind": "give --gpu-bind",
    "tres-per-task": "give --gpus-per-task and --cpus-per-task",
    "gid": "a step runs as the user of its job",
    "uid": "a step runs as the user of its job",
}
_ALIASES = {
    "cpu_bind": "cpu-bind", "mem_bind": "mem-bind", "pack-group": "het-group", "share": "oversubscribe",
    "tasks": "ntasks", "tasks-per-node": "ntasks-per-node", "workdir": "chdir",
}  # fmt: skip
GRAMMAR = getopt.Grammar(
    "srun",
    short=_SHORT,
    flags=_FLAGS,
    valued={*_VALUED, *_REFUSED} - {*_FLAGS},
    may_have_value=_MAY_HAVE_VALUE,
    aliases=_ALIASES,
)
# Options that come as variables, those of the batch script among them; what is typed takes precedence.
_VARIABLES = {
    "SLURM_NPROCS": "ntasks", "SLURM_NTASKS": "ntasks", "SLURM_OVERLAP": "overlap", "SLURM_LABELIO": "label",
    "SLURM_UNBUFFEREDIO": "unbuffered", "SLURM_KILL_BAD_EXIT": "kill-on-bad-exit", "SLURM_WAIT": "wait",
    "SLURM_DISABLE_STATUS": "disable-status", "SLURM_EXACT": "exact", "SLURM_OVERCOMMIT": "overcommit",
    "SLURM_GPU_BIND": "gpu-bind", "SLURM_GPUS_PER_TASK": "gpus-per-task", "SLURM_EXPORT_ENV": "export",
    "SRUN_EXPORT_ENV": "export", "SRUN_OUTPUT": "output", "SRUN_ERROR": "error", "SRUN_INPUT": "input",
    "SLURM_MPI_TYPE": "mpi", "SLURM_OPEN_MODE": "open-mode",
}  # fmt: skip
GPU_OPTIONS = ("gpus", "gpus-per-node", "gpus-per-task", "gres")
_NO = ("", "0", "no")
_WITHOUT_PMI = ("none", "openmpi")  # what starts processes and no more
LONGEST = 9  # digits
MOST_TASKS = 100_000


class Step(Value):
    """What one srun asks for. Mutable only while it is read."""

    __slots__ = (
        "append",
        "chdir",
        "command",
        "cpus",
        "cpus_given",
        "disable_status",
        "error",
        "export",
        "gpu_bind",
        "gpus",
        "gpus_given",
        "gpus_per_task",
        "immediate",
        "input",
        "job",
        "kill_on_bad_exit",
        "label",
        "mpi",
        "multi",
        "name",
        "output",
        "overcommit",
        "overlap",
        "pty",
        "quiet",
        "quit_on_interrupt",
        "tasks",
        "tasks_per_gpu",
        "time",
        "unbuffered",
        "verbose",
        "wait",
        "whole",
    )  # fmt: skip

    def __init__(self) -> None:
        self.command: tuple[str, ...] = ()
        self.tasks: int | None = None
        self.tasks_per_gpu: int | None = None
        self.cpus: int | None = None  # for each task
        self.cpus_given = False  # for this step: then, and with --exact, its CPUs are counted though it names its GPUs
        self.gpus: int | None = None  # of the whole step
        self.gpus_per_task: int | None = None
        self.gpus_given = False
        self.gpu_bind: str | None = None
        self.overlap = self.overcommit = self.whole = self.immediate = False
        self.label = self.unbuffered = self.pty = self.multi = False
        self.quiet = self.verbose = self.disable_status = self.quit_on_interrupt = self.kill_on_bad_exit = False
        self.append = False
        self.output: str | None = None
        self.error: str | None = None
        self.input: str | None = None
        self.chdir: str | None = None
        self.export: str | None = None
        self.job: str | None = None
        self.mpi: str | None = None
        self.name: str | None = None
        self.time: str | None = None
        self.wait = 0


def parse(words: Sequence[str], environ: Mapping[str, str]) -> tuple[Step, list[Pair]]:
    """The step of a command line, and its options as they were given. Raises `Refused` in one line."""
    for word in words:
        if word == "--" or not word.startswith("-"):
            break
        if word.startswith(("--container-", "--no-container-")):
            raise Refused(f"{word.partition('=')[0]}: {_REFUSED['container']}")
    given, command = GRAMMAR.parse(words, mixed=False)
    step = Step()
    names = {name for name, _ in given}
    for pairs, typed in ((_inherited(environ, names), False), (given, True)):
        for name, value in pairs:
            _take(step, name, value, typed=typed)
    if step.cpus is None:
        cpus = environ.get("SLURM_CPUS_PER_TASK") or environ.get("SRUN_CPUS_PER_TASK") or ""
        step.cpus = int(cpus) if cpus.isdecimal() and 0 < len(cpus) <= LONGEST and int(cpus) else None
    if step.overlap and "exclusive" in names:
        raise Refused("--exclusive and --overlap contradict each other")
    step.command = tuple(command)
    return step, given


def _inherited(environ: Mapping[str, str], names: set[str]) -> Iterator[Pair]:
    """The options that come as variables; `names` are those that were typed."""
    for variable, name in _VARIABLES.items():
        value = environ.get(variable, "")
        if name in GPU_OPTIONS and not names.isdisjoint(GPU_OPTIONS):
            continue
        if name in _FLAGS or name == "kill-on-bad-exit":
            if value.lower() not in _NO:
                yield name, None
        elif value:
            yield name, value


_SWITCHES = {
    "pty": "pty", "overlap": "overlap", "overcommit": "overcommit", "label": "label", "unbuffered": "unbuffered",
    "quiet": "quiet", "verbose": "verbose", "disable-status": "disable_status", "multi-prog": "multi",
    "quit-on-interrupt": "quit_on_interrupt",
}  # fmt: skip
_TEXTS = {
    "chdir": "chdir", "error": "error", "export": "export", "gpu-bind": "gpu_bind", "input": "input", "jobid": "job",
    "job-name": "name", "mpi": "mpi", "output": "output", "time": "time",
}  # fmt: skip
_UNLESS_ZERO = {"immediate": "immediate", "kill-on-bad-exit": "kill_on_bad_exit"}
_NUMBERS = {"ntasks": ("tasks", 1), "ntasks-per-gpu": ("tasks_per_gpu", 1), "wait": ("wait", 0)}


def _take(step: Step, name: str, value: str | None, *, typed: bool) -> None:
    """Notes one option; what is in no table has no effect here. Raises `Refused`."""
    text = value or ""
    if name in _REFUSED:
        raise Refused(f"--{name}: {_REFUSED[name]}")
    if name in _SWITCHES:
        setattr(step, _SWITCHES[name], True)
    elif name in _TEXTS:
        setattr(step, _TEXTS[name], text)
    elif name in _UNLESS_ZERO:
        setattr(step, _UNLESS_ZERO[name], text != "0")
    elif name in _NUMBERS:
        field, least = _NUMBERS[name]
        setattr(step, field, _number(name, text, least, MOST_TASKS))
    elif name in GPU_OPTIONS:
        _take_gpus(step, name, text, typed=typed)
    elif name in _OTHERS:
        _OTHERS[name](step, text)


def _take_gpus(step: Step, name: str, text: str, *, typed: bool) -> None:
    count = gres_count(text) if name == "gres" else _gpu_count(name, text)
    if name == "gpus-per-task":
        step.gpus_per_task = count
    else:
        step.gpus = count
    step.gpus_given = step.gpus_given or typed


def _take_tasks_per_node(step: Step, text: str) -> None:
    step.tasks = step.tasks or _number("ntasks-per-node", text, 1, MOST_TASKS)


def _take_cpus(step: Step, text: str) -> None:
    step.cpus, step.cpus_given = _number("cpus-per-task", text, 1), True


def _take_exact(step: Step, text: str) -> None:
    del text  # of --exclusive: whom a job excludes
    step.cpus_given = True


def _take_whole(step: Step, text: str) -> None:
    del text
    step.whole = step.cpus_given = True


def _take_group(step: Step, text: str) -> None:
    del step
    if text not in ("", "0"):
        raise Refused(f"--het-group={text}: gflow has no heterogeneous jobs")


def _take_relative(step: Step, text: str) -> None:
    del step
    if _number("relative", text, 0):
        raise Refused(f"--relative={text}: the job has one node")


def _take_mode(step: Step, text: str) -> None:
    if not text or not ("append".startswith(text) or "truncate".startswith(text)):
        raise Refused(f"--open-mode={text}: give append or truncate")
    step.append = "append".startswith(text)


def _take_nodes(step: Step, text: str) -> None:
    del step
    least, _, most = text.partition("-")
    if _number("nodes", least, 0) > 1:
        raise Refused(f"Only allocated 1 nodes asked for {least}")
    if most:
        _number("nodes", most, 1)


_OTHERS = {
    "ntasks-per-node": _take_tasks_per_node, "cpus-per-task": _take_cpus, "exact": _take_exact,
    "exclusive": _take_exact, "whole": _take_whole, "het-group": _take_group, "relative": _take_relative,
    "open-mode": _take_mode, "nodes": _take_nodes,
}  # fmt: skip


def _number(name: str, text: str, least: int, most: int = 10**LONGEST) -> int:
    if not (text.isdecimal() and text.isascii() and len(text) <= LONGEST and least <= int(text) <= most):
        raise Refused(f'Invalid numeric value "{text}" for --{name}.')
    return int(text)


def _gpu_count(name: str, text: str) -> int:
    """`2`, `a100:2`, or several of these."""
    return sum(_number(name, each.rpartition(":")[2], 0) for each in text.split(","))


def gres_count(text: str) -> int:
    """The GPUs in a list of generic resources; `none` is none. Raises `Refused`."""
    found = 0
    for each in text.split(","):
        parts = each.partition("(")[0].removeprefix("gres/").removeprefix("gres:").split(":")
        if each.lower() == "none":
            continue
        if parts[0] != "gpu" or len(parts) > 3:
            raise Refused(f"Invalid generic resource (gres) specification: {each}")
        last = parts[-1]
        found += _number("gres", last, 0) if len(parts) > 1 and last.isdecimal() else 1
    return found


def why_no_mpi(step: Step, tasks: int, content: bytes) -> str | None:
    """Why a step of several tasks cannot be: each of an MPI program's would believe to be the only one. `content` is
    the beginning of the program's file.
    """
    kind = (step.mpi or "").lower()
    if tasks == 1 or kind == "none":
        return None
    remedy = "gflow's srun has no PMI, so MPI programs are started by mpirun"
    if kind and kind not in _WITHOUT_PMI:
        return f"--mpi={step.mpi}: {remedy}"
    if content.startswith(b"\x7fELF") and any(name in content for name in (b"libmpi.so", b"libmpich.so", b"libmpi_")):
        return f"{step.command[0]} is an MPI program: {remedy} (--mpi=none starts it all the same)"
    return None


def is_here(node: str, hosts: Iterable[str]) -> bool:
    """Whether a list of nodes names no other than this machine."""
    return all(site.node(host) == node or host == "localhost" for host in hosts)
