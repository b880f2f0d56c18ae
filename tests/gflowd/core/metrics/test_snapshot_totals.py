"""What has ended and is still in the snapshot is counted once, and only as long as it is there."""

from __future__ import annotations

from typing import Any

from gflowd.core.accounting.ended_totals import ENDS, JOBS
from gflowd.core.metrics.snapshot_totals import SnapshotTally

SPEC = {"user": "ada", "submitted_at": 1.0}


def end(state: str = "finished") -> dict[str, Any]:
    return {"is": "ended", "state": state, "ended_at": 9.0, "started_at": 3.0}


class Snapshot:
    def __init__(self) -> None:
        self.records: dict[str, dict[Any, Any]] = {"spec": {}, "phase": {}, "wish": {}, "attempt": {}}
        self.tally = SnapshotTally()

    def counts(self, *elsewhere: int) -> tuple[int, int]:
        ended = [(5 if 5 <= job_id < 8 else job_id, job_id) for job_id in self.records["phase"]]
        self.tally.look(self.records.__getitem__, ended, set(elsewhere))
        return self.tally.tally.sum(JOBS), self.tally.tally.sum(ENDS)


def test_what_comes_changes_and_goes() -> None:
    snapshot = Snapshot()
    specs, phases, attempts = (snapshot.records[kind] for kind in ("spec", "phase", "attempt"))
    assert snapshot.counts() == (0, 0)
    specs[1], phases[1] = SPEC, end()
    assert snapshot.counts() == snapshot.counts() == (1, 1)
    specs[5] = SPEC  # an array
    attempts["6.1"] = end("failed")
    assert snapshot.counts() == (1, 2), "a job that was retried has not ended"
    phases[6] = end("cancelled")
    assert snapshot.counts() == (2, 3)
    phases[6] = end("timeout")
    assert snapshot.counts() == (2, 3)
    assert snapshot.tally.tally.total("state")[("cancelled",)].sum(ENDS) == 0
    assert snapshot.counts(5) == (1, 1), "the history has the whole array"
    assert snapshot.counts() == (2, 3)
    del specs[5], phases[6], attempts["6.1"]
    assert snapshot.counts() == (1, 1)
    attempts["0.1"] = end()  # of no job that there is
    assert snapshot.counts() == (1, 1)
    phases.clear()
    assert snapshot.counts() == (0, 0)
    assert not any(map(any, snapshot.tally.tally.numbers.values()))
