"""Which processes of a control group only keep an attempt: they started its `job.sh`, or take what it writes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowd.core.execution.procstat import Process
    from gflowd.core.job.model import Identity


def without(members: Sequence[Process], leader: Identity | None) -> list[Process]:
    """Those that are not above `job.sh`, as its tmux server is, nor started by one that is, as the writer of its log.

    A job's own process can look like one of these; it gets no signal then but the last, which all get. Once `job.sh` is
    gone nothing keeps it any more.
    """
    by_pid = {process.pid: process for process in members}
    head = None if leader is None else by_pid.get(leader.pid)
    if leader is None or head is None or head.start != leader.start:
        return list(members)
    above = set(_upwards(head, by_pid)) - {head.pid}
    return [process for process in members if not _is_kept(process, head.pid, above, by_pid)]


def _is_kept(process: Process, leader: int, above: set[int], by_pid: dict[int, Process]) -> bool:
    for pid in _upwards(process, by_pid):
        if pid == leader:
            return False
        if pid in above:
            return True
    return False


def _upwards(process: Process, by_pid: dict[int, Process]) -> list[int]:
    """A process, its parent, and so on, as far as they are members."""
    found: list[int] = []
    at: Process | None = process
    while at is not None and at.pid not in found:
        found.append(at.pid)
        at = by_pid.get(at.parent)
    return found
