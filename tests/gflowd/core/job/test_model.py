import pytest

from gflowd.core.gpu.device import Gpu
from gflowd.core.job import model
from gflowd.core.job.model import (
    Ended,
    Identity,
    Job,
    Phase,
    Queued,
    Run,
    Running,
    Spec,
    Started,
    Starting,
    Stopping,
    Suspended,
    Wish,
)

SPEC = Spec(command=("true",), name="true", user="ada", cwd="/", env="0" * 32, submitted_at=1.0)
RUN = Run(executor=model.TMUX, launched_at=2.0)
STARTED = Started(at=3.0, mono=30.0, identity=Identity("boot", 4711, 99))
STOPPING = Stopping(run=RUN, started=STARTED, why="TimeLimit", since_at=4.0, since_mono=40.0, since_boot="boot")
SUSPENDED = Suspended(run=RUN, started=STARTED, since_at=4.0, since_mono=40.0, since_boot="boot")


@pytest.mark.parametrize(
    ("phase", "wish", "state"),
    [
        (Queued(), Wish(), "queued"),
        (Queued(), Wish(held=True), "held"),
        (Queued(), Wish(held=True, cancelled_by="ada", cancelled_at=9.0), "queued"),
        (Starting(run=RUN), Wish(held=True), "starting"),
        (Running(run=RUN, started=STARTED), Wish(held=True), "running"),
        (SUSPENDED, Wish(), "suspended"),
        (STOPPING, Wish(), "stopping"),
        (Ended(state="timeout", ended_at=5.0), Wish(), "timeout"),
    ],
)
def test_the_state_is_the_phase_and_held_is_the_wish(phase: Phase, wish: Wish, state: str) -> None:
    assert Job(1, SPEC, wish, phase).state == state
    assert state in model.STATES
    assert model.SHORT_STATES[state]


def test_only_a_phase_with_resources_is_live() -> None:
    live = (Starting(run=RUN), Running(run=RUN, started=STARTED), SUSPENDED, STOPPING)
    assert all(model.is_live(phase) for phase in live)
    assert not model.is_live(Queued())
    assert not model.is_live(Ended(state="finished", ended_at=5.0, run=RUN))


def test_whether_an_attempt_is_to_stand_still_is_the_wish_for_it_alone() -> None:
    for phase in (Starting(run=RUN), Running(run=RUN, started=STARTED), SUSPENDED):
        assert Job(1, SPEC, Wish(suspended=1), phase).is_to_stand_still
        assert not Job(1, SPEC, Wish(suspended=2), phase).is_to_stand_still
    assert not Job(1, SPEC, Wish(suspended=1), Queued()).is_to_stand_still


def test_a_suspended_job_has_its_cpus_until_they_are_given_back() -> None:
    spec = SPEC.replace(cpus=3)
    assert Job(1, spec, Wish(), SUSPENDED).cpus == 3
    assert Job(1, spec, Wish(), SUSPENDED.replace(without_cpus=True)).cpus == 0


def test_the_run_is_the_present_or_last_attempt() -> None:
    assert Job(1, SPEC, Wish(), Queued()).run is None
    assert Job(1, SPEC, Wish(), Starting(run=RUN)).run == RUN
    assert Job(1, SPEC, Wish(), Ended(state="cancelled", ended_at=5.0)).run is None


def test_a_deadline_leaves_room_for_the_time_limit() -> None:
    def latest(**fields: object) -> float | None:
        return Job(1, SPEC.replace(**fields), Wish(), Queued()).latest_start

    assert latest(time_limit=60.0) is None
    assert latest(deadline=100.0) == 100.0
    assert latest(deadline=100.0, time_limit=60.0) == 40.0


def test_the_wish_wins_over_the_begin_time_of_the_spec() -> None:
    later = SPEC.replace(begin_at=100.0)
    assert Job(1, SPEC, Wish(), Queued()).begin_at is None
    assert Job(1, later, Wish(), Queued()).begin_at == 100.0
    assert Job(1, later, Wish(begin_at=0.0), Queued()).begin_at == 0.0


def test_a_retry_begins_after_its_delay_and_not_before_the_begin_time() -> None:
    retry, later = Queued(attempt=2, begin_at=50.0), SPEC.replace(begin_at=100.0)
    assert Job(1, SPEC, Wish(), retry).begin_at == 50.0
    assert Job(1, later, Wish(), retry).begin_at == 100.0
    assert Job(1, later, Wish(begin_at=0.0), retry).begin_at == 50.0
    assert Job(1, SPEC, Wish(), STOPPING).begin_at is None


def test_values_are_equal_by_their_fields_and_not_across_classes() -> None:
    assert Run(executor="tmux", launched_at=2.0) == RUN
    assert hash(Run(executor="tmux", launched_at=2.0)) == hash(RUN)
    assert RUN.replace(attempt=2) != RUN
    assert Starting(run=RUN) != Queued()
    assert Queued() != 1


def test_replace_changes_a_copy_and_knows_its_fields() -> None:
    other = SPEC.replace(gpus=2)
    assert (other.gpus, SPEC.gpus) == (2, 0)
    assert other.fields() == {**SPEC.fields(), "gpus": 2}
    with pytest.raises(TypeError, match="colour"):
        SPEC.replace(colour="red")


def test_a_value_shows_its_fields() -> None:
    assert repr(Identity("b", 1, 2)) == "Identity(boot='b', pid=1, start=2)"


def test_every_slot_is_an_argument_of_the_same_name() -> None:
    gpu = Gpu(index=0, uuid="GPU-1", model="A100", memory_mb=40960)
    for value in (SPEC, Wish(), RUN, STARTED, STARTED.identity, Queued(), STOPPING, gpu):
        assert type(value)(**value.fields()) == value  # type: ignore[arg-type]


def test_the_first_attempt_has_the_plain_session_name() -> None:
    assert model.session_name(42, 1) == "gflow-42"
    assert model.session_name(42, 3) == "gflow-42-3"


def test_short_states_are_the_ones_of_the_manual() -> None:
    assert " ".join(model.SHORT_STATES.values()) == "PD H CF R S CG CD F CA TO"
