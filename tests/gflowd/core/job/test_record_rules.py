"""Which records make sense: every kind's sound ones do, and each field that is spoilt is found and named."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from gflowd.core.errors import Refused
from gflowd.core.job import codec, field_rules, record_rules, records
from gflowd.core.job.field_rules import LARGEST_WHOLE
from gflowd.core.job.model import RANGES, Ended, Spec, Wish
from gflowd.core.job.record_rules import fault, make_sense, sound
from gflowd.core.planning import reservations
from gflowd.core.request import validation
from gflowd.core.request.validation import Limits

SPEC: dict[str, Any] = {
    "command": ["true"], "name": "x", "user": "ada", "cwd": "/tmp", "env": "0" * 32, "submitted_at": 1.0,
}  # fmt: skip
EVERYTHING: dict[str, Any] = {
    **SPEC, "gpus": 1, "cpus": 2, "priority": 255, "umask": 0o77, "memory_mb": 5, "gpu_memory_mb": 6, "grace": 0,
    "time_limit": 60, "begin_at": -5.5, "project": "p", "comment": "ü", "output": "o", "error": "e", "input": "i",
    "submit_dir": "/", "gpu_type": "A100", "conda_env": "c", "notify_email": "a@b", "notify_on": ["end"],
    "notify": ["https://a/b"],
    "append": True, "shared": True, "slurm": False, "script": "f" * 32, "executor": "tmux", "redone_from": 1,
    "needs": {"dependencies": [{"kind": "afterok", "id": 1, "delay": 1.5, "element": True},
                               {"kind": "singleton", "id": None}], "dependency_mode": "any", "auto_cancel": False},
    "retry": {"max_retries": 2, "on": ["failure", 3], "delay": 1.0, "factor": 2},
    "deadline": 5.5, "gpu_prefer": ["0", "h100"], "quiet_limit": 60, "exclusive": True, "all_memory": True,
    "tasks": {"count": 4, "per_node": 2, "cpus": 1}, "cluster": "hpc",
    "early_signal": {"number": 10, "before": 1.0, "command_only": True},
}  # fmt: skip
ARRAY = {**SPEC, "family": {"ranges": [[0, 4, 2], [7, 7, 1]], "max_concurrent": 1}}
SWEEP = {
    **SPEC, "name_template": "{name}-{a}-{index}",
    "family": {"axes": [{"names": ["a", "b"], "rows": [["1", "2"]]}], "edits": [["a", [[0, 0, 1]], "3"]]},
}  # fmt: skip
RUN = {
    "executor": "process",
    "launched_at": 1.0,
    "gpu_ids": [0],
    "gpu_uuids": ["GPU-0"],
    "by_uuid": True,
    "cuda_ids": [0],
}
REMOTE = {
    "executor": "slurm", "launched_at": 1.0, "cluster": "hpc", "cluster_id": "123_4", "node": "n1",
    "remote_gpus": 2,
}  # fmt: skip
STARTED = {"at": 1.0, "mono": 1.0, "identity": {"boot": "b", "pid": 1, "start": 1}}
PAUSES = {"count": 1, "seconds": 2.5, "last_mono": 3.0}
ENDED = {"is": "ended", "state": "failed", "ended_at": 1.0, "run": RUN, "started_at": None, "exit_code": 3}
RESERVATION = {"user": "ada", "start": 1.0, "duration": 60.0, "created_at": 1.0, "created_by": "ada", "gpus": 1}
RUNS = {"user": "a b", "gpus": 2, "name": "c", "runs": [[1.0, 2.0]]}
SOUND: list[tuple[str, int | str, Any]] = [
    ("header", 0, {"format": 1, "machine": "m", "has": ["quota"]}),
    ("spec", 1, SPEC),
    ("spec", 1, EVERYTHING),
    ("spec", 1, {**SPEC, "repeat": {"rule": "daily 02:00", "due": 5.0}}),
    ("spec", 2, {**SPEC, "repeat": {"rule": "?", "due": 5, "zone": "x", "overlap": "queue", "series": 1}}),
    ("wish", 1, {"cancelled_at": 5.0, "only_run": True}),
    ("spec", 1, {**SPEC, "script": None, "family": None, "from a later version": {"x": [1, 2.5, None, "y"]}}),
    ("spec", 1, ARRAY),
    ("spec", 1, SWEEP),
    ("wish", 1, {}),
    ("wish", 1, {"held": True, "begin_at": None, "cancelled_by": "ada", "requeued": 2, "top_at": 1.0}),
    ("phase", 1, {"is": "queued", "attempt": 2, "begin_at": None}),
    ("phase", 1, {"is": "starting", "run": RUN}),
    ("phase", 1, {"is": "starting", "run": REMOTE}),
    ("phase", 1, {"is": "starting", "run": {**REMOTE, "cluster_id": None, "node": None}}),
    ("phase", 1, {"is": "running", "run": RUN, "started": STARTED}),
    ("phase", 1, {"is": "stopping", "run": RUN, "started": None, "why": "w", "since_at": 1.0, "since_mono": 1.0,
                  "since_boot": "b"}),
    ("phase", 1, {"is": "running", "run": RUN, "started": STARTED, "pauses": PAUSES}),
    ("phase", 1, {"is": "suspended", "run": RUN, "started": STARTED, "since_at": 1.0, "since_mono": 1.0,
                  "since_boot": "b", "pauses": PAUSES, "without_cpus": True}),
    ("phase", 1, {**ENDED, "paused": 2.5}),
    ("wish", 1, {"suspended": 2, "releases_cpus": True}),
    ("phase", 1, ENDED),
    ("phase", 1, {**ENDED, "lingers": True}),
    ("attempt", "1.12", ENDED),
    ("limit", 1, {"max_concurrent": 5}),
    ("promise", 1, {"since": 1.0, "at": None, "by": [[1, 2.0]], "estimate": 1.0, "was": 2.0, "cause": "c"}),
    ("usage", "ada", {"usage": 1.5, "at": 1.0}),
    ("runs", "2 a b c", RUNS),
    ("quota", "user:ada", {"max_running_jobs": None, "max_running_gpus": 0}),
    ("quota", "default-project", {}),
    ("reservation", 3, {**RESERVATION, "gpu_list": [0, 1], "repeat": "daily", "cancelled_at": 2.0}),
    ("setting", "drain", {"at": 1.0, "by": "ada"}),
    ("setting", "gpus.allow", {"gpus": None}),
    ("setting", "gpus.drained", {"GPU-0": {"at": 1.0, "by": "ada", "reason": None}}),
    ("setting", "gpus.drained", {}),
    ("setting", "gpus.ignored", [{"gpu": "GPU-0", "pid": 1, "start": 2, "boot": "b"}]),
    ("setting", "gpus.resumed", {"GPU-0": {"at": 1.0, "boot": "b", "ecc": 0}}),
    ("scheduler", 0, {"generation": 3}),
    ("answered", "1000.0123456789abcdef0123456789abcdef", {"first": 0, "at": 1.0}),
]  # fmt: skip
DEEP = json.loads("[" * 40 + "]" * 40)
AFTER = 9  # the next job's id


@pytest.mark.parametrize(("kind", "key", "value"), SOUND)
def test_a_sound_record_makes_sense(kind: str, key: int | str, value: Any) -> None:
    assert fault(kind, key, AFTER, value) is None


def test_every_kind_has_its_rules() -> None:
    assert {kind for kind, _, _ in SOUND} == set(records.KINDS)


def test_every_field_of_a_spec_and_of_a_wish_has_its_rule() -> None:
    for kind, cls in (("spec", Spec), ("wish", Wish)):
        for name in cls.__slots__:
            spoilt = {**(SPEC if kind == "spec" else {}), name: [[]]}
            assert fault(kind, 1, AFTER, spoilt) is not None, name


SENSELESS: list[tuple[str, int | str, Any, str]] = [
    ("spec", 1, [1], "a list is not an object"),
    ("spec", 1, "x" * 99, "'xxxxx"),
    ("spec", 1, {**SPEC, "submitted_at": None}, "submitted_at is None"),
    ("spec", 1, {**SPEC, "submitted_at": float("nan")}, "submitted_at is nan"),
    ("spec", 1, {**SPEC, "submitted_at": 1e300}, "submitted_at is 1e+300"),
    ("spec", 1, {**SPEC, "gpus": 10**30}, "gpus is a huge number"),
    ("spec", 1, {**SPEC, "gpus": True}, "gpus is True"),
    ("spec", 1, {**SPEC, "gpus": None}, "gpus is None"),
    ("spec", 1, {**SPEC, "gpus": 1.0}, "gpus is 1.0"),
    ("spec", 1, {**SPEC, "time_limit": -1}, "time_limit is -1"),
    ("spec", 1, {**SPEC, "cwd": {}}, "cwd is an object"),
    ("spec", 1, {**SPEC, "cwd": "\0"}, "cwd is '\\x00'"),
    ("spec", 1, {**SPEC, "comment": "\ud800"}, "comment is '\\ud800'"),
    ("spec", 1, {**SPEC, "name": ""}, "name is ''"),
    ("spec", 1, {**SPEC, "name": "ü" * 200}, "name is "),
    ("spec", 1, {**SPEC, "env": "../x"}, "env is '../x'"),
    ("spec", 1, {**SPEC, "command": []}, "command is a list"),
    ("spec", 1, {**SPEC, "slurm": 1}, "slurm is 1"),
    ("spec", 1, {**SPEC, "executor": "foo"}, "executor is 'foo'"),
    ("spec", 1, {**SPEC, "executor": []}, "executor is a list"),
    ("spec", 1, {**SPEC, "shared": True}, "do not fit each other"),
    ("spec", 1, {**SWEEP, "name_template": "{c}"}, "do not fit each other"),
    ("spec", 1, {**SPEC, "retry": {"on": ["rain"]}}, "retry is an object"),
    ("spec", 1, {**SPEC, "retry": {"on": [0]}}, "retry is an object"),
    ("spec", 1, {**SPEC, "needs": {"dependencies": [{"kind": "after", "id": None}]}}, "needs is an object"),
    ("spec", 1, {**SPEC, "early_signal": {"number": 99, "before": 1}}, "early_signal: number is 99"),
    ("spec", 1, {**SPEC, "family": {}}, "family is an object"),
    ("spec", 1, {**ARRAY, "repeat": {"rule": "daily 02:00", "due": 5.0}}, "its fields do not fit each other"),
    ("spec", 1, {**SPEC, "repeat": {"rule": "daily 02:00"}}, "repeat: due is missing"),
    ("spec", 1, {**SPEC, "repeat": {"rule": "daily 02:00", "due": 5.0, "overlap": "x"}}, "overlap is 'x'"),
    ("spec", 1, {**SPEC, "family": 5}, "family: 5 is not an object"),
    ("spec", 1, {**SPEC, "family": {"ranges": [[0, 1]]}}, "ranges is a list"),
    ("spec", 1, {**SPEC, "family": {"ranges": [[2, 1, 1]]}}, "ranges is a list"),
    ("spec", 1, {**SPEC, "family": {"ranges": [[0, 4, 1], [4, 5, 1]]}}, "family is an object"),
    ("spec", 1, {**SPEC, "family": {"ranges": [[0, 1, 1]], "axes": SWEEP["family"]["axes"]}}, "family is an object"),
    ("spec", 1, {**SPEC, "family": {"ranges": [[0, 10**9, 1]]}}, "family is an object"),
    ("spec", 1, {**SPEC, "family": {"axes": [{"names": ["a"], "rows": [["1", "2"]]}]}}, "family is an object"),
    ("spec", 1, {**SPEC, "family": {"axes": [{"names": ["a", "a"], "rows": [["1", "2"]]}]}}, "family is an object"),
    ("spec", 8, ARRAY, "it does not fit its id"),
    ("spec", AFTER, SPEC, "no such job was ever submitted"),
    ("spec", 0, SPEC, "no such job was ever submitted"),
    ("spec", "x", SPEC, "no such job was ever submitted"),
    ("spec", 1, {**SPEC, "later": 1e999}, "later is inf"),
    ("spec", 1, {**SPEC, "later": [LARGEST_WHOLE + 1]}, "later is a list"),
    ("spec", 1, {**SPEC, "later": {"\ud800": 1}}, "later is an object"),
    ("spec", 1, {**SPEC, "later": "\ud800"}, "later is '\\ud800'"),
    ("spec", 1, {**SPEC, "later": DEEP}, "later is a list"),
    ("phase", 1, {"is": "nonsense"}, "the phase is 'nonsense'"),
    ("phase", 1, {"is": ["ended"]}, "the phase is a list"),
    ("phase", 1, [], "a list is not an object"),
    ("phase", 1, {"run": RUN}, "the phase is missing"),
    ("phase", 1, {"is": "starting"}, "run is missing"),
    ("phase", 1, {"is": "starting", "run": {**RUN, "attempt": 0}}, "run: attempt is 0"),
    ("phase", 1, {"is": "running", "run": RUN, "started": {**STARTED, "identity": 5}}, "identity: 5 is not an object"),
    ("phase", 1, {"is": "ended", "state": "failed", "ended_at": 1.0, "lingers": True}, "do not fit each other"),
    ("attempt", "1", ENDED, "it does not fit its id"),
    ("attempt", 1, ENDED, "it does not fit its id"),
    ("promise", 1, {"since": 1.0, "at": 1.0, "by": [[1]]}, "by is a list"),
    ("runs", "another", RUNS, "it does not fit its id"),
    ("runs", "0 a b", {"user": "a", "gpus": 0, "name": "b", "runs": []}, "runs is a list"),
    ("quota", "nobody", {}, "it does not fit its id"),
    ("reservation", 1, {**RESERVATION, "start": 253402300000.0}, "do not fit each other"),
    ("setting", "zzz", {}, "does not know the setting"),
    ("setting", 5, {}, "does not know the setting"),
    ("setting", "gpus.ignored", 5, "its value is 5"),
    ("setting", "gpus.resumed", [], "its value is a list"),
    ("setting", "gpus.drained", {"GPU-0": {"at": 1.0}}, "its value is an object"),
    ("zzz", 1, {}, "does not know the kind"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "key", "value", "why"), SENSELESS)
def test_what_is_wrong_with_a_senseless_record_is_said(kind: str, key: int | str, value: Any, why: str) -> None:
    said = fault(kind, key, AFTER, value)
    assert said is not None
    assert why in said
    assert len(said) < 200
    assert said.isprintable()


@pytest.mark.parametrize("place", [0, 500, 999])
@pytest.mark.parametrize(
    "spoilt", [{**SPEC, "gpus": -1}, {**SPEC, "submitted_at": float("nan")}, {**SPEC, "name": 7}, [], {"name": "x"}]
)
def test_one_senseless_record_among_many_is_found(place: int, spoilt: Any) -> None:
    keys, values = list(range(1, 1001)), [{**SPEC, "name": f"n{number}"} for number in range(1000)]
    assert make_sense("spec", keys, [2000] * 1000, values)
    values[place] = spoilt
    assert not make_sense("spec", keys, [2000] * 1000, values)
    assert sound("spec", dict(zip(keys, values, strict=True))).keys() == set(keys) - {place + 1}


def test_what_makes_sense_can_be_decoded_and_written_again() -> None:
    for kind, key, value in SOUND:
        assert orjson.loads(orjson.dumps(value)) == value
        if kind == "spec":
            assert codec.decode_spec(value).name == "x"
        elif kind == "wish":
            codec.decode_wish(value)
        elif kind in ("phase", "attempt"):
            codec.decode_phase(value)
        elif kind == "reservation":
            assert reservations.decode_all({int(key): value})[0].user == "ada"
    assert isinstance(codec.decode_phase(ENDED), Ended)


def test_what_is_sound_already_is_given_back_as_it_is() -> None:
    found = {1: SPEC}
    assert sound("spec", found) is found


@pytest.mark.parametrize("name", RANGES)
def test_a_submission_is_held_against_the_same_ranges(name: str) -> None:
    least, most = RANGES[name]
    for value in (least - 1, most + 1):
        with pytest.raises(Refused, match="out of range"):
            validation.checked(codec.decode_spec({**SPEC, name: value}), Limits())
        assert fault("spec", 1, AFTER, {**SPEC, name: value}) is not None
    for value in (least, most):
        validation.checked(codec.decode_spec({**SPEC, name: value}), Limits())
        assert fault("spec", 1, AFTER, {**SPEC, name: value}) is None


def test_rules_that_are_made_when_first_needed_judge_as_others() -> None:
    """They are kept then; here they are made anew."""
    needs, retry = field_rules.Later(record_rules._needs), field_rules.Later(record_rules._retry)
    for rule, right, wrong in (
        (needs, {"dependencies": [{"kind": "afterok", "id": 1}]}, {"dependencies": [{"kind": "afterok", "id": None}]}),
        (needs, {"dependencies": [{"kind": "singleton"}], "auto_cancel": True}, {"dependency_mode": "some"}),
        (retry, {"on": ["failure", 3]}, {"on": ["failure", 300]}),
        (retry, {"on": ["failure"], "factor": 2.0}, {"delay": -1}),
    ):
        assert rule([right])
        assert not field_rules.holds(rule, [wrong])


def test_one_field_is_held_against_the_same_rules_as_many() -> None:
    """One by itself is looked at in another way, since that is what the gateway does all the time."""
    rule = field_rules.text(8, 2)
    for right in ("ab", "a" * 8, "\u00e4" * 4):
        assert rule([right])
        assert rule([right, "cd"])
    for wrong in ("a", "", "a" * 9, "\u00e4" * 5, "a\0", "\ud800b", 7, None, b"ab"):
        assert not field_rules.holds(rule, [wrong])
        assert not field_rules.holds(rule, [wrong, "cd"])
    one = field_rules.Fields({"a": rule}, {"b": field_rules.flag}, ("b",), lambda raw: raw["b"])
    for known, fits in (({"a": "ab"}, True), ({"a": "ab", "c": [1]}, True), ({"a": "ab", "b": True}, True),
                        ({"a": "ab", "b": False}, False), ({"b": True}, False), ({"a": 1}, False),
                        ({"a": "ab", "c": 2**60}, False), ([], False)):  # fmt: skip
        assert field_rules.holds(one, [known]) == fits
        assert field_rules.holds(one, [known, {"a": "cd"}]) == fits
