"""How the jobs stand, counted from the records of a snapshot."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from gflowd.core.metrics.unended_jobs import LiveJob, Standing, Told, ids, standing

NOW = 1000.0
SPEC = {"user": "ada", "name": "n", "submitted_at": 500.0}
RUN = {"gpu_ids": [0, 2]}


def stand(
    specs: dict[int, Any], phases: dict[int, Any] | None = None, wishes: dict[int, Any] | None = None, **told: Any
) -> Standing:
    records: dict[str, Any] = {"spec": specs, "phase": phases or {}, "wish": wishes or {}}
    return standing(lambda kind: records.get(kind, {}), Told(True, **told), NOW)


def test_jobs_are_counted_by_state_and_the_live_ones_listed() -> None:
    phases = {
        2: {"is": "running", "run": RUN, "started": {"at": 9.0}}, 3: {"is": "starting", "run": {}},
        4: {"is": "ended", "state": "failed"}, 5: {"is": "queued", "attempt": 2},
    }  # fmt: skip
    specs: dict[int, Any] = dict.fromkeys((1, 3, 4, 5, 6), SPEC)
    specs[2] = {**SPEC, "user": "bob", "project": "p", "name_template": "t-{i}"}
    found = stand(specs, phases, {6: {"held": True}})
    assert found.states == {
        ("ada", "", "queued"): 2, ("bob", "p", "running"): 1, ("ada", "", "starting"): 1, ("ada", "", "held"): 1,
    }  # fmt: skip
    assert found.ended == [(4, 4)]
    assert found.live == [
        LiveJob(3, "n", "ada", "", "starting", 0, None), LiveJob(2, "t-{i}", "bob", "p", "running", 2, 9.0),
    ]  # fmt: skip
    assert found.oldest == 500.0


def test_a_job_on_a_cluster_has_its_gpus_once_it_has_begun_there() -> None:
    run = {"cluster": "hpc", "remote_gpus": 4}
    phases = {1: {"is": "starting", "run": run}, 2: {"is": "running", "run": run, "started": {"at": 9.0}}}
    assert stand(dict.fromkeys((1, 2), SPEC), phases).live == [
        LiveJob(1, "n", "ada", "", "starting", 0, None, "hpc"), LiveJob(2, "n", "ada", "", "running", 4, 9.0, "hpc"),
    ]  # fmt: skip


def test_an_array_counts_each_of_its_jobs() -> None:
    for family, size in (
        ({"ranges": [[1, 9, 2], [20, 20, 1]]}, 6),
        ({"axes": [{"rows": [1, 2]}, {"rows": [1] * 3}]}, 6),
    ):
        assert ids(7, {**SPEC, "family": family}) == range(7, 7 + size)
    phases = {7: {"is": "ended", "state": "finished"}}
    found = stand({7: {**SPEC, "family": {"ranges": [[1, 5, 1]]}}}, phases, reasons={8: "Resources"})
    assert (found.states.total(), found.ended) == (4, [(7, 7)])
    assert found.waiting == {"Resources": 4}, "the daemon says it of the first alone"


@pytest.mark.parametrize(
    ("more", "wish", "phase", "reason", "until"),
    [
        ({}, None, None, "Priority", inf),
        ({"needs": {}}, None, None, "Priority", inf),
        ({"needs": {"on": [1]}}, None, None, "Dependency", inf),
        ({"begin_at": 1500.0}, None, None, "BeginTime", 1500.0),
        ({"begin_at": 1500.0}, {"begin_at": 900.0}, None, "Priority", inf),
        ({}, {"held": True, "begin_at": 1500.0}, None, "JobHeldUser", inf),
        ({}, {"held": True, "cancelled_at": 1.0}, None, "CancelledByUser", inf),
        ({}, None, {"is": "queued", "attempt": 2, "begin_at": 1200.0}, "RetryDelay", 1200.0),
        ({"begin_at": 1500.0}, None, {"is": "queued", "begin_at": 1600.0}, "BeginTime", 1600.0),
    ],
)
def test_a_queued_job_has_its_reason_and_its_time(
    more: dict[str, Any], wish: Any, phase: Any, reason: str, until: float
) -> None:
    found = stand({1: {**SPEC, **more}}, {1: phase} if phase else {}, {1: wish} if wish else {})
    assert (found.waiting, found.until) == ({reason: 1}, until)
    assert (found.oldest is None) == (reason in ("JobHeldUser", "BeginTime", "RetryDelay"))


def test_the_daemon_tells_why_unless_it_is_down() -> None:
    for told, reason in (
        (Told(True, {1: "Never:Quota"}), "Never"), (Told(False, {1: "Never:Quota"}), "DaemonDown"),
        (Told(True), "Priority"),
    ):  # fmt: skip
        records: dict[str, Any] = {"spec": {1: SPEC}, "phase": {}, "wish": {}}
        assert standing(records.__getitem__, told, NOW).waiting == {reason: 1}
