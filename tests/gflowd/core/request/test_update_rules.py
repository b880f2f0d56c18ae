from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import specs

from gflowd.core.errors import Refused
from gflowd.core.job import dependencies
from gflowd.core.job.arrays import Family
from gflowd.core.job.dependencies import Needs
from gflowd.core.job.model import ENDED_STATES, QUEUE, STATES, Repeat
from gflowd.core.job.retry_policy import Retry
from gflowd.core.request import update_rules

SPEC = specs.SPEC.replace(
    command=("train.py", "-v"), name="train", user="ada", env="0" * 32, script="1" * 32, gpus=2,
    time_limit=60.0, project="p", priority=50, comment="hm",
)  # fmt: skip


def test_a_queued_job_takes_any_change() -> None:
    changed = update_rules.apply(SPEC, "queued", {"gpus": 1, "memory": 512, "--time": 30.0, "cpus_per_task": 4})
    assert changed == SPEC.replace(gpus=1, memory_mb=512, time_limit=30.0, cpus=4)
    assert update_rules.apply(SPEC, "held", {"priority": 7}) == SPEC.replace(priority=7)


def test_what_is_cleared_is_as_if_it_had_never_been_given() -> None:
    cleared = update_rules.apply(SPEC, "queued", {}, ("gpus", "--time-limit", "priority", "comment"))
    assert cleared == SPEC.replace(gpus=0, time_limit=None, priority=10, comment=None)


def test_nothing_asked_for_changes_nothing() -> None:
    for state in STATES:
        assert update_rules.apply(SPEC, state, {}) == SPEC


def test_a_new_command_replaces_the_script() -> None:
    assert update_rules.apply(SPEC, "queued", {"command": ("true",)}) == SPEC.replace(command=("true",), script=None)
    both = update_rules.apply(SPEC, "queued", {"command": ("other.py",), "script": "2" * 32})
    assert both == SPEC.replace(command=("other.py",), script="2" * 32)


@pytest.mark.parametrize("state", ["starting", "running"])
def test_a_live_job_takes_limits_of_time_and_a_comment(state: str) -> None:
    assert update_rules.apply(SPEC, state, {"time": 5.0}).time_limit == 5.0
    assert update_rules.apply(SPEC, state, {"comment": "x"}, ["time"]) == SPEC.replace(comment="x", time_limit=None)
    why = f"--gpus cannot be changed while the job is {state}; only time, signal, quiet-limit and comment can"
    with pytest.raises(Refused, match=why):
        update_rules.apply(SPEC, state, {"time": 5.0, "gpus": 1})
    with pytest.raises(Refused, match="--priority cannot"):
        update_rules.apply(SPEC, state, {}, ["priority"])


def test_a_stopping_job_takes_only_a_comment() -> None:
    assert update_rules.apply(SPEC, "stopping", {"comment": "x"}).comment == "x"
    with pytest.raises(Refused, match="--time cannot be changed while the job is stopping; only comment can"):
        update_rules.apply(SPEC, "stopping", {"time": 5.0})


@pytest.mark.parametrize("state", ENDED_STATES)
def test_what_has_ended_stays(state: str) -> None:
    with pytest.raises(Refused, match=f"the job has ended \\({state}\\); gflowctl redo"):
        update_rules.apply(SPEC, state, {"comment": "x"})


@pytest.mark.parametrize(
    ("given", "clear", "why"),
    [
        ({"hue": "red"}, (), "'hue' is not an option that can be changed \\(see gflowctl update"),
        ({}, ("hue",), "'hue' is not"),
        ({"project": "q"}, (), "--project cannot be changed: .* fixed at submission"),
        ({}, ("--account",), "--account cannot be changed"),
        ({"time": 5.0}, ("time-limit",), "--time is both set and cleared"),
        ({}, ("command",), "--command cannot be cleared: a job must have one"),
        ({}, ("name",), "--name cannot be cleared"),
        ({"x" * 9000: 1}, (), "is not an option"),
    ],
)
def test_what_may_not_be_is_refused(given: dict[str, object], clear: tuple[str, ...], why: str) -> None:
    with pytest.raises(Refused, match=why) as refusal:
        update_rules.apply(SPEC, "queued", given, clear)
    assert len(str(refusal.value)) < 300


def test_every_row_names_a_field_and_states_that_exist() -> None:
    names = [name for row in update_rules.OPTIONS for name in (row.name, *row.aliases)]
    assert len(set(names)) == len(names)
    assert not set(names) & set(update_rules.IMMUTABLE)
    for row in update_rules.OPTIONS:
        assert {row.field, *row.resets} <= set(SPEC.fields())
        assert set(row.states) <= set(STATES) - set(ENDED_STATES)


ROWS = st.sampled_from(update_rules.OPTIONS)


NEEDS = dependencies.parse("7,singleton", lambda word: [(int(word), False)])
RETRY = Retry(max_retries=3, on=("oom", "zombie"), delay=5.0, factor=2.0)
FAMILY = Family(ranges=((1, 9, 1),), max_concurrent=2, max_failures=3)
COMPOSED = SPEC.replace(needs=NEEDS.replace(auto_cancel=False), retry=RETRY, family=FAMILY)


@pytest.mark.parametrize(
    ("clear", "field", "left"),
    [
        ("depends-on", "needs", None),
        ("dependency", "needs", None),
        ("singleton", "needs", Needs(dependencies=NEEDS.dependencies[:1], auto_cancel=False)),
        ("auto-cancel", "needs", NEEDS),
        ("max-retries", "retry", None),
        ("retry-on", "retry", RETRY.replace(on=("failure", "zombie"))),
        ("retry-delay", "retry", RETRY.replace(delay=0.0, factor=1.0)),
        ("requeue", "retry", RETRY.replace(on=("oom",))),
        ("max-concurrent", "family", FAMILY.replace(max_concurrent=None)),
        ("max-failures", "family", FAMILY.replace(max_failures=None)),
    ],
)
def test_of_a_part_that_is_cleared_the_rest_stays(clear: str, field: str, left: object) -> None:
    assert update_rules.apply(COMPOSED, "queued", {}, [clear]) == COMPOSED.replace(**{field: left})
    assert update_rules.apply(SPEC, "queued", {}, [clear]) == SPEC


def test_several_parts_are_cleared_one_after_the_other() -> None:
    only = COMPOSED.replace(needs=dependencies.ALONE, retry=Retry(max_retries=1, on=("zombie",)))
    assert update_rules.apply(
        only, "queued", {}, ["singleton", "auto-cancel", "requeue", "retry-delay"]
    ) == only.replace(needs=None, retry=None)
    both = update_rules.apply(COMPOSED, "queued", {}, ["retry-on", "retry-delay"])
    assert both.retry == Retry(max_retries=3)


def test_the_rule_of_a_series_cannot_be_cleared_and_its_overlap_can() -> None:
    run = SPEC.replace(repeat=Repeat(rule="daily 02:00", due=5.0, overlap=QUEUE))
    assert update_rules.apply(run, "queued", {}, ["overlap"]).repeat == Repeat(rule="daily 02:00", due=5.0)
    with pytest.raises(Refused, match="gflowctl cancel ends a series"):
        update_rules.apply(run, "queued", {}, ["repeat"])


def test_parameters_cannot_be_cleared() -> None:
    with pytest.raises(Refused, match="--param cannot be cleared; give the value that it had"):
        update_rules.apply(COMPOSED, "queued", {}, ["param"])


def test_the_limits_of_an_array_may_change_while_it_runs() -> None:
    changed = FAMILY.replace(max_concurrent=9)
    assert update_rules.apply(COMPOSED, "running", {"max-concurrent": changed}).family == changed


def test_every_option_has_its_name_told() -> None:
    assert update_rules.names() == tuple(row.name for row in update_rules.OPTIONS)


def test_a_slip_is_told_what_was_meant() -> None:
    with pytest.raises(Refused, match=r"'tiem' is not an option that can be changed \(did you mean time\?\)"):
        update_rules.option("tiem")


def one_a_field(rows: dict[update_rules.Option, int]) -> bool:
    return len({row.field for row in rows}) == len(rows)


@given(st.dictionaries(ROWS, st.integers(1)).filter(one_a_field), st.sets(ROWS), st.sampled_from(STATES))
def test_only_what_was_named_changes(
    given: dict[update_rules.Option, int], clear: set[update_rules.Option], state: str
) -> None:
    try:
        changed = update_rules.apply(
            SPEC, state, {row.name: value for row, value in given.items()}, [r.name for r in clear]
        )
    except Refused:
        return
    named = {field for row in (*given, *clear) for field in (row.field, *row.resets)}
    of_gpus = (
        set(update_rules.OF_GPUS) if named.intersection(update_rules.OF_GPUS) else set()
    )  # they depend on each other
    different = {name for name, value in changed.fields().items() if SPEC.fields()[name] != value}
    assert different <= named | of_gpus
    assert all(getattr(changed, row.field) == value for row, value in given.items() if row.field not in of_gpus)
    assert all(state in row.states for row in (*given, *clear))
