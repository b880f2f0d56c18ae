"""How many jobs each user has queued, counted once and kept up to date, is what a new count would find."""

from __future__ import annotations

from typing import Any

from asking import ADA, ADAS, ENDED, NEW, RUNNING, SPEC, Records, ask

from gflowd.core.admission.known_jobs import KnownJobs
from gflowd.core.job import array_index

ARRAY = {**ADAS, "family": {"ranges": [[1, 3, 1]]}, "project": "p"}


def test_a_job_of_a_name_is_there_until_it_has_ended() -> None:
    records = Records(spec={1: {**ADAS, "name": "night"}, 4: {**ARRAY, "name": "many"}}, phase={1: RUNNING})
    known = KnownJobs(records)
    assert known.has_unended("ada", "night")
    assert not known.has_unended("bob", "night")
    assert not known.has_unended("ada", "day")
    records.of("phase").update({1: ENDED, 4: ENDED, 5: ENDED})
    assert not known.has_unended("ada", "night")
    assert known.has_unended("ada", "many")
    records.of("phase")[6] = ENDED
    assert not known.has_unended("ada", "many")


def test_what_is_counted_stays_right() -> None:
    records = Records(spec={1: ADAS, 4: ARRAY}, phase={4: RUNNING})
    known = KnownJobs(records)
    assert known.queued() == {"user:ada": 3, "project:p": 2}
    changes: list[tuple[str, Any, Any]] = [
        ("wish", 1, {"held": True}), ("wish", 1, {"cancelled_at": 1.0}), ("wish", 1, None), ("phase", 5, RUNNING),
        ("phase", 4, ENDED), ("wish", 4, {"requeued": 1}), ("spec", 9, {**ADAS, "user": "bob"}), ("spec", 4, None),
        ("phase", 4, None), ("spec", 1, {**ADAS, "comment": "c" * 100}), ("quota", "user:ada", {}),
        ("attempt", "4.1", ENDED), ("spec", 20, ARRAY), ("phase", 99, ENDED),
    ]  # fmt: skip
    for kind, key, value in changes:
        if value is None:
            records.of(kind).pop(key)
        else:
            records.of(kind)[key] = value
        known.note([(kind, key)])
        anew = KnownJobs(records)
        for found, fresh in ((known.queued(), anew.queued()), (known.weights(), anew.weights())):
            assert {owner: number for owner, number in found.items() if number} == {**fresh}, (kind, key)


def test_what_was_not_asked_for_is_not_counted() -> None:
    records = Records(spec={1: ADAS})
    KnownJobs(records).note([("spec", 1)])
    known = KnownJobs(records, array_index.of(records.of("spec")))
    known.note([("spec", 1), ("wish", 1)])
    assert known.spec_of(1) == 1
    assert known.queued() == {"user:ada": 1}


def test_a_judge_can_be_given_what_is_kept() -> None:
    records = Records(spec={1: ADAS})
    assert ask(["spec", NEW, SPEC], of=KnownJobs(records)) == ask(["spec", NEW, SPEC], of=records, requester=ADA)  # type: ignore[arg-type]
