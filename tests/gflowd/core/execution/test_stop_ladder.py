import pytest
from support import specs

from gflowd.core.execution import stop_ladder
from gflowd.core.execution.grace import grace
from gflowd.core.execution.observations import LiveJob
from gflowd.core.job import reasons
from gflowd.core.job.model import Identity, Started

STARTED = Started(at=1e9, mono=100.0, identity=Identity("boot", 5, 6))


def job(**fields: object) -> LiveJob:
    base = LiveJob(id=1, attempt=1, executor="tmux", grace=10.0, started=STARTED, time_limit=60.0)
    return base.replace(**fields)


def stopping(why: str = reasons.TIME_LIMIT, **fields: object) -> LiveJob:
    return job(why=why, since_mono=200.0, since_boot="boot", **fields)


def test_the_ladder_is_int_then_term_then_kill() -> None:
    assert stop_ladder.steps(stopping()) == (("INT", 200.0), ("TERM", 205.0), ("KILL", 210.0))


def test_strays_are_not_interrupted_but_terminated() -> None:
    assert stop_ladder.steps(stopping(reasons.STRAYS)) == (("TERM", 200.0), ("KILL", 210.0))


def test_a_script_for_slurm_is_terminated_first_and_has_all_its_grace_after() -> None:
    assert stop_ladder.steps(stopping(slurm=True)) == (("TERM", 200.0), ("KILL", 210.0))


def test_the_grace_is_the_jobs_own_else_that_of_the_configuration_else_that_of_slurm_or_ours() -> None:
    of_slurm = specs.SPEC.replace(slurm=True)
    assert [grace(spec, None) for spec in (specs.SPEC, of_slurm)] == [10.0, 30.0]
    assert [grace(spec, 2.0) for spec in (specs.SPEC, of_slurm)] == [2.0, 2.0]
    assert grace(of_slurm.replace(grace=5.0), 2.0) == 5.0


@pytest.mark.parametrize("why", [reasons.STRAYS, reasons.TIME_LIMIT])
def test_without_grace_there_is_only_the_kill(why: str) -> None:
    assert stop_ladder.steps(stopping(why, grace=0.0)) == (("KILL", 200.0),)


def test_unkillable_is_after_a_minute_of_kill() -> None:
    assert not stop_ladder.is_unkillable(stopping(), 269.9)
    assert stop_ladder.is_unkillable(stopping(), 270.0)
    assert not stop_ladder.is_unkillable(job(), 1e6)


def test_what_takes_too_much_memory_is_killed_at_once_and_its_script_later() -> None:
    over = stopping(reasons.OUT_OF_MEMORY)
    assert stop_ladder.steps(over) == (("KILL", 200.0),)
    assert stop_ladder.spares_leader(over, 201.9)
    assert not stop_ladder.spares_leader(over, 202.0)
    assert stop_ladder.is_unkillable(over, 260.0)


def test_the_script_is_spared_until_kill_had_time_for_the_others() -> None:
    assert stop_ladder.spares_leader(stopping(), 211.9)
    assert not stop_ladder.spares_leader(stopping(), 212.0)


def test_each_pause_has_a_step_of_its_own_by_which_it_ends() -> None:
    assert [stop_ladder.continued(count) for count in (1, 2)] == ["CONT.1", "CONT.2"]
