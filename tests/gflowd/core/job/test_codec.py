import json
from typing import TypeVar

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import specs

from gflowd.core.job import codec, records
from gflowd.core.job.arrays import Axis, Family
from gflowd.core.job.dependencies import KINDS, SINGLETON, Dependency, Needs
from gflowd.core.job.model import (
    Ended,
    GitState,
    Identity,
    Job,
    Pauses,
    Phase,
    Queued,
    Run,
    Running,
    Spec,
    Started,
    Starting,
    Stopping,
    Suspended,
    Tasks,
    Wish,
)
from gflowd.core.job.retry_policy import CAUSES, Retry
from gflowd.storage.record_log import stdlib_dumps

# Floats: moments and lengths of time down to a microsecond; below 1e-4 the two writers choose other digits.
SECONDS = st.floats(1e-4, 1e12) | st.just(0.0) | st.integers(0, 10**12).map(lambda micro: 1.7e9 + micro / 1e6)
T = TypeVar("T")
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)  # no lone surrogates: refused before a line is written
WHOLE = st.integers(0, 2**63)


def maybe(values: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    return st.none() | values


NEEDS = st.builds(
    Needs,
    dependencies=st.lists(
        st.just(Dependency(kind=SINGLETON))
        | st.builds(
            Dependency,
            kind=st.sampled_from([kind for kind in KINDS if kind != SINGLETON]),
            id=st.integers(1, 10**9),
            delay=SECONDS,
            element=st.booleans(),
        ),
        max_size=3,
    ).map(tuple),
    mode=st.sampled_from(["all", "any"]),
    auto_cancel=st.booleans(),
)
RETRIES = st.builds(
    Retry,
    max_retries=st.integers(0, 99),
    on=st.lists(st.sampled_from(CAUSES) | st.integers(1, 255), max_size=3).map(tuple),
    delay=SECONDS,
    factor=SECONDS,
)
PLACES = st.integers(0, 10**6)
AXES = st.builds(Axis, names=st.just(("a", "b")), rows=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple))
FAMILIES = st.builds(
    Family,
    ranges=st.lists(st.tuples(PLACES, PLACES, PLACES), max_size=3).map(tuple),
    axes=st.lists(AXES, max_size=2).map(tuple),
    max_concurrent=maybe(PLACES),
    max_failures=maybe(PLACES),
)
SPECS = st.builds(
    Spec,
    command=st.lists(TEXT, max_size=4).map(tuple),
    name=TEXT,
    user=TEXT,
    cwd=TEXT,
    env=TEXT,
    submitted_at=SECONDS,
    umask=st.integers(0, 0o777),
    script=maybe(TEXT),
    project=maybe(TEXT),
    comment=maybe(TEXT),
    priority=st.integers(0, 255),
    gpus=st.integers(0, 16),
    cpus=st.integers(0, 512),
    memory_mb=maybe(WHOLE),
    time_limit=maybe(SECONDS),
    grace=maybe(SECONDS),
    begin_at=maybe(SECONDS),
    output=maybe(TEXT),
    error=maybe(TEXT),
    input=maybe(TEXT),
    append=st.booleans(),
    executor=maybe(st.sampled_from(["tmux", "process"])),
    submit_dir=maybe(TEXT),
    needs=maybe(NEEDS),
    retry=maybe(RETRIES),
    redone_from=maybe(WHOLE),
    family=maybe(FAMILIES),
    name_template=maybe(TEXT),
    deadline=maybe(SECONDS),
    gpu_prefer=st.lists(TEXT, max_size=3).map(tuple),
    quiet_limit=maybe(SECONDS),
    tasks=maybe(st.builds(Tasks, count=maybe(WHOLE), per_node=maybe(WHOLE), cpus=maybe(WHOLE))),
    exclusive=st.booleans(),
    all_memory=st.booleans(),
    cluster=maybe(TEXT),
)
WISHES = st.builds(
    Wish,
    held=st.booleans(),
    begin_at=maybe(SECONDS),
    cancelled_by=maybe(TEXT),
    cancelled_at=maybe(SECONDS),
    requeued=st.integers(0, 99),
    top_at=maybe(SECONDS),
    released_at=maybe(SECONDS),
    suspended=st.integers(0, 99),
    releases_cpus=st.booleans(),
)
RUNS = st.builds(
    Run,
    executor=st.sampled_from(["tmux", "process", "slurm"]),
    launched_at=SECONDS,
    attempt=st.integers(1, 99),
    gpu_ids=st.lists(st.integers(0, 15), max_size=4).map(tuple),
    cluster=maybe(TEXT),
    cluster_id=maybe(TEXT),
    node=maybe(TEXT),
    remote_gpus=st.integers(0, 9),
)
STARTS = st.builds(Started, at=SECONDS, mono=SECONDS, identity=st.builds(Identity, TEXT, WHOLE, WHOLE))
PAUSES = st.builds(Pauses, count=st.integers(0, 99), seconds=SECONDS, last_mono=SECONDS)
PHASES = st.one_of(
    st.builds(Queued, attempt=st.integers(1, 99), begin_at=maybe(SECONDS), since=maybe(SECONDS)),
    st.builds(Starting, run=RUNS),
    st.builds(Running, run=RUNS, started=STARTS, pauses=PAUSES),
    st.builds(
        Suspended,
        run=RUNS,
        started=STARTS,
        since_at=SECONDS,
        since_mono=SECONDS,
        since_boot=TEXT,
        pauses=PAUSES,
        without_cpus=st.booleans(),
    ),
    st.builds(
        Stopping,
        run=RUNS,
        started=maybe(STARTS),
        why=TEXT,
        since_at=SECONDS,
        since_mono=SECONDS,
        since_boot=TEXT,
        pauses=PAUSES,
    ),
    st.builds(
        Ended,
        state=st.sampled_from(["finished", "failed", "cancelled", "timeout"]),
        ended_at=SECONDS,
        reason=maybe(TEXT),
        run=maybe(RUNS),
        started_at=maybe(SECONDS),
        exit_code=maybe(st.integers(0, 255)),
        signal=maybe(st.integers(1, 64)),
        lingers=st.booleans(),
        paused=SECONDS,
    ),
)


def written(value: object) -> bytes:
    """What both writers make of `value`, which must be the same."""
    text = stdlib_dumps(value)
    assert text == orjson.dumps(value)
    assert orjson.loads(text) == json.loads(text)
    return text


@given(SPECS)
def test_a_spec_comes_back_through_either_writer(spec: Spec) -> None:
    assert codec.decode_spec(orjson.loads(written(codec.encode(spec)))) == spec


@given(WISHES)
def test_a_wish_comes_back_through_either_writer(wish: Wish) -> None:
    assert codec.decode_wish(orjson.loads(written(codec.encode(wish)))) == wish


@given(PHASES)
def test_a_phase_comes_back_through_either_writer(phase: Phase) -> None:
    assert codec.decode_phase(orjson.loads(written(codec.encode_phase(phase)))) == phase


SPEC = specs.SPEC.replace(command=("a", "b"), name="a", submitted_at=1.5)


def test_fields_at_their_default_are_left_out() -> None:
    assert set(codec.encode(SPEC)) == {"command", "name", "user", "cwd", "env", "submitted_at"}
    assert codec.encode(Wish()) == {}
    assert codec.encode_phase(Queued()) == {"is": "queued"}


def test_elements_of_an_array_share_its_spec() -> None:
    made = codec.element(9, SPEC, {"held": True}, {"is": "queued", "attempt": 2}, 7)
    assert made == Job(9, SPEC, Wish(held=True), Queued(attempt=2), 7)
    assert made.spec is SPEC


def test_unknown_fields_are_dropped_at_every_depth() -> None:
    phase = Running(
        run=Run(executor="tmux", launched_at=1.0), started=Started(at=1.0, mono=2.0, identity=Identity("b", 1, 2))
    )
    raw = codec.encode_phase(phase)
    raw["novel"] = {"x": 1}
    raw["run"]["novel"] = raw["started"]["novel"] = raw["started"]["identity"]["novel"] = [1]
    assert codec.decode_phase(raw) == phase
    assert codec.decode_spec({**codec.encode(SPEC), "novel": 1}) == SPEC


def test_lists_become_tuples_again() -> None:
    run = codec.encode(Run(executor="tmux", launched_at=1.0, gpu_ids=(0, 3)))
    phase = codec.decode_phase(json.loads(json.dumps({"is": "starting", "run": run})))
    assert isinstance(phase, Starting)
    assert phase.run.gpu_ids == (0, 3)
    assert codec.decode_spec(json.loads(json.dumps(codec.encode(SPEC)))).command == ("a", "b")


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"is": "dancing"},
        {"is": []},
        [],
        None,
        {"is": "starting"},
        {"is": "starting", "run": 5},
        {"is": "running", "run": {}},
        {"is": "stopping", "run": None},
        {"is": "ended", "state": "failed"},
    ],
)
def test_what_is_no_phase_raises_what_the_docstring_says(raw: object) -> None:
    with pytest.raises((KeyError, TypeError)):
        codec.decode_phase(raw)  # type: ignore[arg-type]


def test_a_spec_without_its_command_is_none() -> None:
    with pytest.raises(TypeError, match="command"):
        codec.decode_spec({"name": "x"})


def test_a_job_just_submitted_has_no_wish_and_is_queued() -> None:
    raw = codec.encode(SPEC)
    assert codec.job(7, raw, None, None) == Job(7, SPEC, Wish(), Queued())
    held = codec.job(7, raw, {"held": True}, {"is": "queued", "attempt": 2})
    assert held == Job(7, SPEC, Wish(held=True), Queued(attempt=2))


def test_there_is_a_tag_for_every_phase() -> None:
    assert set(codec.PHASES.values()) == set(Phase.__args__)


@pytest.mark.parametrize(
    ("ended", "attempt"),
    [
        (Ended(state="failed", ended_at=1.0), 1),
        (Ended(state="cancelled", ended_at=1.0, attempt=3), 3),
        (Ended(state="failed", ended_at=1.0, run=Run(executor="tmux", launched_at=1.0)), 1),
        (Ended(state="failed", ended_at=1.0, run=Run(executor="tmux", launched_at=1.0, attempt=2)), 2),
    ],
)
def test_the_attempt_is_told_without_decoding(ended: Ended, attempt: int) -> None:
    assert records.attempt_of(codec.encode_phase(ended)) == ended.last_attempt == attempt


def test_the_state_of_the_work_tree_comes_back() -> None:
    for git in (GitState(commit="a" * 40, branch="main", dirty=True), GitState(dirty=False), GitState()):
        spec = specs.SPEC.replace(git=git)
        assert codec.decode_spec(json.loads(json.dumps(codec.encode(spec)))) == spec
