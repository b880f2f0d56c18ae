"""What was told, in short and again from its checkpoint; the ids and kinds of events."""

from __future__ import annotations

import json

import pytest

from gflowd.core.errors import Refused
from gflowd.core.events import kinds
from gflowd.core.events.told_events import Mark, Submitted, ToldEvents, restored


def event(kind: str, job: int, attempt: int = 1, **fields: object) -> dict[str, object]:
    return {"kind": kind, "job": job, "attempt": attempt, **fields}


def test_a_checkpoint_says_the_same_and_stays_small() -> None:
    told = ToldEvents()
    told.take(event("job_submitted", 1, digest=7, state="queued", count=100_000))
    for job_id in range(1, 100_001):
        told.take(event("job_started", job_id))
        told.take(event("job_ended", job_id))
    told.take(event("job_submitted", 200_000, digest=8, state="held", count=1))
    told.take(event("job_updated", 200_000, digest=9))
    told.take(event("job_updated", 200_001, digest=9))  # of one that was not told
    told.take(event("job_suspended", 200_001, 2, suspensions=3))
    told.take(event("something_else", 1))
    told.take(event("job_requeued", 200_000, 2, at=5.0))
    told.take(event("job_held", 200_000, 2))
    raw = json.dumps(told.checkpoint())
    assert len(raw) < 400
    again = restored(json.loads(raw))
    assert again.jobs == told.jobs
    assert again.specs == {
        1: Submitted(None, "q"), 200_000: Submitted(9, "h"), 200_001: Submitted(9, "q"),
    }  # fmt: skip
    assert again.of_job(200_000, 200_000) == Mark(2, "h")
    assert again.of_job(1, 1) == Mark(1, "e")
    assert again.queued_again == {200_000: 5.0}
    assert again.of_job(200_001, 200_001) == Mark(2, "p", 2)
    assert again.checkpoint() == told.checkpoint()


def test_ids_compare_as_numbers() -> None:
    assert kinds.decode_id("9-10") > kinds.decode_id("9-9") > kinds.decode_id("8-100")
    assert kinds.encode_id(kinds.decode_id("17-204")) == "17-204"
    for text in ("", "17", "17-", "-1", "1-x", "1-1-1", "\u0661-1", "1-" + "9" * 19):
        with pytest.raises(ValueError, match="not the id"):
            kinds.decode_id(text)


def test_kinds_are_chosen_by_their_names_or_first_words() -> None:
    assert kinds.chosen(["job_ended", "job_started"]) == {"job_ended", "job_started"}
    assert kinds.chosen(["job"]) == set(kinds.JOB_KINDS)
    assert kinds.chosen(["daemon", "worker"]) == {"daemon_started", "daemon_stopped", "worker_restarted"}
    with pytest.raises(Refused, match="unknown kind of event 'ended'; the kinds are job,"):
        kinds.chosen(["ended"])


def test_what_is_for_gflow_itself_is_not_shown() -> None:
    assert kinds.shown({"id": "1-1", "digest": 1, "notify": {}}) == {"id": "1-1"}
