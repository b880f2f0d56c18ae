from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.errors import Refused
from gflowd.core.job import reasons, retries, retry_policy
from gflowd.core.job.model import CANCELLED, ENDED_STATES, FAILED, FINISHED, TIMEOUT, Ended
from gflowd.core.job.retries import LONGEST_DELAY
from gflowd.core.job.retry_policy import Retry

DONE = Ended(state=FINISHED, ended_at=9.0, exit_code=0)
CRASH = Ended(state=FAILED, ended_at=9.0, reason=reasons.NON_ZERO_EXIT, exit_code=3)
KILLED = Ended(state=FAILED, ended_at=9.0, reason=reasons.signalled(9), signal=9)
UNSTARTED = Ended(state=FAILED, ended_at=9.0, reason=reasons.launch_failed("no shell"))
ZOMBIE = Ended(state=FAILED, ended_at=9.0, reason=reasons.ZOMBIE)
OOM = Ended(state=FAILED, ended_at=9.0, reason="OutOfMemory", signal=9)
LATE = Ended(state=TIMEOUT, ended_at=9.0, reason=reasons.TIME_LIMIT, exit_code=85)
STOPPED = Ended(state=CANCELLED, ended_at=9.0, reason=reasons.CANCELLED_BY_USER, signal=2)
ORPHAN = Ended(state=CANCELLED, ended_at=9.0, reason="DependencyFailed:4")
HOPELESS = Ended(state=FAILED, ended_at=9.0, reason=reasons.rejected("8 GPUs asked for"))


@pytest.mark.parametrize(
    ("ended", "cause"),
    [
        (DONE, None),
        (CRASH, "failure"),
        (KILLED, "failure"),
        (UNSTARTED, "failure"),
        (ZOMBIE, "zombie"),
        (OOM, "oom"),
        (OOM.replace(state=CANCELLED), "oom"),
        (LATE, "timeout"),
        (STOPPED, None),
        (ORPHAN, None),
        (HOPELESS, None),
    ],
)
def test_what_an_end_counts_as(ended: Ended, cause: str | None) -> None:
    assert retries.cause(ended) == cause


@pytest.mark.parametrize("ended", [CRASH, KILLED, UNSTARTED, ZOMBIE])
def test_failures_and_zombies_are_retried_unless_told_otherwise(ended: Ended) -> None:
    assert retries.next_attempt(Retry(max_retries=1), ended, 1) == 0.0


@pytest.mark.parametrize("ended", [OOM, LATE])
def test_limits_are_not_retried_unless_asked_for(ended: Ended) -> None:
    assert retries.next_attempt(Retry(max_retries=1), ended, 1) is None
    assert retries.next_attempt(Retry(max_retries=1, on=("timeout", "oom")), ended, 1) == 0.0


@pytest.mark.parametrize("ended", [DONE, STOPPED, ORPHAN, HOPELESS])
def test_what_no_attempt_could_mend_is_never_retried(ended: Ended) -> None:
    every = Retry(max_retries=9, on=(*retry_policy.CAUSES, *range(1, 256)))
    assert retries.next_attempt(every, ended, 1) is None


def test_the_budget_is_of_retries() -> None:
    retry = Retry(max_retries=2)
    assert [retries.next_attempt(retry, CRASH, used) for used in (1, 2, 3)] == [0.0, 0.0, None]
    assert retries.next_attempt(Retry(), CRASH, 1) is None


def test_exit_codes_are_causes_of_their_own() -> None:
    assert retries.next_attempt(Retry(max_retries=1, on=(3,)), CRASH, 1) == 0.0
    assert retries.next_attempt(Retry(max_retries=1, on=(4,)), CRASH, 1) is None
    assert retries.next_attempt(Retry(max_retries=1, on=(85,)), LATE, 1) == 0.0
    assert retries.next_attempt(Retry(max_retries=1, on=(137,)), KILLED, 1) == 0.0
    assert retries.next_attempt(Retry(max_retries=1, on=(9,)), KILLED, 1) is None
    assert retries.next_attempt(Retry(max_retries=1, on=(9,)), ZOMBIE, 1) is None


def test_the_delay_grows_by_the_factor_up_to_a_week() -> None:
    retry = Retry(max_retries=10_000, delay=30.0, factor=2.0)
    assert [retries.next_attempt(retry, CRASH, used) for used in (1, 2, 3)] == [30.0, 60.0, 120.0]
    assert retries.next_attempt(retry, CRASH, 20) == LONGEST_DELAY
    assert retries.next_attempt(retry, CRASH, 10_000) == LONGEST_DELAY
    assert retries.next_attempt(retry.replace(delay=0.0), CRASH, 10_000) == 0.0


@given(
    st.floats(0, LONGEST_DELAY),
    st.floats(1, retries.LARGEST_FACTOR),
    st.integers(1, 10**6),
    st.sampled_from(ENDED_STATES),
)
def test_a_delay_never_shrinks_nor_passes_a_week(delay: float, factor: float, used: int, state: str) -> None:
    retry = Retry(max_retries=10**6, on=retry_policy.CAUSES, delay=delay, factor=factor)
    first, second = (retries.next_attempt(retry, DONE.replace(state=state), one) for one in (used, used + 1))
    assert (first is None) == (state in (FINISHED, CANCELLED))
    if first is not None and second is not None:
        assert 0 <= first <= second <= LONGEST_DELAY


@pytest.mark.parametrize(
    ("text", "on"),
    [
        ("failure", ("failure",)),
        ("failure,timeout,3", ("failure", "timeout", 3)),
        (" OOM , 003,zombie,3", ("oom", 3, "zombie")),
        ("255,1", (255, 1)),
    ],
)
def test_what_to_retry_on(text: str, on: tuple[str | int, ...]) -> None:
    assert retries.parse_on(text) == on


@pytest.mark.parametrize("text", ["", "failure,", "crash", "0", "256", "-1", "1.5", "٣", "9" * 5000, "1-3", "\0"])
def test_nothing_else_is_to_be_retried_on(text: str) -> None:
    with pytest.raises(Refused, match="is not a kind of failure") as refusal:
        retries.parse_on(text)
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize(
    ("text", "delay"),
    [
        ("30s", (30.0, 1.0)),
        ("30sx2", (30.0, 2.0)),
        ("1mx1.5", (60.0, 1.5)),
        ("2X2", (120.0, 2.0)),
        ("0", (0.0, 1.0)),
        ("7dx100", (604800.0, 100.0)),
    ],
)
def test_a_delay_with_or_without_its_factor(text: str, delay: tuple[float, float]) -> None:
    assert retries.parse_delay(text) == delay


@pytest.mark.parametrize(
    "text",
    ["", "x", "x2", "30sx", "30sx0.5", "30sx101", "30sx-2", "30sxx2", "30sx1e1", "30sxinf", "30sx1.2.3", "30sx.",
     "8d", "30sx" + "9" * 5000, "30sx" + "1." + "0" * 50, "30 s x 2", "1sx²", "\0"],
)  # fmt: skip
def test_other_delays_are_refused(text: str) -> None:
    with pytest.raises(Refused) as refusal:
        retries.parse_delay(text)
    assert len(str(refusal.value)) < 200


@given(st.one_of(st.text(), st.text(alphabet="0123456789.smhdwx:-", max_size=20)))
def test_any_text_is_a_delay_or_refused(text: str) -> None:
    try:
        delay, factor = retries.parse_delay(text)
    except Refused as error:
        refusal = str(error)
    else:
        assert 0 <= delay <= LONGEST_DELAY
        assert 1 <= factor <= retries.LARGEST_FACTOR
        return
    assert "\n" not in refusal
