from __future__ import annotations

from support.specs import SPEC

from gflowd.core.job.model import Identity, Job, Phase, Run, Running, Started, Suspended, Wish
from gflowd.core.planning import unsuspension

RUN = Run(executor="process", launched_at=1.0)
STARTED = Started(at=1.0, mono=1.0, identity=Identity("boot", 5, 6))
RUNNING = Running(run=RUN, started=STARTED)
SUSPENDED = Suspended(run=RUN, started=STARTED, since_at=2.0, since_mono=2.0, since_boot="boot")
GAVE = SUSPENDED.replace(without_cpus=True)
STAYS, GOES_ON = Wish(suspended=1), Wish()


def job(job_id: int, phase: Phase, wish: Wish = GOES_ON, **fields: object) -> Job:
    return Job(job_id, SPEC.replace(**fields), wish, phase)


def ids(found: list[Job]) -> list[int]:
    return [each.id for each in found]


def test_one_that_kept_its_cpus_goes_on_as_soon_as_it_is_wanted() -> None:
    live = [job(1, RUNNING, cpus=4), job(2, SUSPENDED, cpus=2), job(3, SUSPENDED, STAYS)]
    assert ids(unsuspension.may_go_on(live, 4)) == [2], "even where the configuration shrank"
    assert [unsuspension.claimed_cpus(each) for each in live] == [4, 2, 1]


def test_one_that_gave_its_cpus_back_waits_until_they_are_free() -> None:
    live = [job(1, RUNNING, cpus=3), job(2, GAVE, cpus=2), job(3, GAVE, STAYS, cpus=2)]
    assert ids(unsuspension.may_go_on(live, 4)) == []
    assert ids(unsuspension.may_go_on(live, 5)) == [2]
    assert [unsuspension.claimed_cpus(each) for each in live] == [3, 2, 0], "nobody else may have what it waits for"


def test_they_go_on_by_priority_then_age_and_none_overtakes() -> None:
    live = [job(1, GAVE, cpus=1), job(2, GAVE, cpus=3), job(3, GAVE, cpus=1, priority=20), job(4, RUNNING)]
    assert ids(unsuspension.may_go_on(live, 9)) == [3, 1, 2]
    assert ids(unsuspension.may_go_on(live, 3)) == [3, 1]
    assert ids(unsuspension.may_go_on([*live[1:], job(5, GAVE, cpus=1)], 3)) == [3], "the fifth would fit"


def test_on_an_empty_machine_even_one_that_asks_for_too_much_goes_on() -> None:
    assert ids(unsuspension.may_go_on([job(1, GAVE, cpus=9), job(2, RUNNING, cpus=0)], 4)) == [1]
