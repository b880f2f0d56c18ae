"""Which records of a snapshot make sense: for each kind its ids, its fields and their ranges. Reads no file.

What a submission may ask for is held against the same bounds (`validation`). Whatever passes can be decoded, shown and
written again; what does not is set aside by whoever folds (`storage.record_log`).
"""

from __future__ import annotations

import re

from gflowd.core.job import field_rules, records
from gflowd.core.job.field_rules import (
    LARGEST_WHOLE,
    TEXT,
    Fields,
    Later,
    Listed,
    Maybe,
    Named,
    brief,
    flag,
    holds,
    matches,
    number,
    one_of,
    row,
    text,
    unknown,
    whole,
)
from gflowd.core.job.model import (
    ALWAYS,
    EARLIEST,
    ENDED_STATES,
    EXECUTORS,
    LARGEST_COUNT,
    LATEST,
    LONGEST,
    LONGEST_NAME,
    LONGEST_STRING,
    OVERLAPS,
    RANGES,
    SLURM,
    SOURCES,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from gflowd.core.job.field_rules import Column, Rule

    KindRule = Callable[[Column, Column, Column], bool]

LARGEST_NUMBER = 1e15
LATEST_WINDOW = LATEST - 400 * 86400  # seconds: of what comes again, the next one is before the calendar's end


def make_sense(kind: str, keys: Column, next_ids: Column, values: Column) -> bool:
    """Whether all these records of a kind do, each with the next job id that its line names."""
    rule = _KINDS.get(kind)
    return rule is not None and holds(lambda _: rule(keys, next_ids, values), ())


def sound(kind: str, found: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Those records of a kind that make sense, by id, where it is not known which ids had been given out by then."""
    after = records.LARGEST_ID + 1
    if make_sense(kind, [*found], [after] * len(found), [*found.values()]):
        return found
    return {key: value for key, value in found.items() if fault(kind, key, after, value) is None}


def fault(kind: str, key: int | str, next_id: int, value: Any) -> str | None:
    """What is wrong with a record, in words; None when it makes sense."""
    if make_sense(kind, [key], [next_id], [value]):
        return None
    if kind not in _KINDS:
        return "this version does not know the kind"
    if kind == records.SETTING and key not in _SETTINGS:
        return "this version does not know the setting"
    if kind in _OF_JOBS and not (holds(_ID, [key]) and int(key) < next_id):
        return "no such job was ever submitted"
    rule = _SETTINGS[str(key)] if kind == records.SETTING else _VALUES[kind]
    inside = rule.words(value) if isinstance(rule, Fields) else f"its value is {brief(value)}"
    return inside or "it does not fit its id, or its fields do not fit each other"


def is_key(kind: str, key: int | str) -> bool:
    """Whether a record of this kind, one that users may change, may have this id."""
    return holds(_KEYS[kind], [key])


def stranger(kind: str, key: int | str, value: Any) -> str | None:
    """The first field of a record that makes sense which this version does not know, such as `retry.colour`."""
    return field_rules.stranger(_SETTINGS[str(key)] if kind == records.SETTING else _VALUES[kind], value)


_TIME, _LENGTH, _MONO = number(EARLIEST, LATEST), number(0, LONGEST), number(0, LARGEST_NUMBER)
_FREE = number(-LARGEST_NUMBER, LARGEST_NUMBER)
_COUNT, _FROM_ONE, _BIG = whole(0, LARGEST_COUNT), whole(1, LARGEST_COUNT), whole(0, LARGEST_WHOLE)
_ID, _PID, _INDEX = whole(1, records.LARGEST_ID), whole(1, 2**31), whole(0, 10**9)
_HASH = matches(re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}"))  # the name of a file
_HEX = matches(re.compile(r"[0-9a-f]{7,64}"))
CLUSTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_CLUSTER, _CLUSTER_ID = matches(CLUSTER_NAME), matches(re.compile(r"[0-9]{1,12}(?:_[0-9]{1,9})?"))
_UID, _ONCE = whole(0, 2**32 - 2), matches(re.compile(r"[0-9a-f]{32}"))
_FLAT = row(_INDEX, _INDEX, _INDEX)


def _between(least: float, most: float) -> Rule:
    """Whole numbers between whole ones."""
    return whole(least, most) if isinstance(least, int) and isinstance(most, int) else number(least, most)


def _spans(column: Column) -> bool:
    """Ranges of indices: first, last, step."""
    return _FLAT(column) and all(first <= last and step >= 1 for first, last, step in column)


def _is_family(raw: Mapping[str, Any]) -> bool:
    """Whether an array or a sweep has elements, and says which they are."""
    from gflowd.core.job import arrays

    family = arrays.from_json(raw)
    if bool(family.ranges) == bool(family.axes) or not 1 <= arrays.size(family) <= arrays.LARGEST:
        return False
    names = [name for axis in family.axes for name in axis.names]
    ends = [each for first, last, _ in family.ranges for each in (first, last)]
    return (
        len({*names}) == len(names)
        and all(len(each) == len(axis.names) for axis in family.axes for each in axis.rows)
        and all(override.name in names for override in family.overrides)
        and all(last < following for last, following in zip(ends[1::2], ends[2::2], strict=False))
    )


def _is_whole_spec(raw: Mapping[str, Any]) -> bool:
    """Whether the fields of a spec fit each other."""
    if raw.get("shared") and raw.get("gpu_memory_mb") is None:
        return False
    if raw.get("repeat") is not None and raw.get("family") is not None:
        return False
    template, family = raw.get("name_template"), raw.get("family")
    if template is None or family is None:
        return True
    from gflowd.core.errors import Refused
    from gflowd.core.syntax import templates

    names = [name for axis in family.get("axes", ()) for name in axis["names"]]
    try:
        templates.expand_template(template, dict.fromkeys((*names, "index", "name"), ""))
    except Refused:
        return False
    return True


def _needs() -> Rule:
    from gflowd.core.job.dependencies import ALL, ANY, KINDS, SINGLETON

    one = Fields(
        {"kind": one_of(KINDS)},
        {"id": Maybe(_ID), "delay": _LENGTH, "element": flag},
        beyond=lambda raw: raw["kind"] == SINGLETON or raw["id"] is not None,
    )
    whole_of: dict[str, Rule] = {
        "dependencies": Listed(one),
        "dependency_mode": one_of((ALL, ANY)),
        "auto_cancel": flag,
    }
    return Fields({}, whole_of)


def _retry() -> Rule:
    from gflowd.core.job.retry_policy import CAUSES

    def causes(words: Column) -> bool:
        codes = [each for each in words if each not in CAUSES]
        return not codes or whole(1, 255)(codes)

    policy: dict[str, Rule] = {"max_retries": _COUNT, "on": Listed(causes), "delay": _LENGTH, "factor": number(0, 1000)}
    return Fields({}, policy)


_AXIS = Fields({"names": Listed(TEXT, 1), "rows": Listed(Listed(TEXT, 1), 1)})
_FAMILY = Fields(
    {},
    {
        "ranges": Listed(_spans), "axes": Listed(_AXIS), "edits": Listed(row(TEXT, Listed(_spans), TEXT)),
        "max_concurrent": Maybe(_FROM_ONE), "max_failures": Maybe(_FROM_ONE),
    },
    beyond=_is_family,
)  # fmt: skip
_SPEC = Fields(
    {
        "command": Listed(text(LONGEST_STRING), 1), "cwd": TEXT, "env": _HASH, "submitted_at": _TIME,
        **dict.fromkeys(("name", "user"), text(LONGEST_NAME, 1)),
    },
    {
        **{name: _between(*ends) if name in ALWAYS else Maybe(_between(*ends)) for name, ends in RANGES.items()},
        **dict.fromkeys(
            (
                "project", "comment", "output", "error", "input", "submit_dir", "name_template", "gpu_type",
                "conda_env", "notify_email",
            ),
            Maybe(TEXT),
        ),
        **dict.fromkeys(("all_memory", "append", "exclusive", "pty", "shared", "slurm"), flag),
        "script": Maybe(_HASH), "relay": Maybe(_HASH), "executor": Maybe(one_of(EXECUTORS)),
        **dict.fromkeys(("asked", "notify", "notify_on", "gpu_prefer"), Listed(TEXT)),
        "redone_from": Maybe(_ID), "needs": Maybe(Later(_needs)), "retry": Maybe(Later(_retry)),
        "family": Maybe(_FAMILY),
        "early_signal": Maybe(Fields({"number": whole(1, 64), "before": _LENGTH}, {"command_only": flag})),
        "batch": Maybe(_ID), "limits": Maybe(text(LONGEST_NAME)), "uid": Maybe(_UID), "once": Maybe(_ONCE),
        "cluster": Maybe(_CLUSTER),
        "repeat": Maybe(
            Fields(
                {"rule": TEXT, "due": _TIME},
                {"zone": Maybe(TEXT), "overlap": one_of(OVERLAPS), "series": Maybe(_ID)},
            )
        ),
        "tasks": Maybe(Fields({}, dict.fromkeys(("count", "cpus", "per_node"), Maybe(_FROM_ONE)))),
        "git": Maybe(Fields({}, {"commit": Maybe(_HEX), "branch": Maybe(TEXT), "dirty": Maybe(flag)})),
    },
    ("shared", "name_template", "repeat"),
    _is_whole_spec,
)  # fmt: skip
_WISH = Fields(
    {},
    {
        "held": flag, "requeued": _COUNT, "cancelled_by": Maybe(TEXT), "suspended": _COUNT, "releases_cpus": flag,
        "only_run": flag,
        **dict.fromkeys(("begin_at", "cancelled_at", "top_at", "released_at"), Maybe(_TIME)),
    },
)  # fmt: skip

_RUN = Fields(
    {"executor": one_of((*EXECUTORS, SLURM)), "launched_at": _TIME},
    {
        "attempt": _FROM_ONE,
        "gpu_ids": Listed(_COUNT),
        "gpu_uuids": Listed(TEXT),
        "by_uuid": flag,
        "cuda_ids": Listed(_COUNT),
        "cluster": Maybe(_CLUSTER),
        "cluster_id": Maybe(_CLUSTER_ID),
        "node": Maybe(text(LONGEST_NAME, 1)),
        "remote_gpus": _COUNT,
    },
)
_STARTED = Fields({"at": _TIME, "mono": _MONO, "identity": Fields({"boot": TEXT, "pid": _PID, "start": _BIG})})
_TAG = {"is": TEXT}
_SINCE = {"since_at": _TIME, "since_mono": _MONO, "since_boot": TEXT}
_PAUSES = {"pauses": Fields({}, {"count": _COUNT, "seconds": _MONO, "last_mono": _MONO})}
_USED = Fields(
    {},
    {
        "memory_mb": Maybe(_COUNT), "cpu_seconds": Maybe(_MONO), "gpu_percent": Maybe(number(0, 100)),
        "gpu_polls": _COUNT, **dict.fromkeys(("memory_source", "cpu_source"), Maybe(one_of(SOURCES))),
    },
)  # fmt: skip
_PHASES = {
    records.QUEUED: Fields(_TAG, {"attempt": _FROM_ONE, "begin_at": Maybe(_TIME), "since": Maybe(_TIME)}),
    records.STARTING: Fields({**_TAG, "run": _RUN}),
    records.RUNNING: Fields({**_TAG, "run": _RUN, "started": _STARTED}, _PAUSES),
    records.SUSPENDED: Fields(
        {**_TAG, "run": _RUN, "started": _STARTED, **_SINCE}, {**_PAUSES, "without_cpus": flag}
    ),
    records.STOPPING: Fields(
        {**_TAG, "run": _RUN, "started": Maybe(_STARTED), "why": TEXT, **_SINCE}, _PAUSES
    ),
    records.ENDED: Fields(
        {**_TAG, "state": one_of(ENDED_STATES), "ended_at": _TIME},
        {
            "reason": Maybe(TEXT), "run": Maybe(_RUN), "started_at": Maybe(_TIME), "lingers": flag,
            "exit_code": Maybe(whole(0, 255)), "signal": Maybe(whole(1, 128)), "attempt": _FROM_ONE,
            "paused": _MONO, "used": Maybe(_USED),
        },
        ("lingers",),
        lambda raw: not raw["lingers"] or raw.get("run") is not None,
    ),
}  # fmt: skip


class _Phase(Fields):
    """A phase: its word says which fields it has."""

    __slots__ = ()

    def __call__(self, column: Column) -> bool:
        by_word: dict[str, list[Any]] = {}
        for each in column:
            by_word.setdefault(records.phase_name(each), []).append(each)
        return all(_PHASES[word](found) for word, found in by_word.items())

    def words(self, value: Any) -> str | None:
        wrong = super().words(value)
        if wrong is not None:
            return wrong.replace("is is ", "the phase is ")
        return _PHASES[records.phase_name(value)].words(value)


_PHASE = _Phase({"is": one_of(_PHASES)}, dict.fromkeys(("run", "started"), lambda _: True))
_SETTINGS: dict[str, Rule] = {  # `gflowctl.machine.drain` and `core.gpu.admin_state` have their names
    "drain": Fields({"at": _TIME, "by": TEXT}, {"reason": Maybe(TEXT)}),
    "gpus.allow": Fields({"gpus": Maybe(Listed(_COUNT))}),
    "gpus.drained": Named(Fields({"at": _TIME, "by": TEXT, "reason": Maybe(TEXT)})),
    "gpus.ignored": Listed(Fields({"gpu": TEXT, "pid": _PID, "start": _BIG, "boot": TEXT})),
    "gpus.resumed": Named(Fields({"at": _TIME, "boot": TEXT, "ecc": _BIG})),
}
_VALUES: dict[str, Rule] = {
    records.HEADER: Fields({"format": _FROM_ONE}, {"machine": TEXT, "has": Listed(TEXT)}),
    records.SPEC: _SPEC,
    records.WISH: _WISH,
    records.PHASE: _PHASE,
    records.ATTEMPT: _PHASE,
    records.LIMIT: Fields({"max_concurrent": Maybe(_FROM_ONE)}),
    records.PROMISE: Fields(
        {"since": _TIME, "at": Maybe(_FREE), "by": Listed(row(_ID, _FREE))},
        {"was": Maybe(_FREE), "cause": TEXT, "estimate": Maybe(_FREE)},
    ),
    records.USAGE: Fields({"usage": number(0, LARGEST_NUMBER), "at": _TIME}),
    records.RUNS: Fields(
        {"user": TEXT, "gpus": _COUNT, "name": TEXT, "runs": Listed(row(_TIME, number(0, LARGEST_NUMBER)), 1)}
    ),
    records.QUOTA: Fields(
        {}, dict.fromkeys(("max_running_jobs", "max_running_gpus", "max_queued_jobs"), Maybe(_COUNT))
    ),
    records.RESERVATION: Fields(
        {"user": TEXT, "start": _TIME, "duration": number(1e-3, LONGEST), "created_at": _TIME, "created_by": TEXT},
        {
            "gpus": _COUNT, "gpu_list": Maybe(Listed(_COUNT)), "repeat": Maybe(one_of(("daily", "weekly"))),
            "cancelled_at": Maybe(_TIME), "id": unknown, **dict.fromkeys(("uid", "creator_uid"), Maybe(_UID)),
        },
        beyond=lambda raw: -LATEST_WINDOW < raw["start"] <= LATEST_WINDOW - raw["duration"],
    ),
    records.SCHEDULER: Fields({"generation": _BIG}, {"pid": _BIG}),
    records.ANSWERED: Fields({"first": whole(0, records.LARGEST_ID), "at": _TIME}),
}  # fmt: skip


def _of_jobs(kind: str) -> KindRule:
    """By the id of a job that was submitted."""
    rule = _VALUES[kind]
    return lambda keys, next_ids, values: _ID(keys) and all(map(int.__lt__, keys, next_ids)) and rule(values)


def _specs(keys: Column, next_ids: Column, values: Column) -> bool:
    """An array has the ids from its own on."""
    if not _of_jobs(records.SPEC)(keys, next_ids, values):
        return False
    arrays = [each for each in zip(keys, next_ids, values, strict=True) if each[2].get("family") is not None]
    return all(key + _size(value["family"]) <= next_id for key, next_id, value in arrays)


def _size(raw: Mapping[str, Any]) -> int:
    from gflowd.core.job import arrays

    return arrays.size(arrays.from_json(raw))


def _keyed(kind: str, key_rule: Rule) -> KindRule:
    rule = _VALUES[kind]
    return lambda keys, _, values: key_rule(keys) and rule(values)


def _runs(keys: Column, _: Column, values: Column) -> bool:
    made = (f"{each['gpus']} {each['user']} {each['name']}" for each in values)
    return _VALUES[records.RUNS](values) and all(map(str.__eq__, keys, made))


def _settings(keys: Column, _: Column, values: Column) -> bool:
    return all(_SETTINGS[key]([value]) for key, value in zip(keys, values, strict=True))


_KEYS: dict[str, Rule] = {  # of those kinds that users may change
    **dict.fromkeys((records.SPEC, records.WISH, records.LIMIT, records.RESERVATION), _ID),
    records.QUOTA: matches(re.compile(r"(?s)(?:user|project):.+|default-(?:user|project)")),
    records.SETTING: one_of(_SETTINGS),
}
_OF_JOBS = (records.SPEC, records.WISH, records.PHASE, records.LIMIT, records.PROMISE)
_KINDS: dict[str, KindRule] = {
    **{kind: _of_jobs(kind) for kind in _OF_JOBS},
    records.SPEC: _specs,
    records.HEADER: _keyed(records.HEADER, whole(0, 0)),
    records.ATTEMPT: _keyed(records.ATTEMPT, matches(re.compile(r"[1-9][0-9]{0,14}\.[1-9][0-9]{0,8}"))),
    records.USAGE: _keyed(records.USAGE, TEXT),
    records.RUNS: _runs,
    **{kind: _keyed(kind, _KEYS[kind]) for kind in (records.QUOTA, records.RESERVATION)},
    records.SETTING: _settings,
    records.SCHEDULER: _keyed(records.SCHEDULER, whole(0, 0)),
    records.ANSWERED: _keyed(records.ANSWERED, matches(re.compile(r"(?:0|[1-9][0-9]{0,9})\.[0-9a-f]{32}"))),
}
