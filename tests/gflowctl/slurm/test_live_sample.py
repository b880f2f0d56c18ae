"""What sstat and seff count of a job at this moment."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.specs import SPEC

from gflowctl.slurm.report import live
from gflowd.core.execution.procstat import Process
from gflowd.core.job.model import Identity, Job, Run, Running, Started, Wish
from gflowd.effects import proc
from gflowd.effects.kernel import processes


@pytest.mark.parametrize(("uid", "pids"), [(None, (1, 2)), (1001, (2,))])
def test_of_many_users_only_the_owners_processes_count(
    uid: int | None, pids: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another's may carry the job's mark in its environment, and root sees it there."""
    found = [Process(pid, 1, pid, 5, zombie=False) for pid in (1, 2)]
    monkeypatch.setattr(processes, "members", lambda leaders, _: dict.fromkeys(leaders, found))
    monkeypatch.setattr(processes, "memory", lambda _: 1 << 20)
    monkeypatch.setattr(proc, "owner", lambda pid: {1: 1002, 2: 1001}[pid])
    view = SimpleNamespace(context=SimpleNamespace(state=SimpleNamespace(root="/s")), observed=SimpleNamespace(pid=7))
    started = Started(at=1.0, mono=1.0, identity=Identity("b", 2, 5))
    phase = Running(run=Run(executor="process", launched_at=1.0), started=started)
    seen = live.sample(view, Job(1, SPEC.replace(uid=uid), Wish(), phase))  # type: ignore[arg-type]
    assert seen is not None
    assert (seen.pids, seen.memory_mb) == (pids, len(pids))
