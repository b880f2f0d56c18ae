"""Converts between the model and JSON. Fields at their default are omitted, so that lines stay short and a
field added later reads as its default from an old snapshot; fields that this version does not know are dropped.
"""

from __future__ import annotations

from gflowd.core.job.model import (
    EarlySignal,
    Ended,
    GitState,
    Identity,
    Job,
    Pauses,
    Phase,
    Queued,
    Repeat,
    Run,
    Running,
    Spec,
    Started,
    Starting,
    Stopping,
    Suspended,
    Tasks,
    Used,
    Wish,
)
from gflowd.core.job.records import ENDED, QUEUED, RUNNING, STARTING, STOPPING, SUSPENDED
from gflowd.core.job.value_base import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


PHASES = {
    QUEUED: Queued, STARTING: Starting, RUNNING: Running, SUSPENDED: Suspended, STOPPING: Stopping, ENDED: Ended,
}  # fmt: skip
_TAGS = {cls: tag for tag, cls in PHASES.items()}
_NESTED = {
    "run": Run, "started": Started, "identity": Identity, "early_signal": EarlySignal, "git": GitState,
    "pauses": Pauses, "repeat": Repeat, "tasks": Tasks, "used": Used,
}  # fmt: skip
_VALUES = frozenset((*_NESTED, "family", "needs", "retry"))
_TUPLES = frozenset(("asked", "command", "cuda_ids", "gpu_ids", "gpu_prefer", "gpu_uuids", "notify", "notify_on", "on"))
_SPECIAL = _VALUES | _TUPLES
_NAMES: dict[
    type[Value], dict[str, str]
] = {}  # the field names of a class, as the same strings that its `__init__` has
_DEFAULTS: dict[type[Value], list[tuple[str, Any]]] = {}  # the fields of a class with their defaults
_UNSET = object()
NO_RECORD = (AttributeError, KeyError, TypeError, ValueError)  # what decoding raises for an invalid record


def encode(value: Value) -> dict[str, Any]:
    """The fields of `value` that differ from their defaults, nested values as objects."""
    cls = type(value)
    if cls not in _DEFAULTS:
        defaults = cls.__init__.__kwdefaults__ or {}
        _DEFAULTS[cls] = [(name, defaults.get(name, _UNSET)) for name in cls.__slots__]
    out: dict[str, Any] = {}
    for name, default in _DEFAULTS[cls]:
        field = getattr(value, name)
        if field is not default and field != default:
            out[name] = _encode_nested(name, field) if isinstance(field, Value) else field
    return out


def _encode_nested(name: str, field: Value) -> dict[str, Any]:
    if name == "needs":
        from gflowd.core.job import dependencies

        return dependencies.encode(field)  # type: ignore[arg-type]
    if name == "family":
        from gflowd.core.job import arrays

        return arrays.to_json(field)  # type: ignore[arg-type]
    return encode(field)


def _decode_special(name: str, raw: Any) -> Any:
    """The value in the field `name` of `_VALUES` or `_TUPLES`. Few jobs need the imports."""
    if name in _TUPLES:
        return tuple(raw)
    if raw is None:
        return None
    if name in _NESTED:
        return _decode(_NESTED[name], raw)
    if name == "needs":
        from gflowd.core.job import dependencies

        return dependencies.decode(raw)
    if name == "family":
        from gflowd.core.job import arrays

        return arrays.from_json(raw)
    from gflowd.core.job.retry_policy import Retry

    return _decode(Retry, raw)


def _decode(cls: type[Value], raw: Mapping[str, Any]) -> Value:
    if cls not in _NAMES:
        _NAMES[cls] = {name: name for name in cls.__slots__}
    names = _NAMES[cls]
    known: dict[str, Any] = {}
    for name in raw:
        own = names.get(name)  # strings from the JSON parser are slow to match against keyword names
        if own is not None:
            field = raw[name]
            known[own] = field if own not in _SPECIAL else _decode_special(own, field)
    return cls(**known)


def encode_phase(phase: Phase) -> dict[str, Any]:
    """`phase` with its tag under `is`."""
    return {"is": _TAGS[type(phase)], **encode(phase)}


def decode_phase(raw: Mapping[str, Any]) -> Phase:
    """The phase that `encode_phase` wrote. Raises KeyError or TypeError if it is none."""
    phase: Phase = _decode(PHASES[raw["is"]], raw)  # type: ignore[assignment]
    return phase


def decode_spec(raw: Mapping[str, Any]) -> Spec:
    """The spec that `encode` wrote. Raises TypeError if a field without default is missing."""
    spec: Spec = _decode(Spec, raw)  # type: ignore[assignment]
    return spec


def decode_wish(raw: Mapping[str, Any]) -> Wish:
    """The wish that `encode` wrote."""
    wish: Wish = _decode(Wish, raw)  # type: ignore[assignment]
    return wish


_FREE = Wish()
_NEW = Queued()


def job(job_id: int, spec: Mapping[str, Any], wish: Mapping[str, Any] | None, phase: Mapping[str, Any] | None) -> Job:
    """The job of three records; a missing wish or phase is that of a new submission."""
    return element(job_id, decode_spec(spec), wish, phase, None)


def element(
    job_id: int,
    spec: Spec,
    wish: Mapping[str, Any] | None,
    phase: Mapping[str, Any] | None,
    array_id: int | None,
) -> Job:
    """As `job`, with a spec already decoded, which the elements of an array share."""
    return Job(
        job_id,
        spec,
        _FREE if wish is None else decode_wish(wish),
        _NEW if phase is None else decode_phase(phase),
        array_id,
    )
