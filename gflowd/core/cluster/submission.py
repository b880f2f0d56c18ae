"""What sbatch is told of a job: its words, and the script that it keeps, which finds each task's own `job.sh`.

Whoever calls sbatch gives it no environment of gflowd's: jobs bring their own.
"""

from __future__ import annotations

import re
import shlex
from math import ceil
from typing import TYPE_CHECKING

from gflowd.core.cluster import programs, suitability
from gflowd.core.job import array_task
from gflowd.core.syntax import signal_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gflowd.core.cluster.cluster_settings import Cluster
    from gflowd.core.cluster.remote_observations import Offer
    from gflowd.core.job.model import EarlySignal, Job, Spec

MARK = "gflow"  # a mark begins so, and stands where sbatch has a comment
_MARK = re.compile(rf"{MARK}:([^:\s]+):([^:\s]+):([^:\s]+)")
LEAST_MINUTES = 1
LONGEST_NAME = 64  # characters that are passed on


def mark(machine: str, state_id: str, batch: str) -> str:
    """What a batch is known by in Slurm, whatever id that gives it."""
    return f"{MARK}:{_plain(machine)}:{_plain(state_id)}:{batch}"


def batch_of(comment: str, machine: str, state_id: str) -> str | None:
    """The batch that a comment marks, if it is one of ours."""
    match = _MARK.fullmatch(comment.strip())
    ours = match is not None and match.groups()[:2] == (_plain(machine), _plain(state_id))
    return match[3] if match is not None and ours else None


def words(job: Job, cluster: Cluster, offer: Offer | None, now: float) -> tuple[str, ...]:
    """The options of sbatch for a job, or for all elements of an array that are handed over with it; the mark and the
    array are not among them.
    """
    return (
        "--parsable",
        "--no-requeue",  # `job.sh` runs once
        "--output=/dev/null",
        "--error=/dev/null",
        "--chdir=/",
        f"--job-name={_name(job)}",
        *programs.places(cluster, job.spec.project),
        *_resources(job.spec, offer),
        *_times(job.spec, now),
        *cluster.options,
    )


def alike(job: Job) -> object:
    """Equal for elements of an array that can be handed over together."""
    return job.array_id, job.spec, _name(job)


def _name(job: Job) -> str:
    shown = "".join(c if c.isprintable() else "?" for c in array_task.name(job))
    return shown[:LONGEST_NAME]


def _resources(spec: Spec, offer: Offer | None) -> Iterator[str]:
    yield from ("--nodes=1", "--ntasks=1", f"--cpus-per-task={1 if spec.exclusive else max(spec.cpus, 1)}")
    if spec.exclusive:
        yield "--exclusive"
    if spec.all_memory:
        yield "--mem=0"
    elif spec.memory_mb:
        yield f"--mem={spec.memory_mb}M"
    if spec.gpus:
        kind = suitability.gpu_kind(spec, offer)
        yield f"--gres=gpu:{spec.gpus}" if kind is None else f"--gres=gpu:{kind}:{spec.gpus}"


def _times(spec: Spec, now: float) -> Iterator[str]:
    if spec.time_limit is not None:
        yield f"--time={max(LEAST_MINUTES, ceil(spec.time_limit / 60))}"
    if spec.deadline is not None:
        yield f"--deadline=now+{max(1, ceil(spec.deadline - now))}seconds"
    if spec.early_signal is not None:
        yield f"--signal=B:{_signal(spec.early_signal)}@{ceil(spec.early_signal.before)}"


def _signal(early: EarlySignal) -> str:
    return signal_names.name(early.number).removeprefix("SIG")


def script(directories: Mapping[int, str], spec: Spec) -> bytes:
    """What sbatch is given: it runs the `job.sh` of its task, whose output is the log there. `directories` of attempts,
    by the task's number in Slurm; of a batch that is no array, the one without one is 0.

    An early signal reaches this shell alone, which passes it on to all of the job.
    """
    cases = "".join(f"{task}) dir={shlex.quote(path)} ;;\n" for task, path in directories.items())
    run = '/bin/sh "$dir/job.sh" </dev/null >>"$dir/log" 2>&1'
    head = f"#!/bin/sh\n# Written by gflowd.\ncase ${{SLURM_ARRAY_TASK_ID-0}} in\n{cases}*) exit 125 ;;\nesac\n"
    early = spec.early_signal
    tail = f"exec {run}\n" if early is None else _passing_on(_signal(early), 128 + early.number, run)
    return f"{head}{tail}".encode(errors="surrogateescape")


def _passing_on(signal: str, interrupted: int, run: str) -> str:
    """With the job in a session of its own. A shell has SIGINT ignored by what it puts into the background; the job is
    to see it. `interrupted`: what `wait` says when the signal has ended it. If the job has ended by then, too, no
    shell tells how any more (bash 5.2 says -1 from then on), but its record does.
    """
    return (
        'set -- env --default-signal=INT,QUIT\n"$@" true 2>/dev/null || set --\n'
        f'trap \'kill -s {signal} -- "-$!"\' {signal}\nsetsid "$@" {run} &\njob=$!\n'
        'code=0 said=\nwhile wait "$job"; code=$?; kill -s 0 "$job"; do :; done 2>/dev/null\n'
        f'{{ [ "$code" -ne {interrupted} ] || read -r said rest <"$dir/exit"; }} 2>/dev/null\n'
        'case $said in "" | *[!0-9]*) ;; *) code=$said ;; esac\n'
        'exit "$code"\n'
    )


def _plain(word: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", word)
