"""The Standard Workload Format, version 2.2, in which traces of parallel machines are published: read and written.

Defined by D. Feitelson and others, https://www.cs.huji.ac.il/labs/parallel/workload/swf.html: header comments
`; Name: value`, then a line of eighteen numbers per job, -1 for what is not known.
"""

from __future__ import annotations

from math import isfinite
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

UNKNOWN = -1


class Record(NamedTuple):
    """A job, its fields in the order of the format. Times in seconds, those of submission since the trace began;
    memory in kilobytes per processor.
    """

    number: int
    submitted: float
    waited: float = UNKNOWN
    ran: float = UNKNOWN
    processors: int = UNKNOWN
    cpu_time: float = UNKNOWN
    memory: float = UNKNOWN
    asked_processors: int = UNKNOWN
    asked_time: float = UNKNOWN
    asked_memory: float = UNKNOWN
    status: int = UNKNOWN  # 1: completed
    user: int = UNKNOWN
    group: int = UNKNOWN
    executable: int = UNKNOWN
    queue: int = UNKNOWN
    partition: int = UNKNOWN
    preceding: int = UNKNOWN
    think_time: float = UNKNOWN


class Trace(NamedTuple):
    """The header comments that have a name, and the jobs in order of submission."""

    header: dict[str, str]
    records: list[Record]


def read(lines: Iterable[str]) -> Trace:
    """A trace. Raises ValueError that names the line, where one is no job."""
    trace = Trace({}, [])
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text.startswith(";"):
            name, colon, value = text.lstrip("; ").partition(":")
            if colon:
                trace.header[name.strip()] = value.strip()
        elif text:
            trace.records.append(_record(text.split(), number))
    trace.records.sort(key=lambda record: record.submitted)
    return trace


def write(trace: Trace) -> Iterator[str]:
    """The lines of a trace."""
    for name, value in trace.header.items():
        yield f"; {name}: {value}\n"
    for record in trace.records:
        yield " ".join(map(str, record)) + "\n"


def _record(fields: list[str], line: int) -> Record:
    if len(fields) != len(Record._fields):
        raise ValueError(f"line {line}: {len(fields)} fields, not {len(Record._fields)}")
    try:
        return Record(*map(_number, fields))  # type: ignore[arg-type]
    except ValueError:
        raise ValueError(f"line {line}: a field is no number") from None


def _number(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError
    return int(value) if value.is_integer() else value
