"""The snapshot as anybody can read it: each record in the order in which it was written, and the jobs that they make.

Reads the file with code of its own, so that a mistake in gflow's reader shows too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import orjson

Line = tuple[str, Any, Any]  # kind, id, value
Shape = tuple[Any, ...]

QUEUED, STARTING, RUNNING, STOPPING, ENDED = "queued", "starting", "running", "stopping", "ended"
LIVE = (STARTING, RUNNING, STOPPING)
NEW = {"is": QUEUED}
CRC = 9  # bytes in front of the JSON of a line


@dataclass(eq=False, slots=True)
class Seen:
    """One job as its records say. `touched`: somebody has wished something of it, or it has been tried before."""

    id: int
    array_id: int | None
    spec: dict[str, Any]
    wish: dict[str, Any] = field(default_factory=dict)
    phase: dict[str, Any] = field(default_factory=lambda: NEW)
    touched: bool = False

    @property
    def is_(self) -> str:
        return str(self.phase["is"])

    @property
    def gpus(self) -> int:
        return int(self.spec.get("gpus", 0))

    @property
    def cpus(self) -> int:
        return int(self.spec.get("cpus", 1))

    @property
    def memory_mb(self) -> int:
        return int(self.spec.get("memory_mb") or 0)

    @property
    def limit(self) -> float | None:
        return self.spec.get("time_limit")

    @property
    def user(self) -> str:
        return str(self.spec["user"])

    @property
    def shared(self) -> bool:
        return bool(self.spec.get("shared", False))

    @property
    def gpu_memory_mb(self) -> int:
        return int(self.spec.get("gpu_memory_mb") or 0)

    @property
    def band(self) -> tuple[float, int]:
        """What is first of all: the least is first."""
        return -(self.wish.get("top_at") or 0.0), -int(self.spec.get("priority", 10))

    @property
    def shape(self) -> Shape:
        """Equal for jobs that can start or cannot together."""
        spec = self.spec
        return self.gpus, self.cpus, self.memory_mb, spec.get("gpu_type"), self.gpu_memory_mb, self.shared, self.limit

    @property
    def attempt(self) -> int:
        """The number of its present or last attempt."""
        return int((self.run or self.phase).get("attempt", 1))

    @property
    def run(self) -> dict[str, Any]:
        found: dict[str, Any] = self.phase.get("run") or {}
        return found

    @property
    def gpu_ids(self) -> tuple[int, ...]:
        """The GPUs that it has or had."""
        return tuple(self.run.get("gpu_ids", ()))

    @property
    def holds(self) -> bool:
        """Whether it has what it was given."""
        return self.is_ in LIVE or bool(self.phase.get("lingers"))


class Ledger:
    """`jobs` by id, of which `waiting` are queued and `holding` have resources; `records` of other kinds by id."""

    def __init__(self, path: str) -> None:
        self.jobs: dict[int, Seen] = {}
        self.waiting: dict[int, Seen] = {}
        self.holding: dict[int, Seen] = {}
        self.arrays: dict[int, range] = {}
        self.records: dict[str, dict[Any, Any]] = {}
        self._path = path
        self._fd = -1
        self._offset = 0

    def of(self, kind: str) -> dict[Any, Any]:
        return self.records.setdefault(kind, {})

    def read(self) -> list[Line]:
        """What was written since; to be given to `apply`. A file written anew tells all that is different."""
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return []
        if self._fd < 0 or os.fstat(self._fd).st_ino != there.st_ino:
            self.close()
            self._fd, self._offset = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC), 0
            return self._different(self._lines())
        return self._lines()

    def apply(self, line: Line) -> None:
        """Takes in one record."""
        kind, key, value = line
        if kind == "spec":
            self._submit(key, value)
        elif kind == "wish" and key in self.jobs:
            self.jobs[key].wish, self.jobs[key].touched = value or {}, True
        elif kind == "phase" and key in self.jobs:
            self._move(self.jobs[key], value)
        if kind not in ("spec", "wish", "phase"):
            self.of(kind)[key] = value
            if value is None:
                del self.of(kind)[key]

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _lines(self) -> list[Line]:
        size = os.fstat(self._fd).st_size
        data = os.pread(self._fd, size - self._offset, self._offset)
        found: list[Line] = []
        pending: list[Line] = []
        taken = place = 0
        for line in data.split(b"\n")[:-1]:
            try:
                more, _, kind, key, value = orjson.loads(line[CRC:])
            except ValueError:
                break
            place += len(line) + 1
            pending.append((kind, key, value))
            if not more:
                found += pending
                taken = place
                pending.clear()
        self._offset += taken
        return found

    def _different(self, lines: list[Line]) -> list[Line]:
        now = {(kind, key): value for kind, key, value in lines}
        lines = [(kind, key, value) for (kind, key), value in now.items() if self._known(kind, key) != value]
        lines.sort(key=lambda line: line[0] != "spec")
        known = [("wish", each.id) for each in self.jobs.values() if each.wish]
        known += [(kind, key) for kind, records in self.records.items() for key in records]
        return lines + [(kind, key, None) for kind, key in known if (kind, key) not in now and kind != "attempt"]

    def _known(self, kind: str, key: Any) -> Any:
        if kind in ("spec", "wish", "phase"):
            return getattr(self.jobs[key], kind) if key in self.jobs else None
        return self.of(kind).get(key)

    def _submit(self, job_id: int, spec: dict[str, Any] | None) -> None:
        if spec is None:
            for each in self.arrays.pop(job_id, range(job_id, job_id + 1)):
                self.jobs.pop(each, None)
            return
        ids = range(job_id, job_id + 1)
        if "family" in spec:
            ids = self.arrays[job_id] = range(job_id, job_id + sum(_length(span) for span in spec["family"]["ranges"]))
        for each in ids:
            if each in self.jobs:
                self.jobs[each].spec, self.jobs[each].touched = spec, True
            else:
                made = self.jobs[each] = Seen(each, job_id if "family" in spec else None, spec)
                self.waiting[each] = made

    def _move(self, job: Seen, phase: dict[str, Any] | None) -> None:
        job.phase = phase or NEW
        job.touched = job.touched or (job.is_ == QUEUED and phase is not None)
        for table, is_in in ((self.waiting, job.is_ == QUEUED), (self.holding, job.holds)):
            if is_in:
                table[job.id] = job
            else:
                table.pop(job.id, None)


def _length(span: list[int]) -> int:
    first, last, step = span
    return (last - first) // step + 1
