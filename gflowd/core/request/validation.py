"""Whether a request is valid and can ever be met. Checks and completes specs; reads no file."""

from __future__ import annotations

from gflowd.core.errors import Refused
from gflowd.core.job.model import LONGEST_NAME, LONGEST_STRING, RANGES, is_text
from gflowd.core.job.value_base import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Final

    from gflowd.core.job.model import EarlySignal, Spec

LARGEST_SCRIPT = 16 << 20  # bytes
LONGEST_EXEC = 2_000_000  # bytes of all arguments and variables: 2 MiB minus room for what gflow adds (execve(2))
POINTER = 8  # bytes that the kernel counts in addition for each string
LONGEST_PROJECT = 64  # characters
ONE_BY_ONE = "a job of several gets MIG devices only when --gpu-type names them, such as MIG or 1g.10gb"


class Limits(Value):
    """What a request is held against; None if it is not known."""

    __slots__ = ("cpus", "gpu_models", "gpus", "known_projects", "memory_mb", "require_project")

    def __init__(
        self,
        *,
        gpus: int | None = None,
        cpus: int | None = None,
        memory_mb: int | None = None,
        known_projects: tuple[str, ...] = (),
        require_project: bool = False,
        gpu_models: tuple[tuple[str, int], ...] | None = None,
    ) -> None:
        self.gpus: Final = gpus
        self.gpu_models: Final = gpu_models  # of each GPU its model and memory in MiB
        self.cpus: Final = cpus
        self.memory_mb: Final = memory_mb  # MiB
        self.known_projects: Final = known_projects
        self.require_project: Final = require_project


def of_update(limits: Limits, *, waits: bool) -> Limits:
    """What the change of a job is held against: its project is that of its submission, and once it does not wait any
    more it has what it needs.
    """
    return limits.replace(known_projects=(), require_project=False) if waits else Limits()


def checked(spec: Spec, limits: Limits) -> Spec:
    """`spec` as it is queued, with its project trimmed. Raises `Refused` for an invalid or impossible request."""
    _check_command(spec.command)
    texts = (
        *spec.command, spec.name, spec.cwd, spec.comment, spec.output, spec.error, spec.input, spec.project,
        spec.gpu_type, *spec.gpu_prefer, spec.notify_email, *spec.notify_on, *spec.notify,
    )  # fmt: skip
    for text in texts:
        if text is not None:
            check_text(text)
    if not spec.name.strip():
        raise Refused("a job's name cannot be empty")
    if len(spec.name.encode()) > LONGEST_NAME:
        raise Refused(f"the job's name is longer than {LONGEST_NAME} bytes")
    if spec.early_signal is not None and spec.time_limit is not None:
        _check_warning(spec.early_signal, spec.time_limit)
    if spec.shared and spec.gpu_memory_mb is None:
        raise Refused("a job that shares its GPU must say how much of its memory it uses: --gpu-memory MEM")
    why = why_impossible(spec, limits) if spec.cluster is None else _why_not_on_cluster(spec)
    if why is not None:
        raise Refused(why)
    _check_ranges(spec)
    if not spec.notify_on and (spec.notify or (spec.notify_email is not None and not spec.slurm)):
        spec = spec.replace(notify_on=("end",))  # Slurm tells nothing unless --mail-type says of what
    found = project(spec.project, limits)
    return spec if found == spec.project else spec.replace(project=found)


def _why_not_on_cluster(spec: Spec) -> str | None:
    from gflowd.core.request import cluster_options

    return cluster_options.why_not(spec)


def _check_ranges(spec: Spec) -> None:
    for name, (least, most) in RANGES.items():
        value = getattr(spec, name)
        if value is not None and not least <= value <= most:
            raise Refused(f"{name.replace('_', '-')} {value} is out of range ({least} to {most})")


def _check_warning(early: EarlySignal, time_limit: float) -> None:
    if early.before >= time_limit:
        from gflowd.core.syntax import durations

        raise Refused(
            f"--signal {early.before:g} s before a time limit of {durations.clock(time_limit)}: the job would get it "
            "as it starts; give more --time or a later --signal"
        )


def check_text(text: str) -> None:
    """Raises `Refused` for text that execve(2) or the snapshot cannot hold."""
    if "\0" in text:
        raise Refused(f"{text!r} contains a NUL character")
    if not is_text(text):
        raise Refused(f"{text!r} is not valid UTF-8")


def _check_command(command: Sequence[str]) -> None:
    if not command or not command[0]:
        raise Refused("the command is empty")
    if command[0].startswith("-"):
        raise Refused(f"the command {command[0]!r} begins with a dash; options of gflowctl go before the command")


def why_no_script(head: bytes) -> str:
    """Why a file that begins with these three bytes, of which two are not `#!`, is no script."""
    found = "begins with a byte order mark, not" if head == b"\xef\xbb\xbf" else "does not begin with"
    return f"its first line {found} #!"


def gpu_request(
    number: int | None, kind: str | None, memory_mb: int | None, *, shared: bool, prefer: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The fields of a spec that say which GPUs it wants; `number` is None where none is said. Asking for some kind of
    GPU asks for one; who wants none wants no kind of them.
    """
    if number is None:
        number = int(kind is not None or bool(memory_mb) or shared or bool(prefer))
    if not number:
        return {"gpus": 0, "gpu_type": None, "gpu_memory_mb": None, "gpu_prefer": (), "shared": False}
    return {
        "gpus": number, "gpu_type": kind, "gpu_memory_mb": memory_mb or None, "gpu_prefer": prefer, "shared": shared,
    }  # fmt: skip


def with_gpus(spec: Spec, *, said: bool) -> Spec:
    """`spec`, of which a field of `gpu_request` was changed, as if it had been submitted so; `said`: its number was."""
    number = spec.gpus if said else spec.gpus or None
    asked = gpu_request(number, spec.gpu_type, spec.gpu_memory_mb, shared=spec.shared, prefer=spec.gpu_prefer)
    if all(getattr(spec, name) == value for name, value in asked.items()):
        return spec
    return spec.replace(**asked)


def with_amounts(spec: Spec, changed: Iterable[str]) -> Spec:
    """`spec`, of which the fields `changed` were: CPUs and memory are asked for by number then, and tasks that they do
    not fit are forgotten.
    """
    changes: dict[str, object] = {}
    if "memory_mb" in changed:
        changes["all_memory"] = False
    if "cpus" in changed:
        changes["exclusive"] = False
        tasks = spec.tasks
        if tasks is not None and (tasks.count or 1) * (tasks.cpus or 1) != spec.cpus:
            per_task, left = divmod(spec.cpus, tasks.count or 1)
            changes["tasks"] = tasks.replace(cpus=per_task) if per_task and not left else None
    return spec.replace(**changes) if changes else spec


def check_size(command: Iterable[str], environment: Iterable[bytes], taken: int = 0) -> int:
    """Raises `Refused` if the kernel would not start `command` with `environment` (`NAME=value` each).

    Returns the bytes that these take, plus those already `taken`.
    """
    total = taken
    for text in command:
        total += _size(text.encode(errors="surrogatepass"), f"the argument {text[:20]!r}...")
    for variable in environment:
        total += _size(variable, f"the variable {variable.split(b'=')[0].decode(errors='replace')}")
    if total > LONGEST_EXEC:
        raise Refused(f"arguments and environment take {total} bytes; the limit is {LONGEST_EXEC}")
    return total


def _size(string: bytes, what: str) -> int:
    if len(string) >= LONGEST_STRING:
        raise Refused(f"{what} is {len(string)} bytes long; the limit is {LONGEST_STRING - 1}")
    return len(string) + 1 + POINTER


def why_impossible(spec: Spec, limits: Limits) -> str | None:
    """Why the machine can never run this, as far as known; None if it can. The scheduler uses this too."""
    if limits.gpus is not None and spec.gpus > limits.gpus:
        from gflowd.core.syntax.plurals import count

        return f"{count(spec.gpus, 'GPU')} asked for, but this machine has {limits.gpus or 'none'}"
    if limits.cpus is not None and spec.cpus > limits.cpus:
        from gflowd.core.syntax.plurals import count

        return f"{count(spec.cpus, 'CPU')} asked for, but this machine gives {limits.cpus}"
    if limits.memory_mb is not None and spec.memory_mb is not None and spec.memory_mb > limits.memory_mb:
        from gflowd.core.syntax import memory

        has = memory.show(limits.memory_mb)
        return f"{memory.show(spec.memory_mb)} of memory asked for, but this machine gives {has}"
    return _why_no_gpu(spec, limits.gpu_models)


def _why_no_gpu(spec: Spec, models: tuple[tuple[str, int], ...] | None) -> str | None:
    """Why there are not enough GPUs with the requested type and memory."""
    wanted, least = spec.gpu_type, spec.gpu_memory_mb or 0
    if not models or not spec.gpus:
        return None
    from gflowd.core.request.gpu_match import suits

    fitting = sum(suits(spec, *each) for each in models)
    if fitting >= spec.gpus:
        return None
    of_any_size = spec.replace(gpu_memory_mb=None, gpus=1)
    alike = [memory_mb for model, memory_mb in models if suits(of_any_size, model, memory_mb)]
    if not alike:
        has = ", ".join(dict.fromkeys(model for model, _ in models))
        return f"no GPU of this machine is of type {wanted!r} (they are {has})"
    from gflowd.core.syntax import memory
    from gflowd.core.syntax.plurals import count

    what = count(spec.gpus, "GPU") + (f" of type {wanted!r}" if wanted else "")
    what += f" with {memory.show(least)} (the largest has {memory.show(max(alike))})" if least else ""
    hint = f"; {ONE_BY_ONE}" if fitting < sum(suits(spec.replace(gpus=1), *each) for each in models) else ""
    return f"{what} asked for, but this machine has {fitting or 'none'}{hint}"


def project(code: str | None, limits: Limits) -> str | None:
    """A project's code, trimmed. Raises `Refused` if it is unknown or too long."""
    trimmed = (code or "").strip()
    known = ", ".join(limits.known_projects)
    if not trimmed:
        if limits.require_project:
            raise Refused(f"a project is required; give --project CODE{f' (one of {known})' if known else ''}")
        return None
    if len(trimmed) > LONGEST_PROJECT:
        raise Refused(f"the project code is longer than {LONGEST_PROJECT} characters")
    if limits.known_projects and trimmed not in limits.known_projects:
        raise Refused(f"{trimmed!r} is not a known project (they are {known})")
    return trimmed
