"""Usage: seff JOB ...

How much of its CPUs and memory a job used, by what gflow recorded of its last attempt; of a running
job, what it used so far and uses now.
"""

from __future__ import annotations

from gflowctl.output import render
from gflowctl.slurm.report import choice, facts, live
from gflowctl.slurm.report.facts import Facts, Row
from gflowctl.view import lookup
from gflowd.core.errors import Refused
from gflowd.core.job.model import Ended
from gflowd.core.slurm import clock_forms, job_states, job_words, site
from gflowd.core.slurm.getopt import Grammar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gflowctl.context import Context

GRAMMAR = Grammar("seff", short={"d": "debug", "f": "force"}, flags=("debug", "force"))
KIB, UNITS = 1024.0, ("KB", "MB", "GB", "TB", "PB")


def run(words: Sequence[str], context: Context) -> int:
    """Prints the few lines."""
    given = GRAMMAR.parse(words)[1]
    if len(given) != 1:
        raise Refused("give one job, e.g. seff 42 or seff 42_3")
    named = job_words.parse(given[0])
    view = lookup.view(context, [str(each.id) for each in named])
    ids = [job_id for each in named for job_id in choice.ids_of(view, each) or ()]
    if not ids:
        render.write("Job not found.\n")
        return 1
    render.write("".join(f"{line}\n" for line in _lines(Facts(view, context.environ), Row(view.job(ids[0])))))
    return 0


def _lines(told: Facts, row: Row) -> Iterator[str]:
    job, spec = row.job, row.job.spec
    yield f"Job ID: {job.id}"
    if job.array_id is not None:
        yield f"Array Job ID: {told.label(row)}"
    yield f"Cluster: {site.CLUSTER}"
    yield f"User/Group: {spec.user}/{facts.group(spec.user)[1]}"
    ended = job.phase if isinstance(job.phase, Ended) else None
    state = job_states.accounted(row.state)
    yield f"State: {state}" if ended is None else f"State: {state} (exit code {ended.exit_code or 0})"
    if spec.cpus == 1:
        yield "Cores: 1"
    else:
        yield "Nodes: 1"
        yield f"Cores per node: {spec.cpus}"
    if told.started(row) is None:
        yield f"Efficiency not available for jobs in the {state} state."
        return
    used = None if ended is None else ended.used
    wall = int(told.seconds(row))
    held = wall * spec.cpus
    now = live.sample(told.view, job)
    cpu = now.cpu_seconds if now is not None else 0.0 if used is None else used.cpu_seconds or 0.0
    yield f"CPU Utilized: {clock_forms.whole(cpu)}"
    yield f"CPU Efficiency: {_percent(cpu, held)} of {clock_forms.whole(held)} core-walltime"
    yield f"Job Wall-clock time: {clock_forms.whole(wall)}"
    memory = now.memory_mb if now is not None else 0.0 if used is None else used.memory_mb or 0.0
    yield f"Memory Utilized: {_memory(memory)}"
    yield f"Memory Efficiency: {_percent(memory, spec.memory_mb or 0)} of {_memory(spec.memory_mb or 0)}"
    if ended is None:
        yield f"WARNING: Efficiency statistics may be misleading for {state} jobs."


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole if whole else 0:.2f}%"


def _memory(mib: float) -> str:
    amount, place = mib * KIB, 0
    while amount >= KIB and place < len(UNITS) - 1:
        amount, place = amount / KIB, place + 1
    return f"{amount:.2f} {UNITS[place]}"
