"""The GPUs as the daemon last saw them, and the orders about them in the snapshot."""

from __future__ import annotations

import time

from gflowd.core.errors import Refused
from gflowd.core.gpu.admin_state import ALLOW
from gflowd.core.job.reasons import IDLE_GPUS
from gflowd.core.job.records import SETTING
from gflowd.core.syntax import ranges
from gflowd.core.syntax.plurals import noun
from gflowd.storage.record_log import Fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping
    from typing import Any

    from gflowctl.context import Context
    from gflowd.storage.observed_reader import Observed, SeenGpu
    from gflowd.storage.store import Commit

FIRST_LOOK, LOOK_AGAIN = 10.0, 0.05  # seconds


def all_of(context: Context) -> list[SeenGpu]:
    """Every GPU by index. Raises `Refused` if none is known."""
    seen = _settled(context)
    if not seen.is_known:
        context.state.check()
        raise Refused(f"gflowd has not polled the GPUs yet; {context.start_command}")
    if not (found := seen.gpus):
        raise Refused(seen.gpu_trouble or "gflowd knows of no GPUs on this machine")
    return found


def _settled(context: Context) -> Observed:
    """What the daemon last saw; waits for one that has just started."""
    deadline = time.monotonic() + FIRST_LOOK
    while (seen := context.observed).is_known and time.monotonic() < deadline:
        if seen.gpu_count is not None or seen.gpus or seen.gpu_trouble or not context.daemon_runs:
            break
        time.sleep(LOOK_AGAIN)
        context.forget()
    return seen


def one(context: Context, index: int) -> SeenGpu:
    """The GPU with this index. Raises `Refused`."""
    found = all_of(context)
    for gpu in found:
        if gpu.index == index:
            return gpu
    indices = ",".join(str(gpu.index) for gpu in found)
    raise Refused(f"no GPU {index}; there {noun(len(found), 'is', 'are')} {indices}")


def order(context: Context, name: str) -> Any:
    """The current order; None if there is none."""
    return _fold(context).of(SETTING).get(name)


class Allowed:
    """The GPUs that jobs may use, None for all; `by` what says so, None for the default; `over` what else says so, to
    no effect.
    """

    __slots__ = ("by", "gpus", "over")

    def __init__(self, context: Context) -> None:
        asked, configured = order(context, ALLOW), context.observed.config or {}
        self.gpus: list[int] | None = configured.get("gpu_allow")
        self.by: str | None = configured.get("gpu_allow_by")
        self.over: str | None = None
        if asked is not None:
            self.gpus, self.by, self.over = asked["gpus"], "gflowctl gpus allow", self.by

    def fields(self) -> dict[str, Any]:
        """The object of `--json`."""
        return {"gpus": self.gpus, "by": self.by, "over": self.over}

    def words(self) -> str:
        """`jobs may use GPU 0 only (gflowctl gpus allow, which takes precedence over ~/.config/gflow/gflow.toml)`."""
        may = "every GPU" if self.gpus is None else f"GPU {ranges.fold(self.gpus)} only"
        over = f", which takes precedence over {self.over}" if self.over else ""
        return f"jobs may use {may} ({self.by or 'the default'}{over})"


def change(context: Context, name: str, change: Callable[[Any], Any]) -> bool:
    """Replaces an order (None: none) by the result of `change`, and wakes the daemon; returns whether it changed."""
    if change(order(context, name)) == order(context, name):
        return False

    def decide(commit: Commit) -> bool:
        before = commit.fold().of(SETTING).get(name)
        after = change(before)
        if after != before:
            commit.put(SETTING, name, after)
        return bool(after != before)

    changed = context.change(decide)
    context.ring(b"w")
    return changed


def _fold(context: Context) -> Fold:
    """The snapshot; does not create it."""
    return context.store.read() if context.state.has_snapshot() else Fold()


def used_by(gpu: SeenGpu, idle: Container[int] = (), named: Callable[[int], str] = str) -> str:
    """What uses a GPU: `job 12, pid 4711 of ada, pid 900 of root (graphics)`; jobs that are `idle` are marked."""
    jobs = [f"job {named(job_id)}{f' ({IDLE_GPUS})' * (job_id in idle)}" for job_id in gpu.jobs]
    strangers = [
        f"pid {process.pid} of {process.user}{' (graphics)' if process.graphics else ''}"
        for process in gpu.processes
        if process.job_id is None
    ]
    return ", ".join([*jobs, *strangers])


def idle_jobs(gpu: SeenGpu, reasons: Mapping[int, str]) -> list[int]:
    """The jobs on a GPU that the daemon marked, in `reasons`, as leaving their GPUs idle."""
    return [job_id for job_id in gpu.jobs if reasons.get(job_id) == IDLE_GPUS]
