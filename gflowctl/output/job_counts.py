"""How many jobs are in each state and how many GPUs are busy: in a line for people, or in a table."""

from __future__ import annotations

from gflowctl.output import render
from gflowctl.output.render import STATE_COLORS, Column
from gflowctl.view import reasons
from gflowctl.view.jobs import state as state_of
from gflowd.core.job.model import ENDED_STATES, HELD, QUEUED, RUNNING, STARTING, STOPPING, SUSPENDED
from gflowd.core.job.reasons import name as reason_name
from gflowd.core.syntax.plurals import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import Any

    from gflowctl.view.views import View
    from gflowd.core.job.model import Job
    from gflowd.storage.observed_reader import SeenGpu

ORDER = (RUNNING, STARTING, SUSPENDED, STOPPING, QUEUED, HELD, *ENDED_STATES)
IN_USE = ("busy", "shared", "unmanaged")  # states of GPUs


def busy(gpus: Iterable[SeenGpu]) -> int:
    """How many GPUs have a job, or processes that keep jobs from them."""
    return sum(bool(gpu.jobs) or gpu.state in IN_USE for gpu in gpus)


def jobs(numbers: Mapping[str, int]) -> str:
    """`7 running, 205 queued`, from the numbers by state."""
    return ", ".join(f"{numbers[state]} {state}" for state in ORDER if numbers.get(state)) or "no jobs"


def by_state(view: View, found: Iterable[tuple[Job, int]]) -> list[dict[str, Any]]:
    """For each state in which there are jobs, as in JSON: how many, the sums of what they ask for, and the number of
    jobs by reason, the most frequent first. Each of `found` stands for a number of jobs.
    """
    sums: dict[str, dict[str, Any]] = {}
    for job, number in found:
        state = state_of(job)
        one = sums.setdefault(state, {"state": state, "jobs": 0, "gpus": 0, "cpus": 0, "reasons": {}})
        one["jobs"] += number
        one["gpus"] += number * job.spec.gpus
        one["cpus"] += number * job.spec.cpus
        if (why := reasons.reason(view, job)) is not None:
            name = reason_name(why)
            one["reasons"][name] = one["reasons"].get(name, 0) + number
    for one in sums.values():
        one["reasons"] = dict(sorted(one["reasons"].items(), key=lambda pair: -pair[1]))
    return [sums[state] for state in ORDER if state in sums]


def table(sums: Iterable[Mapping[str, Any]], *, color: bool) -> str:
    """What `by_state` found, a line each."""
    shape = [
        Column("STATE", color=lambda state: STATE_COLORS.get(state, "")),
        *(Column(title, right=True) for title in ("JOBS", "GPUS", "CPUS")),
        Column("REASONS", flexible=True),
    ]
    rows = []
    for one in sums:
        why = ", ".join(f"{name} {number}" for name, number in one["reasons"].items())
        rows.append((one["state"], [one["state"], *(str(one[key]) for key in ("jobs", "gpus", "cpus")), why or "-"]))
    return render.table(shape, rows, color=color, columns_wide=render.terminal_columns() if render.is_terminal() else 0)


def words(numbers: Mapping[str, int], gpus: Collection[SeenGpu]) -> str:
    """`7 running, 205 queued; 3 of 4 GPUs busy`."""
    return f"{jobs(numbers)}; {busy(gpus)} of {count(len(gpus), 'GPU')} busy" if gpus else jobs(numbers)
