from __future__ import annotations

import pytest

from gflowd.core.job import codec, records
from gflowd.core.job.model import Ended, Identity, Phase, Queued, Run, Running, Started, Starting, Stopping, Suspended

RUN = Run(executor="process", launched_at=1.0, attempt=2)
STARTED = Started(at=1.0, mono=1.0, identity=Identity(boot="b", pid=7, start=1))
ENDED = Ended(state="failed", ended_at=2.0, run=RUN)
PHASES: dict[str, Phase] = {
    records.QUEUED: Queued(attempt=2),
    records.STARTING: Starting(run=RUN),
    records.RUNNING: Running(run=RUN, started=STARTED),
    records.SUSPENDED: Suspended(run=RUN, started=STARTED, since_at=1.0, since_mono=1.0, since_boot="b"),
    records.STOPPING: Stopping(run=RUN, started=STARTED, why="Cancelled", since_at=1.0, since_mono=1.0, since_boot="b"),
    records.ENDED: ENDED,
}


def test_every_phase_has_a_word() -> None:
    assert set(PHASES) == set(codec.PHASES)


@pytest.mark.parametrize("word", PHASES)
def test_a_record_says_its_phase_undecoded(word: str) -> None:
    raw = codec.encode_phase(PHASES[word])
    assert records.phase_name(raw) == word
    assert records.is_queued(raw) == (word == records.QUEUED)
    assert records.is_live(raw) == (word in records.LIVE)
    assert records.has_ended(raw) == (word == records.ENDED)
    assert records.attempt_of(raw) == 2


def test_a_job_without_a_record_is_queued() -> None:
    assert records.phase_name(None) == records.QUEUED
    assert records.is_queued(None)
    assert not records.is_live(None)
    assert not records.has_ended(None)
    assert not records.is_over(None, None)


@pytest.mark.parametrize(
    ("wish", "is_wanted"),
    [
        (None, False),
        ({"held": True}, False),
        ({"requeued": 1}, False),
        ({"requeued": 2}, True),
        ({"requeued": 2, "cancelled_at": 3.0}, False),
    ],
)
def test_an_ended_job_is_wanted_again_when_its_last_attempt_was_to_be_followed(
    wish: dict[str, object] | None, is_wanted: bool
) -> None:
    assert records.is_wanted_again(codec.encode_phase(ENDED), wish) == is_wanted


def test_an_ended_job_is_over_unless_asked_for_again_or_some_process_lives_on() -> None:
    ended = codec.encode_phase(ENDED)
    assert records.is_over(ended, None)
    assert records.is_over(ended, {"held": True})
    assert not records.is_over(ended, {"requeued": 1})
    assert not records.is_over({**ended, "lingers": True}, None)
    assert not records.is_over(codec.encode_phase(Queued()), None)
