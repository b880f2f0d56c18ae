"""Which events the words of --notify-on mean."""

from __future__ import annotations

import pytest

from gflowd.core.errors import Refused
from gflowd.core.notify import words


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
    assert words.fitting(event) == {*fits, "*"}
    assert words.fitting(event) <= set(words.FOR_A_TABLE)


def test_all_and_none_are_as_in_slurm() -> None:
    every = [STARTED, AGAIN, ended("finished"), ended("failed"), ended("timeout"), ended("cancelled")]
    assert all(words.told(("all",), event) for event in every)
    assert not any(words.told(("none", "all"), event) for event in every)
    assert not any(words.told((), event) for event in every)
    assert words.told(("fail",), ended("cancelled")) is None
    assert words.told(("job_ended", "fail"), ended("timeout")) == "fail"
    assert words.told(("all",), {"kind": "job_held"}) is None
    assert words.told(("*",), {"kind": "job_held"}) == "*"
    assert words.expanded(("all", "time_limit_80")) >= {"time_limit_80", "begin"}


def test_a_whole_array_fits_what_its_jobs_do() -> None:
    assert words.of_array({"finished": 3}) == {"end", "job_ended", "*", "job_completed"}
    assert words.of_array({"finished": 3, "failed": 1}) >= {"end", "fail", "job_failed"}
    assert words.of_array({"timeout": 1, "cancelled": 2}) >= {"time_limit", "fail", "job_cancelled"}


def test_words_are_parsed() -> None:
    assert words.parse(["END", " time-limit-80", "end"], words.FOR_A_JOB) == ("end", "time_limit_80")
    with pytest.raises(Refused, match=r"'begins' is not an event \(did you mean begin\?\); the events are begin, end"):
        words.parse(["begins"], words.FOR_A_JOB)
    with pytest.raises(Refused, match="'gpu_vanished' is not an event"):
        words.parse(["gpu_vanished"], words.FOR_A_JOB)
    with pytest.raises(Refused, match="'' is not an event"):
        words.parse([], words.FOR_A_TABLE)
