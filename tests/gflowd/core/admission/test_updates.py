"""What may become of the specs of jobs: by options of `update`, in the states that allow them, and for whom."""

from __future__ import annotations

from typing import Any

import pytest
from asking import ADA, ADAS, ENDED, NEW, NOW, OPERATOR, ROOT, RUNNING, SPEC, Records, ask

from gflowd.core.admission.policy import Policy
from gflowd.core.errors import Refused
from gflowd.core.job import codec
from gflowd.core.job.model import STATES
from gflowd.core.request import update_rules
from gflowd.core.request.validation import Limits

SERIES = {**ADAS, "repeat": {"rule": "every 60s", "due": 5.0, "series": 3}}
ARRAY = {**ADAS, "family": {"ranges": [[1, 3, 1]]}}
SWEEP = {**ADAS, "family": {"axes": [{"names": ["a"], "rows": [["1"], ["2"], ["3"]]}]}}
VALUES: dict[str, Any] = {  # of each option, what a changed job may have
    "gpus": 2, "gpu-type": "h100", "gpu-prefer": ("0",), "gpu-memory": 5, "cpus": 3, "memory": 7, "time": 60.0,
    "grace": 5.0, "quiet-limit": 9.0, "priority": 3, "begin": 7.0, "deadline": 9.0, "name": "y", "comment": "c",
    "command": ("y",), "script": "f" * 32, "output": "/o", "error": "/e", "input": "/i", "append": True,
    "executor": "tmux", "conda-env": "c", "notify-email": "ada", "notify-on": ("end",), "notify": ("https://a/b",),
}  # fmt: skip


@pytest.mark.parametrize("state", STATES)
def test_what_an_option_may_change_may_be_changed_by_a_record_and_nothing_else(state: str) -> None:
    old = codec.decode_spec(ADAS)
    for name, value in VALUES.items():
        option = update_rules.option(name)
        new = old.replace(**{option.field: value})
        if state in option.states:
            update_rules.check_changed(old, update_rules.apply(old, state, {name: value}), state)
            update_rules.check_changed(old, new, state)
            continue
        with pytest.raises(Refused) as by_option:
            update_rules.apply(old, state, {name: value})
        with pytest.raises(Refused) as by_record:
            update_rules.check_changed(old, new, state)
        assert str(by_record.value) == str(by_option.value)


REFUSED: list[tuple[dict[str, Any], dict[str, Any], Any, str]] = [
    # the spec, what is to be different, the phase, why not
    (ADAS, {"env": "1" * 32}, None, "env cannot be changed: the environment of a job is fixed at submission"),
    (ADAS, {"umask": 0}, None, "umask cannot be changed: it is fixed at submission"),
    (ADAS, {"relay": "r"}, None, "relay cannot be changed: it is fixed at submission"),
    (ADAS, {"batch": 1}, None, "batch cannot be changed"),
    (ADAS, {"redone_from": 1}, None, "redone-from cannot be changed"),
    (ADAS, {"family": {"ranges": [[1, 3, 1]]}}, None, "axes cannot be changed: the elements of a sweep are fixed"),
    (ARRAY, {"family": None}, None, "axes cannot be changed"),
    (ARRAY, {"family": {"ranges": [[1, 4, 1]]}}, None, "ranges cannot be changed: the elements of an array are fixed"),
    (ADAS, {"repeat": SERIES["repeat"]}, None, "--repeat is for series; submit the job with --repeat"),
    (SERIES, {"repeat": None}, None, "--repeat cannot be cleared; gflowctl cancel ends a series"),
    (SERIES, {"repeat": {**SERIES["repeat"], "series": 4}}, None, "the series of a run cannot be changed"),
    (SERIES, {"needs": {"dependencies": [{"kind": "singleton"}]}}, None, "it is a run of a series, which only waits"),
    (SERIES, {"deadline": NOW + 9}, None, "it is a run of a series, which has no deadline"),
    (SERIES, {"repeat": {**SERIES["repeat"], "rule": "sometimes"}}, None, "'sometimes' is no rule"),
    (SERIES, {"repeat": {**SERIES["repeat"], "rule": "every  60s"}}, None, "'every  60s' is not a rule as it is kept"),
    (SERIES, {"repeat": {**SERIES["repeat"], "zone": "Mars"}}, None, "'Mars'"),
    (ADAS, {"needs": {"dependencies": [{"kind": "afterok", "id": 8}]}}, None, "no job 8"),
    (ADAS, {"deadline": 5.0}, None, "the deadline has passed"),
    (ADAS, {"gpus": 9}, None, "9 GPUs asked for, but this machine has 4"),
    (ADAS, {"output": "o"}, None, "output 'o' is not an absolute path"),
    (ADAS, {"error": "/%q"}, None, "'/%q': %q is not a pattern"),
    (ADAS, {"conda_env": "-n"}, None, "'-n' cannot be the name of an environment"),
    (ADAS, {"asked": ["gpus"]}, None, "'gpus' is not NAME=VALUE"),
    (ADAS, {"notify": ["nowhere"]}, None, "is not a URL"),
    (ADAS, {"notify_email": "-f"}, None, "'-f' is not an address for mail"),
    (ADAS, {"notify_on": ["rain"]}, None, "'rain' is not an event"),
    (ADAS, {"notify_on": ["END"]}, None, "'END' are not events as they are kept"),
    (ADAS, {"name": "y"}, RUNNING, "--name cannot be changed while the job is running"),
    (ADAS, {"comment": "c"}, ENDED, "--comment cannot be changed: the job has ended (failed)"),
    (SWEEP, {"family": {**SWEEP["family"], "edits": [["a", [[0, 0, 1]], "9"]]}}, RUNNING,
     "--param cannot be changed: 7_0 is running"),
    (ARRAY, {"gpus": 1}, RUNNING, "its resources cannot be changed, 7_1 is running"),
    (ARRAY, {"output": "/o"}, ENDED, "its files cannot be changed, 7_1 is failed"),
    ({**ARRAY, "output": "/%x"}, {"name": "y"}, ENDED, "its files cannot be changed, 7_1 is failed"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "changed", "phase", "why"), REFUSED)
def test_what_may_not_become_of_a_spec(spec: Any, changed: Any, phase: Any, why: str) -> None:
    records = Records(spec={7: spec}, phase={} if phase is None else {7: phase})
    for requester in (ADA, ROOT):
        with pytest.raises(Refused) as caught:
            ask(["spec", 7, {**spec, **changed}], of=records, requester=requester)
        assert str(caught.value).startswith("job 7: ")
        assert why in str(caught.value)


GRANTED: list[tuple[dict[str, Any], dict[str, Any], Any]] = [
    (ADAS, {"needs": {"dependencies": [{"kind": "afterok", "id": 3}]}}, None),
    (ADAS, {"deadline": NOW + 9}, None),
    (ADAS, {"asked": ["gpus=1"], "slurm": True}, None),
    (ADAS, {"notify": ["https://a/b"], "notify_email": "ada", "notify_on": ["end"]}, None),
    (ADAS, {"output": "/o", "conda_env": "c"}, None),
    (SERIES, {"repeat": {**SERIES["repeat"], "overlap": "queue"}, "cpus": 2}, None),
    (ARRAY, {"family": {**ARRAY["family"], "max_concurrent": 2, "max_failures": 1}}, RUNNING),
    (ARRAY, {"name": "y"}, RUNNING),
    (SWEEP, {"family": {**SWEEP["family"], "edits": [["a", [[1, 2, 1]], "9"]]}}, RUNNING),
]


@pytest.mark.parametrize(("spec", "changed", "phase"), GRANTED)
def test_what_may(spec: Any, changed: Any, phase: Any) -> None:
    """Of an array whose first element runs: the others."""
    records = Records(spec={3: ADAS, 7: spec}, phase={} if phase is None else {7: phase}, wish={8: {"held": True}})
    [(_, _, value)] = ask(["spec", 7, {**spec, **changed}], of=records, policy=Policy(notify_urls=True))
    assert value == codec.encode(codec.decode_spec({**spec, **changed}))


def test_an_array_that_has_ended_is_changed_no_more() -> None:
    records = Records(spec={7: ARRAY}, phase={7: ENDED, 8: ENDED, 9: ENDED})
    with pytest.raises(Refused, match="the job has ended"):
        ask(["spec", 7, {**ARRAY, "comment": "c"}], of=records)


def test_more_gpus_are_held_against_the_quota_and_other_changes_are_not() -> None:
    records = Records(spec={7: {**ADAS, "gpus": 2}}, quota={"user:ada": {"max_running_gpus": 1}})
    assert ask(["spec", 7, {**ADAS, "gpus": 2, "comment": "c"}], of=records)
    with pytest.raises(Refused, match="job 7: user ada may use 1 GPU at most"):
        ask(["spec", 7, {**ADAS, "gpus": 3}], of=records)


def test_a_priority_that_an_operator_gave_stays_when_its_owner_changes_something_else() -> None:
    records = Records(spec={7: {**ADAS, "priority": 200}})
    assert ask(["spec", 7, {**ADAS, "priority": 200, "cpus": 2}], of=records)
    with pytest.raises(Refused, match="only operators may give jobs a priority above 10"):
        ask(["spec", 7, {**ADAS, "priority": 150}], of=records)


def test_nobody_fills_the_snapshot_with_long_records() -> None:
    long, longest = {**SPEC, "comment": "c" * (3 << 20)}, {**ADAS, "comment": "c" * (30 << 20)}
    records = Records(spec={7: longest})
    with pytest.raises(Refused, match="the jobs of ada, with those that ended of late, would take more than 32 MiB"):
        ask(["spec", NEW, long], of=records)
    assert ask(["spec", NEW, SPEC], of=records)
    assert ask(["spec", NEW, long], of=records, requester=OPERATOR)
    assert ask(["spec", 7, {**ADAS, "comment": "c" * (29 << 20)}], of=records)
    with pytest.raises(Refused, match="32 MiB"):
        ask(["spec", 7, {**ADAS, "comment": "c" * (33 << 20)}], of=records)


def test_elements_of_arrays_count_until_they_have_left() -> None:
    many = {**SPEC, "family": {"ranges": [[1, 9000, 1]]}}
    specs = {at: {**ADAS, **many} for at in range(1, 40 * 9000, 9000)}
    with pytest.raises(Refused, match="with those that ended of late"):
        ask(["spec", NEW, SPEC], of=Records(spec=specs), next_id=400_000, policy=Policy(max_jobs_per_user=10**6))


NEW_ONES: list[tuple[dict[str, Any], str]] = [
    ({"repeat": {"rule": "every 60s", "due": 5.0, "series": 7}}, "a new job begins a series of its own"),
    ({"repeat": {"rule": "every 60s", "due": 5.0}, "deadline": NOW + 9}, "--repeat cannot be combined with --deadline"),
    ({"repeat": {"rule": "every 60s", "due": 5.0}, "needs": {"dependencies": [{"kind": "singleton"}]}},
     "--repeat cannot be combined with dependencies"),
    ({"family": {"axes": [{"names": ["a b"], "rows": [["1"]]}]}}, "'a b' cannot be a parameter's name"),
    ({"family": {"axes": [{"names": ["a"], "rows": [["-x"]]}]}, "command": ["{a}"]}, "begins with a dash"),
    ({"family": {**SWEEP["family"], "edits": [["a", [[0, 0, 1]] * 1001, "x"]]}}, "more than 1000 parameters"),
    ({"project": "p"}, "'p' is not a known project"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "why"), NEW_ONES)
def test_what_a_new_job_cannot_be(more: Any, why: str) -> None:
    with pytest.raises(Refused) as caught:
        ask(["spec", NEW, {**SPEC, **more}], limits=Limits(known_projects=("q",)))
    assert why in str(caught.value)


def test_a_series_begins() -> None:
    assert ask(["spec", NEW, {**SPEC, "repeat": {"rule": "every 60s", "due": 5.0}}], policy=Policy(top_priority=0),
               requester=OPERATOR)  # fmt: skip
