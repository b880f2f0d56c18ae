"""Requests as tests make them: who asks, of which records, and what becomes of it."""

from __future__ import annotations

from typing import Any

from gflowd.core.admission.judge import judge
from gflowd.core.admission.policy import Policy
from gflowd.core.admission.requester import Requester
from gflowd.core.job import codec
from gflowd.core.job.model import Ended, Identity, Run, Running, Started
from gflowd.core.job.records import PROVISIONAL
from gflowd.core.request.validation import Limits

NEW = PROVISIONAL
NOW = 1_000_000.0
ADA, BOB = Requester(1001, "ada"), Requester(1002, "bob")
OPERATOR, ROOT = Requester(1003, "op", is_operator=True), Requester(0, "root", is_operator=True)
LIMITS = Limits(gpus=4, cpus=8, memory_mb=16_000)
SPEC: dict[str, Any] = {"command": ["true"], "name": "x", "cwd": "/tmp", "env": "0" * 32}
ADAS = {**SPEC, "user": "ada", "uid": 1001, "submitted_at": 5.0}
RUN = Run(executor="process", launched_at=1.0, gpu_ids=(0,))
STARTED = Started(at=1.0, mono=1.0, identity=Identity("b", 1, 1))
RUNNING = codec.encode_phase(Running(run=RUN, started=STARTED))
ENDED = codec.encode_phase(Ended(state="failed", ended_at=2.0, run=RUN, exit_code=1))


class Records:
    """The records of a snapshot, by kind: `Records(spec={1: ...}, phase={...})`."""

    def __init__(self, **kinds: dict[Any, Any]) -> None:
        self.kinds = kinds

    def of(self, kind: str) -> dict[Any, Any]:
        return self.kinds.setdefault(kind, {})


def ask(
    *asked: Any,
    of: Records | None = None,
    requester: Requester = ADA,
    policy: Policy | None = None,
    limits: Limits = LIMITS,
    next_id: int = 100,
    now: float = NOW,
    **more: Any,
) -> list[Any]:
    """What is written for the records `asked`."""
    return judge(asked, of or Records(), requester, policy or Policy(), limits, next_id, now, **more)
