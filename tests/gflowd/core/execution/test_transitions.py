from __future__ import annotations

import itertools

import pytest
from support.specs import SPEC

from gflowd.core.execution import transitions
from gflowd.core.execution.observations import Observation
from gflowd.core.job import reasons
from gflowd.core.job.model import (
    CANCELLED,
    ENDED_STATES,
    FAILED,
    FINISHED,
    TIMEOUT,
    Ended,
    Identity,
    Job,
    Pauses,
    Phase,
    Queued,
    Run,
    Running,
    Started,
    Starting,
    Stopping,
    Suspended,
    Wish,
)
from gflowd.core.job.retry_policy import Retry
from gflowd.core.moment import Moment

RUN = Run(executor="tmux", launched_at=90.0, attempt=2, gpu_ids=(1, 2))
STARTED = Started(at=91.0, mono=11.0, identity=Identity("boot", 5, 6))
NOW = Moment(wall=200.0, mono=120.0, boot="boot")
FREE = Wish()
CANCEL = Wish(cancelled_by="u", cancelled_at=150.0)

STARTING = Starting(run=RUN)
RUNNING = Running(run=RUN, started=STARTED)
OVER = Ended(state=FINISHED, ended_at=1.0)
STILL = Wish(suspended=2)  # the attempt of `RUN`
ONCE = Pauses(count=1, seconds=7.0, last_mono=50.0)
SUSPENDED = Suspended(run=RUN, started=STARTED, since_at=170.0, since_mono=90.0, since_boot="boot", pauses=ONCE)


def stopping(
    why: str = reasons.CANCELLED_BY_USER, started: Started | None = STARTED, since_at: float = 150.0
) -> Stopping:
    return Stopping(run=RUN, started=started, why=why, since_at=since_at, since_mono=70.0, since_boot="boot")


def settle(
    phase: Phase, observation: Observation | None = None, wish: Wish = FREE, limit: str | None = None
) -> Phase | None:
    return transitions.settle(Job(7, SPEC, wish, phase), observation, NOW, limit=limit)


def recorded(status: int | None = 0, **fields: object) -> Observation:
    return Observation(started=STARTED, status=status, ended_at=140.0, complete=True).replace(**fields)


def ended(state: str, reason: str | None, **fields: object) -> Ended:
    return Ended(state=state, reason=reason, ended_at=140.0, run=RUN, started_at=91.0).replace(**fields)


LIVES = Observation(started=STARTED, lives=True)
GONE = Observation(started=STARTED)
NOT_YET = Observation()
BARRED = Observation(barred=True)


def test_only_a_queued_job_is_put_off() -> None:
    job = Job(7, SPEC.replace(begin_at=5.0), FREE, Queued())
    put_off = job.replace(phase=transitions.put_off(job, 9.0))
    assert put_off.begin_at == 9.0
    again = put_off.replace(phase=transitions.put_off(put_off, 11.0))
    assert again.begin_at == 11.0
    assert again.replace(wish=Wish(begin_at=7.0)).begin_at == 7.0, "its user wants it earlier"
    assert again.replace(spec=SPEC.replace(begin_at=8.0)).begin_at == 8.0
    with pytest.raises(TypeError):
        transitions.put_off(Job(7, SPEC, FREE, RUNNING), 9.0)


def test_a_queued_job_stays_until_it_is_cancelled() -> None:
    assert settle(Queued()) is None
    assert settle(Queued(), wish=Wish(held=True)) is None
    assert settle(Queued(), wish=CANCEL) == Ended(state=CANCELLED, reason="CancelledByUser", ended_at=200.0)


def test_what_has_ended_stays_ended() -> None:
    for observation in (None, LIVES, GONE, BARRED, recorded(3)):
        for wish in (CANCEL, Wish(held=True), Wish(requeued=9)):
            assert settle(OVER, observation, wish, reasons.TIME_LIMIT) is None


def test_what_lingers_does_so_until_it_was_seen_gone() -> None:
    lingering = OVER.replace(run=RUN, lingers=True)
    for observation in (None, LIVES, recorded(0, lives=True, complete=False)):
        assert settle(lingering, observation, CANCEL, reasons.TIME_LIMIT) is None
    for observation in (GONE, recorded(3)):
        assert settle(lingering, observation) == OVER.replace(run=RUN), "the end stays what it was"


def test_start_and_reject_are_for_queued_jobs() -> None:
    assert transitions.start(Job(7, SPEC, FREE, Queued()), RUN) == STARTING
    rejected = transitions.reject(Job(7, SPEC, FREE, Queued()), "too big", NOW)
    assert rejected == Ended(state=FAILED, reason="Rejected:too big", ended_at=200.0)
    for phase in (STARTING, RUNNING, stopping(), OVER):
        with pytest.raises(ValueError, match="no way"):
            transitions.start(Job(7, SPEC, FREE, phase), RUN)


def test_a_starting_job_runs_once_its_script_was_seen() -> None:
    assert settle(STARTING) is None
    assert settle(STARTING, NOT_YET) is None
    assert settle(STARTING, LIVES) == RUNNING


def test_a_job_over_before_anybody_saw_it_run_ends_at_once() -> None:
    assert settle(STARTING, recorded(0)) == ended(FINISHED, None, exit_code=0)
    assert settle(STARTING, GONE) == ended(FAILED, "Zombie", ended_at=200.0)


def test_a_job_that_never_began_fails_and_says_why() -> None:
    assert settle(STARTING, BARRED) == Ended(state=FAILED, reason="Zombie", ended_at=200.0, run=RUN)
    assert settle(STARTING, BARRED.replace(trouble="tmux: no")) == Ended(
        state=FAILED, reason="LaunchFailed:tmux: no", ended_at=200.0, run=RUN
    )


def test_a_starting_job_that_is_cancelled_stops_until_it_is_barred() -> None:
    for observation in (None, NOT_YET):
        after = settle(STARTING, observation, CANCEL)
        assert after == stopping(started=None, since_at=200.0).replace(since_mono=120.0)
    waiting = stopping(started=None)
    assert settle(waiting, NOT_YET) is None
    assert settle(waiting, BARRED.replace(trouble="CancelledByUser")) == Ended(
        state=CANCELLED, reason="CancelledByUser", ended_at=200.0, run=RUN
    )


def test_a_job_cancelled_while_it_began_is_stopped_like_any_other() -> None:
    after = settle(STARTING, LIVES, CANCEL)
    assert after == stopping(since_at=200.0).replace(since_mono=120.0)
    late = stopping(started=None)
    assert settle(late, LIVES) is None
    assert settle(late, recorded(130, ended_at=160.0)) == ended(CANCELLED, "CancelledByUser", ended_at=160.0, signal=2)
    assert settle(late, GONE) == ended(CANCELLED, "CancelledByUser", ended_at=200.0)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0, (FINISHED, None, 0, None)),
        (1, (FAILED, "NonZeroExit", 1, None)),
        (127, (FAILED, "NonZeroExit", 127, None)),
        (128, (FAILED, "NonZeroExit", 128, None)),
        (129, (FAILED, "Signaled:SIGHUP", None, 1)),
        (137, (FAILED, "Signaled:SIGKILL", None, 9)),
        (192, (FAILED, "Signaled:SIG64", None, 64)),
        (193, (FAILED, "NonZeroExit", 193, None)),
        (255, (FAILED, "NonZeroExit", 255, None)),
    ],
)
def test_the_exit_record_says_how_a_job_ended(status: int, expected: tuple[object, ...]) -> None:
    after = settle(RUNNING, recorded(status))
    assert isinstance(after, Ended)
    assert (after.state, after.reason, after.exit_code, after.signal) == expected
    assert (after.ended_at, after.started_at, after.run) == (140.0, 91.0, RUN)


def test_a_record_that_the_launch_failed_is_a_failure_with_its_reason() -> None:
    for phase in (STARTING, RUNNING):
        assert settle(phase, recorded(None, trouble="cannot enter /x")) == ended(FAILED, "LaunchFailed:cannot enter /x")


def test_a_running_job_stays_while_anything_of_it_lives_or_its_log_is_not_whole() -> None:
    assert settle(RUNNING) is None
    assert settle(RUNNING, LIVES) is None
    assert settle(RUNNING, NOT_YET.replace(lives=True)) is None
    assert settle(RUNNING, recorded(0, lives=True, complete=False)) is None
    assert settle(RUNNING, recorded(0, complete=False)) is None


def test_a_job_that_vanished_is_a_zombie() -> None:
    assert settle(RUNNING, GONE) == ended(FAILED, "Zombie", ended_at=200.0)


def test_a_record_without_a_time_ends_now() -> None:
    assert settle(RUNNING, recorded(0, ended_at=None)) == ended(FINISHED, None, ended_at=200.0, exit_code=0)


def test_a_complete_sight_without_any_record_is_a_zombie() -> None:
    assert settle(RUNNING, recorded(None)) == ended(FAILED, "Zombie")


@pytest.mark.parametrize(
    ("wish", "limit", "strays", "why"),
    [
        (CANCEL, None, False, "CancelledByUser"),
        (CANCEL, "TimeLimit", True, "CancelledByUser"),
        (FREE, "TimeLimit", True, "TimeLimit"),
        (FREE, "OutOfMemory", True, "OutOfMemory"),
        (FREE, None, True, "Strays"),
    ],
)
def test_a_running_job_is_stopped_for_the_first_reason_that_holds(
    wish: Wish, limit: str | None, strays: bool, why: str
) -> None:
    observation = recorded(0, lives=True, complete=False, strays=True) if strays else LIVES
    assert settle(RUNNING, observation, wish, limit) == stopping(why, since_at=200.0).replace(since_mono=120.0)


def test_the_end_is_the_commands_own_when_it_came_before_the_stop() -> None:
    before = recorded(3, ended_at=149.0)
    after = recorded(3, ended_at=151.0)
    for why, state in ((reasons.CANCELLED_BY_USER, CANCELLED), (reasons.TIME_LIMIT, TIMEOUT)):
        assert settle(stopping(why), before) == ended(FAILED, "NonZeroExit", ended_at=149.0, exit_code=3)
        assert settle(stopping(why), after) == ended(state, why, ended_at=151.0, exit_code=3)


def test_a_file_time_that_lags_behind_the_clock_does_not_make_a_stopped_job_finished() -> None:
    tie = recorded(0, ended_at=150.0 - transitions.FILE_TIME_GRAIN / 2)
    assert settle(stopping(), tie) == ended(CANCELLED, "CancelledByUser", ended_at=tie.ended_at, exit_code=0)


def test_a_clock_set_back_after_the_stop_does_not_make_the_end_the_commands_own() -> None:
    phase = stopping(reasons.TIME_LIMIT, since_at=NOW.wall + 86400 - 50)  # 50 s ago
    after = settle(phase, recorded(9, ended_at=NOW.wall - 1))
    assert isinstance(after, Ended)
    assert (after.state, after.reason, after.exit_code) == (TIMEOUT, reasons.TIME_LIMIT, 9)
    earlier = recorded(9, ended_at=NOW.wall - 51)
    assert settle(phase, earlier) == ended(FAILED, reasons.NON_ZERO_EXIT, exit_code=9, ended_at=NOW.wall - 51)
    rebooted = settle(phase.replace(since_boot="another"), recorded(9, ended_at=NOW.wall - 1))
    assert rebooted == ended(FAILED, reasons.NON_ZERO_EXIT, exit_code=9, ended_at=NOW.wall - 1)


def test_over_its_time_limit_the_code_or_signal_is_kept() -> None:
    assert settle(stopping(reasons.TIME_LIMIT), recorded(130, ended_at=151.0)) == ended(
        TIMEOUT, "TimeLimit", ended_at=151.0, signal=2
    )
    assert settle(stopping(reasons.TIME_LIMIT), recorded(7, ended_at=151.0)) == ended(
        TIMEOUT, "TimeLimit", ended_at=151.0, exit_code=7
    )
    assert settle(stopping(reasons.TIME_LIMIT), GONE) == ended(TIMEOUT, "TimeLimit", ended_at=200.0)


def test_over_its_memory_a_job_has_failed() -> None:
    why = reasons.OUT_OF_MEMORY
    assert settle(stopping(why), recorded(137, ended_at=151.0)) == ended(FAILED, why, ended_at=151.0, signal=9)
    assert settle(stopping(why), recorded(0, ended_at=149.0)) == ended(FINISHED, None, ended_at=149.0, exit_code=0)


def test_one_that_wrote_nothing_for_too_long_has_failed() -> None:
    why = reasons.NO_OUTPUT
    assert settle(stopping(why), recorded(130, ended_at=151.0)) == ended(FAILED, why, ended_at=151.0, signal=2)


def test_what_the_kernel_ended_for_want_of_memory_has_failed() -> None:
    starved = recorded(137, starved=True)
    assert settle(RUNNING, starved) == ended(FAILED, "OutOfMemory", signal=9)
    assert settle(stopping(reasons.STRAYS), starved) == ended(FAILED, "OutOfMemory", signal=9)


def test_after_strays_the_end_is_the_commands_whenever_it_came() -> None:
    for ended_at in (149.0, 151.0):
        assert settle(stopping(reasons.STRAYS), recorded(4, ended_at=ended_at)) == ended(
            FAILED, "NonZeroExit", ended_at=ended_at, exit_code=4
        )


def test_a_stopping_job_keeps_its_gpus_while_anything_lives() -> None:
    for observation in (None, NOT_YET.replace(lives=True), LIVES, recorded(0, lives=True, complete=False)):
        assert settle(stopping(), observation) is None
    assert settle(stopping(), recorded(0, complete=False)) is None, "its log is not whole yet"
    assert settle(stopping(), recorded(None, trouble="x", complete=False)) is None
    assert settle(stopping(), LIVES, CANCEL, reasons.TIME_LIMIT) is None


SIGHTS = [
    None,
    *(
        Observation(
            started=started, barred=barred, lives=lives, strays=strays, status=status, trouble=trouble,
            ended_at=ended_at, complete=complete,
        )
        for started, barred, lives, strays, status, trouble, ended_at, complete in itertools.product(
            (None, STARTED), (False, True), (False, True), (False, True), (None, 0, 3, 137),
            (None, "why"), (None, 140.0, 160.0), (False, True),
        )
    ),
]  # fmt: skip
PHASES: list[Phase] = [
    Queued(), STARTING, RUNNING, SUSPENDED, SUSPENDED.replace(without_cpus=True), OVER,
    OVER.replace(run=RUN, lingers=True),
    *(
        stopping(why, started)
        for why in (reasons.CANCELLED_BY_USER, reasons.TIME_LIMIT, reasons.OUT_OF_MEMORY, reasons.STRAYS)
        for started in (None, STARTED)
    ),
]  # fmt: skip


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: type(phase).__name__)
@pytest.mark.parametrize(
    "wish",
    [FREE, CANCEL, Wish(held=True), Wish(requeued=2), STILL, STILL.replace(releases_cpus=True)],
    ids=["free", "cancel", "held", "requeue", "suspend", "release"],
)
@pytest.mark.parametrize("limit", [None, reasons.TIME_LIMIT, reasons.OUT_OF_MEMORY])
def test_whatever_is_seen_only_allowed_moves_are_made(phase: Phase, wish: Wish, limit: str | None) -> None:
    for observation in SIGHTS:
        after = settle(phase, observation, wish, limit)
        if after is None:
            continue
        assert type(after) in transitions.ALLOWED[type(phase)], observation
        assert after == transitions.check(phase, after)
        if isinstance(after, Ended):
            assert after.state in ENDED_STATES
            assert after.exit_code is None or after.signal is None
            assert not after.lingers
            quiet = observation is None or not observation.lives or observation.complete or observation.barred
            assert quiet or isinstance(phase, Queued), "resources freed while it lives"
            assert isinstance(phase, Queued) or after.run == RUN
        elif isinstance(after, Stopping | Suspended | Running | Starting):
            assert after.run == RUN
        # What was settled stays settled: the same sight asks for nothing that is not allowed next.
        settle(after, observation, wish, limit)


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: type(phase).__name__)
def test_with_strays_spared_only_these_outlive_an_end(phase: Phase) -> None:
    for observation in SIGHTS:
        job = Job(7, SPEC, FREE, phase)
        spared = transitions.settle(job, observation, NOW, kill_strays=False)
        usual = transitions.settle(job, observation, NOW)
        if isinstance(usual, Stopping) and usual.why == reasons.STRAYS:
            assert isinstance(spared, Ended)
            assert spared.lingers
            assert observation is not None
            assert (spared.run, spared.started_at, observation.strays) == (RUN, 91.0, True)
        else:
            assert spared == usual
            assert not isinstance(spared, Ended) or not spared.lingers


def test_a_requeued_job_is_stopped_and_a_cancelled_one_rather_cancelled() -> None:
    wish = Wish(requeued=2)
    expected = stopping(reasons.REQUEUED, since_at=200.0).replace(since_mono=120.0)
    assert settle(RUNNING, LIVES, wish) == expected
    assert settle(STARTING, None, wish) == expected.replace(started=None)
    assert settle(RUNNING, LIVES, Wish(requeued=1)) is None, "that was an attempt before this one"
    assert settle(RUNNING, LIVES, CANCEL.replace(requeued=2)) == stopping(since_at=200.0).replace(since_mono=120.0)
    assert settle(Queued(), wish=wish) is None


def again(ended: Ended, wish: Wish = FREE, retry: Retry | None = None) -> Phase | None:
    return transitions.again(Job(7, SPEC.replace(retry=retry), wish, RUNNING), ended, NOW)


FAILURE = ended(FAILED, "NonZeroExit", exit_code=1)


def test_a_failed_attempt_is_followed_by_another_after_its_delay() -> None:
    assert again(FAILURE) is None
    assert again(FAILURE, retry=Retry(max_retries=2)) == Queued(attempt=3, since=140.0)
    delayed = again(FAILURE, retry=Retry(max_retries=2, delay=30.0, factor=2.0))
    assert delayed == Queued(attempt=3, begin_at=200.0, since=140.0)
    assert again(FAILURE, retry=Retry(max_retries=1)) is None, "RUN was the second attempt"
    assert again(ended(TIMEOUT, "TimeLimit"), retry=Retry(max_retries=2)) is None
    assert again(ended(FINISHED, None), retry=Retry(max_retries=2)) is None
    assert again(FAILURE, CANCEL, Retry(max_retries=2)) is None


def test_a_requeued_attempt_is_followed_by_another_however_it_ended() -> None:
    for over in (FAILURE, ended(FINISHED, None), ended(CANCELLED, "Requeued")):
        assert again(over, Wish(requeued=2)) == Queued(attempt=3, since=200.0), (
            "since its user wanted that, as far as we know"
        )
        assert again(over, Wish(requeued=1)) is None
    assert again(Ended(state=CANCELLED, ended_at=1.0), Wish(requeued=1)) == Queued(attempt=2, since=200.0)


def test_nothing_follows_while_something_of_an_attempt_lingers() -> None:
    assert again(FAILURE.replace(lingers=True), Wish(requeued=2), Retry(max_retries=2)) is None


def test_a_job_that_others_made_pointless_is_cancelled() -> None:
    lost = transitions.lose(Job(7, SPEC, FREE, Queued()), reasons.dependency_failed(3), NOW)
    assert lost == Ended(state=CANCELLED, reason="DependencyFailed:3", ended_at=200.0)


def test_out_of_the_end_leads_only_the_queue() -> None:
    assert transitions.check(OVER, Queued(attempt=2)) == Queued(attempt=2)
    for after in (STARTING, RUNNING, stopping()):
        with pytest.raises(ValueError, match="no way"):
            transitions.check(OVER, after)


def test_a_running_job_is_suspended_when_that_is_wished_of_this_attempt() -> None:
    at_once = SUSPENDED.replace(since_at=200.0, since_mono=120.0, pauses=Pauses())
    assert settle(RUNNING, LIVES, STILL) == at_once
    assert settle(RUNNING, None, STILL) == at_once
    assert settle(STARTING, LIVES, STILL) == at_once, "as soon as it runs"
    assert settle(STARTING, NOT_YET, STILL) is None
    assert settle(RUNNING, LIVES, STILL.replace(suspended=1)) is None, "that was an attempt before this one"
    assert settle(RUNNING, LIVES, STILL.replace(releases_cpus=True)) == at_once.replace(without_cpus=True)
    again = settle(RUNNING.replace(pauses=ONCE), LIVES, STILL)
    assert again == at_once.replace(pauses=ONCE)


def test_what_is_over_or_must_end_is_not_suspended() -> None:
    assert settle(RUNNING, recorded(0), STILL) == ended(FINISHED, None, exit_code=0)
    assert settle(RUNNING, recorded(0, complete=False), STILL) is None, "its log has yet to end"
    cancelled = settle(RUNNING, LIVES, CANCEL.replace(suspended=2))
    assert cancelled == stopping(since_at=200.0).replace(since_mono=120.0)


def test_a_suspended_job_goes_on_only_when_it_is_told_to() -> None:
    assert settle(SUSPENDED, LIVES, STILL) is None
    assert settle(SUSPENDED, LIVES, FREE) is None
    after = transitions.go_on(Job(7, SPEC, FREE, SUSPENDED), NOW)
    assert after == RUNNING.replace(pauses=Pauses(count=2, seconds=37.0, last_mono=120.0))
    with pytest.raises(TypeError, match="not suspended"):
        transitions.go_on(Job(7, SPEC, FREE, RUNNING), NOW)


def test_its_cpus_may_be_given_back_later() -> None:
    gives = STILL.replace(releases_cpus=True)
    assert settle(SUSPENDED, LIVES, gives) == SUSPENDED.replace(without_cpus=True)
    assert settle(SUSPENDED.replace(without_cpus=True), LIVES, gives) is None
    assert settle(SUSPENDED.replace(without_cpus=True), LIVES, STILL) is None


def test_a_pause_does_not_count_as_time_that_an_attempt_ran() -> None:
    assert settle(SUSPENDED, recorded(0, ended_at=180.0), STILL) == ended(
        FINISHED, None, ended_at=180.0, exit_code=0, paused=17.0
    ), "it was over ten seconds after it was suspended, whenever that was seen"
    assert settle(SUSPENDED, GONE, STILL) == ended(FAILED, "Zombie", ended_at=200.0, paused=37.0)
    assert settle(SUSPENDED.replace(since_boot="before"), GONE, STILL) == ended(
        FAILED, "Zombie", ended_at=200.0, paused=37.0
    )
    stops = settle(SUSPENDED, LIVES, CANCEL)
    twice = Pauses(count=2, seconds=37.0, last_mono=120.0)
    assert stops == stopping(since_at=200.0).replace(since_mono=120.0, pauses=twice)
    assert isinstance(stops, Stopping)
    assert settle(stops, recorded(130, ended_at=201.0)) == ended(
        CANCELLED, "CancelledByUser", ended_at=201.0, signal=2, paused=37.0
    )
    assert settle(RUNNING.replace(pauses=ONCE), recorded(0)) == ended(FINISHED, None, exit_code=0, paused=7.0)


def test_a_suspended_job_over_its_memory_or_with_strays_is_stopped() -> None:
    for limit, observation, why in (
        (reasons.OUT_OF_MEMORY, LIVES, "OutOfMemory"),
        (None, recorded(0, lives=True, complete=False, strays=True, ended_at=None), "Strays"),
    ):
        after = settle(SUSPENDED, observation, STILL, limit)
        assert isinstance(after, Stopping)
        assert after.why == why


def test_a_job_that_exceeds_a_limit_as_soon_as_it_is_seen_is_stopped() -> None:
    after = settle(STARTING, Observation(started=STARTED, lives=True), limit=reasons.TERMINAL_LOST)
    assert after == stopping(reasons.TERMINAL_LOST, since_at=NOW.wall).replace(since_mono=NOW.mono)


def test_a_job_that_has_lost_its_terminal_is_cancelled() -> None:
    after = settle(stopping(reasons.TERMINAL_LOST), recorded(130, ended_at=160.0))
    assert isinstance(after, Ended)
    assert (after.state, after.reason) == (CANCELLED, reasons.TERMINAL_LOST)
