"""Which events the words of --notify-on mean."""

from __future__ import annotations

import pytest

from gflowd.core.errors import Refused
from gflowd.core.notify import event_names


def ended(state: str, reason: str | None = None, **more: object) -> dict[str, object]:
    return {"kind": "job_ended", "state": state, "reason": reason, "final": True, **more}


STARTED, AGAIN = {"kind": "job_started"}, {"kind": "job_requeued"}


@pytest.mark.parametrize(
    ("event", "fits"),
    [
        (STARTED, {"begin", "job_started"}),
        (AGAIN, {"requeue", "job_requeued"}),
        (ended("finished"), {"end", "job_completed", "job_ended"}),
        (ended("failed"), {"end", "fail", "job_failed", "job_ended"}),
        (ended("timeout"), {"end", "fail", "time_limit", "job_timeout", "job_ended"}),
        (ended("cancelled", "CancelledByUser"), {"end", "job_cancelled", "job_ended"}),
        (ended("cancelled", "DependencyFailed:3"), {"end", "invalid_depend", "job_cancelled", "job_ended"}),
        ({"kind": "job_ended", "state": "failed", "final": False}, {"job_ended"}),  # it is tried again
        ({"kind": "gpu_recovered"}, {"gpu_recovered", "gpu_available"}),
        ({"kind": "daemon_started"}, {"daemon_started", "scheduler_online"}),
        ({"kind": "reservation_made"}, {"reservation_made", "reservation_created"}),
    ],
)
def test_the_words_that_an_event_fits(event: dict[str, object], fits: set[str]) -> None:
    assert event_names.fitting(event) == {*fits, "*"}
    assert event_names.fitting(event) <= set(event_names.FOR_A_TABLE)


def test_all_and_none_are_as_in_slurm() -> None:
    every = [STARTED, AGAIN, ended("finished"), ended("failed"), ended("timeout"), ended("cancelled")]
    assert all(event_names.told(("all",), event) for event in every)
    assert not any(event_names.told(("none", "all"), event) for event in every)
    assert not any(event_names.told((), event) for event in every)
    assert event_names.told(("fail",), ended("cancelled")) is None
    assert event_names.told(("job_ended", "fail"), ended("timeout")) == "fail"
    assert event_names.told(("all",), {"kind": "job_held"}) is None
    assert event_names.told(("*",), {"kind": "job_held"}) == "*"
    assert event_names.expanded(("all", "time_limit_80")) >= {"time_limit_80", "begin"}


def test_a_whole_array_fits_what_its_jobs_do() -> None:
    assert event_names.of_array({"finished": 3}) == {"end", "job_ended", "*", "job_completed"}
    assert event_names.of_array({"finished": 3, "failed": 1}) >= {"end", "fail", "job_failed"}
    assert event_names.of_array({"timeout": 1, "cancelled": 2}) >= {"time_limit", "fail", "job_cancelled"}


def test_words_are_parsed() -> None:
    assert event_names.parse(["END", " time-limit-80", "end"], event_names.FOR_A_JOB) == ("end", "time_limit_80")
    with pytest.raises(Refused, match=r"'begins' is not an event \(did you mean begin\?\); the events are begin, end"):
        event_names.parse(["begins"], event_names.FOR_A_JOB)
    with pytest.raises(Refused, match="'gpu_vanished' is not an event"):
        event_names.parse(["gpu_vanished"], event_names.FOR_A_JOB)
    with pytest.raises(Refused, match="'' is not an event"):
        event_names.parse([], event_names.FOR_A_TABLE)
