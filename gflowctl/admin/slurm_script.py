"""A job as a script for sbatch(1), and what of it Slurm has no word for. Values in, text out.

The script expects `$GFLOW_EXPORT`, the directory in which the environments and the scripts of jobs are kept.
"""

from __future__ import annotations

import re
import shlex
import time
from math import ceil

from gflowctl.view import jobs
from gflowd.core.execution import job_environment
from gflowd.core.job import array_task, arrays
from gflowd.core.job.model import SLURM, Run
from gflowd.core.slurm.sbatch_semantics import EVENTS
from gflowd.core.syntax import ranges, signal_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gflowctl.admin.slurm_parts import Part
    from gflowd.core.job.model import Job, Spec

ENVIRONMENTS, SCRIPTS = "env", "scripts"  # directories
WHOLE_GPUS = "GPUs are whole there (--shared, --gpu-memory)"
_PLAIN = re.compile(r"[A-Za-z0-9_./:=,%+@-]+")
_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
# What a job has from where it is, not from its submitter.
_OF_PLACE = re.compile(rb"SLURM_.*|GFLOW_.*|CUDA_VISIBLE_DEVICES|PWD|OLDPWD|SHLVL|_")
_TOLD = ("GFLOW_JOB_NAME", "GFLOW_JOB_CPUS", "GFLOW_SUBMIT_DIR", "GFLOW_SCRIPT", "GFLOW_SCRIPT_DIR")
HEAD = """\
export GFLOW_JOB_ID="$SLURM_JOB_ID"
. "$GFLOW_EXPORT/{env}.sh" || exit 1
umask {umask:04o}
cd {cwd} || exit 1
"""
ARRAY = """\
export GFLOW_ARRAY_JOB_ID="$SLURM_ARRAY_JOB_ID" GFLOW_ARRAY_TASK_ID="$SLURM_ARRAY_TASK_ID"
"""
CONDA = """\
eval "$("${{CONDA_EXE:-conda}}" shell.posix hook)" && conda activate {name} || exit 1
"""


def script(part: Part, more: Iterable[str] = ()) -> str:
    """That of a job, or of these elements of one array; `more`: lines of comment."""
    found = part.found
    first, spec = found[0], found[0].spec
    options = "".join(f"#SBATCH {option}\n" for option in _options(part))
    lost = "".join(f"# Not in Slurm: {each}\n" for each in lost_of(spec))
    env = f"{ENVIRONMENTS}/{spec.env}"
    head = HEAD.format(env=env, umask=spec.umask, cwd=shlex.quote(spec.cwd))
    told = "".join(_exports({name: value for name, value in _variables(first).items() if name in _TOLD}))
    conda = "" if spec.conda_env is None else CONDA.format(name=shlex.quote(spec.conda_env))
    array = "".join(_array(part)) if first.array_id is not None else ""
    comment = "".join(f"# {line}\n" for line in more)
    return f"#!/bin/sh\n{options}{lost}{comment}{head}{told}{array}{conda}{_command(found)}"


def environment(variables: Iterable[bytes]) -> bytes:
    """The variables of a submitter, `NAME=value` each, for a shell to read; functions of bash are not among them."""
    lines = [b"# The variables of the submitter. Keep this file to yourself: it may hold passwords.\n"]
    for each in variables:
        name, equals, value = each.partition(b"=")
        if equals and _NAME.fullmatch(name) and not _OF_PLACE.fullmatch(name):
            lines.append(b"export %b='%b'\n" % (name, value.replace(b"'", b"'\\''")))
    return b"".join(lines)


def lost_of(spec: Spec) -> Iterator[str]:
    """What a job has here that it has not there."""
    if spec.shared or spec.gpu_memory_mb is not None:
        yield WHOLE_GPUS
    if spec.gpu_prefer:
        yield "which GPUs it prefers"
    if spec.retry is not None and spec.retry.max_retries:
        yield "retries after a failure"
    if spec.repeat is not None:
        yield "the runs after this one (--repeat); see scrontab(1)"
    if spec.quiet_limit is not None:
        yield "its quiet limit"
    if spec.family is not None and spec.family.max_failures is not None:
        yield "its end after some failures (--max-failures)"
    if spec.family is not None and spec.name_template is not None:
        yield "a name for each element"
    if spec.notify:
        yield "notifications to URLs"
    if spec.early_signal is not None and not spec.early_signal.command_only:
        yield "an early signal to all its processes; its command gets it"


def _array(part: Part) -> Iterator[str]:
    """The variables of an element; in a part of an array they are those of the whole."""
    family = part.found[0].spec.family
    if part.step and family is not None:
        yield f"export SLURM_ARRAY_TASK_ID=$((SLURM_ARRAY_TASK_ID + {part.offset}))\n"
        yield f"export SLURM_ARRAY_TASK_MIN={arrays.least(family)} SLURM_ARRAY_TASK_MAX={arrays.greatest(family)}\n"
        yield f"export SLURM_ARRAY_TASK_COUNT={arrays.size(family)} SLURM_ARRAY_TASK_STEP={arrays.stride(family)}\n"
    yield ARRAY


def _options(part: Part) -> Iterator[str]:
    """The words of sbatch, quoted as it reads them."""
    first = part.found[0]
    spec = first.spec
    for name, value in (*_what(spec), *_resources(spec), *_when(first), *_files(part), *_told(spec)):
        yield f"--{name}" if value is None else f"--{name}={_quoted(value)}"
    if first.array_id is not None:
        yield f"--array={ranges.fold(part.indices)}{'' if part.limit is None else f'%{part.limit}'}"


def _quoted(value: str) -> str:
    """As sbatch reads a word of a line, which can hold no end of line; outside quotes it knows no escaped space."""
    line = " ".join(value.splitlines())
    escaped = line.replace("\\", "\\\\").replace('"', '\\"')
    return line if _PLAIN.fullmatch(line) else f'"{escaped}"'


def _what(spec: Spec) -> Iterator[tuple[str, str | None]]:
    yield "job-name", spec.name
    if spec.comment:
        yield "comment", spec.comment
    if spec.project:
        yield "account", spec.project


def _resources(spec: Spec) -> Iterator[tuple[str, str | None]]:
    yield "nodes", "1"
    tasks = 1 if spec.tasks is None else spec.tasks.count or 1
    yield "ntasks", str(tasks)
    yield "cpus-per-task", str(max(1, ceil(spec.cpus / tasks)))
    if spec.exclusive:
        yield "exclusive", None
    if spec.all_memory:
        yield "mem", "0"
    elif spec.memory_mb:
        yield "mem", f"{spec.memory_mb}M"
    if spec.gpus:
        kind = "" if spec.gpu_type is None else f"{re.sub(r'[^a-z0-9_.-]', '_', spec.gpu_type.lower())}:"
        yield "gres", f"gpu:{kind}{spec.gpus}"


def _when(job: Job) -> Iterator[tuple[str, str | None]]:
    spec = job.spec
    if spec.time_limit is not None:
        yield "time", str(max(1, ceil(spec.time_limit / 60)))
    if spec.early_signal is not None:
        name = signal_names.name(spec.early_signal.number).removeprefix("SIG")
        yield "signal", f"B:{name}@{ceil(spec.early_signal.before)}"
    for name, at in (("begin", job.begin_at), ("deadline", spec.deadline)):
        if at is not None and at > time.time():
            yield name, time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(ceil(at)))
    retry = spec.retry
    yield ("requeue" if retry is not None and "zombie" in retry.on else "no-requeue"), None


def _files(part: Part) -> Iterator[tuple[str, str | None]]:
    spec = part.found[0].spec
    yield "chdir", spec.cwd
    for name, pattern in (("output", spec.output), ("error", spec.error), ("input", spec.input)):
        if pattern is not None:
            yield name, part.pattern(pattern)
    if spec.output is not None or spec.error is not None:
        yield "open-mode", "append" if spec.append else "truncate"


def _told(spec: Spec) -> Iterator[tuple[str, str | None]]:
    """Whom Slurm mails, and of what."""
    events = [word.upper() for word in spec.notify_on if word in EVENTS]
    if events:
        yield "mail-type", ",".join(events)
        if spec.notify_email is not None:
            yield "mail-user", spec.notify_email


def _variables(job: Job) -> dict[str, str]:
    return job_environment.variables(job, Run(executor=SLURM, launched_at=0.0), "", None)


def _command(found: Sequence[Job]) -> str:
    """The command, with the parameters that each element has; a kept script is run by its copy."""
    first = found[0]
    params = first.spec.family is not None and bool(first.spec.family.axes)
    if not params:
        return f"exec {_words(first)}\n"
    lines = ['case "$SLURM_ARRAY_TASK_ID" in\n']
    for job in found:
        given = {f"GFLOW_PARAM_{name}": value for name, value in array_task.parameters(job).items()}
        lines.append(f"{jobs.index(job)})\n{''.join(_exports(given))}set -- {_words(job)} ;;\n")
    return f'{"".join(lines)}*) exit 125 ;;\nesac\nexec "$@"\n'


def _words(job: Job) -> str:
    words = array_task.command(job)
    if job.spec.script is None:
        return shlex.join(words)
    return " ".join((f'"$GFLOW_EXPORT/{SCRIPTS}/{job.spec.script}"', *map(shlex.quote, words[1:])))


def _exports(variables: dict[str, str]) -> Iterator[str]:
    for name, value in variables.items():
        yield f"export {name}={shlex.quote(value)}\n"
