"""How long jobs without a time limit are expected to take: the median of similar jobs. Mutable; pure.

The narrowest group with any known run decides: elements of the same array, jobs of the same user, width and
name, then of the same user and width, of the same user, of all users. A prediction is never a promise.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, NamedTuple

from gflowd.core.job import reasons
from gflowd.core.job.model import FAILED, FINISHED, TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import Any

    from gflowd.core.job.model import Job, Spec

    Key = tuple[object, ...]
    Run = tuple[float, float]  # when it ended, seconds since the epoch, and how many seconds it had run

MOST = 10  # runs that a prediction looks at
NAMES = 64  # per user and width that are remembered; the one that has not run for longest goes first
LONGEST_KEY = 200  # characters of a name that distinguish it from others
ASSUMED = 86400.0  # seconds, if nothing is known

LIMIT, ARRAY, NAME, WIDTH, USER, EVERYBODY, DEFAULT, GUESS = SOURCES = (
    "limit", "array", "name", "width", "user", "everybody", "default", "guess",
)  # fmt: skip
_ENDS = (FINISHED, FAILED, TIMEOUT)  # the run time of a cancelled job is not known


class Length(NamedTuple):
    """The seconds that a job counts as, and their basis: one of `SOURCES`, and how many runs."""

    seconds: float
    source: str = LIMIT
    runs: int = 0

    @property
    def is_certain(self) -> bool:
        """Whether the job is ended at that time."""
        return self.source == LIMIT


class Runtimes:
    """The last runs by likeness, as the snapshot's `runs` records and the ended elements of arrays tell them.

    `default` is the configured `default_time_limit` in seconds, if there is one.
    """

    def __init__(self, default: float | None = None) -> None:
        self._assumed = Length(ASSUMED, GUESS) if default is None else Length(default, DEFAULT)
        self._last: dict[Key, list[Run]] = {}
        self._of_elements: dict[int, dict[int, Run]] = {}  # which element each run of an array is of
        self._names: dict[tuple[str, int], dict[str, None]] = {}
        self._known: dict[Key, Length] = {}  # cached predictions since the last change

    def take(self, record_id: str, record: Mapping[str, Any] | None) -> tuple[str, int, str] | None:
        """Takes in a record, or that it is gone. User, width and name when these were not known before, or are not any
        more.
        """
        if record is None:
            return self._forget(record_id)
        user, gpus, name = str(record["user"]), int(record["gpus"]), str(record["name"])
        names = self._names.setdefault((user, gpus), {})
        is_new = name not in names
        names.pop(name, None)
        names[name] = None  # the most recent run is last
        runs = [(float(at), float(seconds)) for at, seconds in record["runs"]]
        for key in ((NAME, user, gpus, name), *_wider(user, gpus)):
            self._add(key, runs)
        return (user, gpus, name) if is_new else None

    def knows(self, array_id: int) -> bool:
        """Whether an element of an array has run."""
        return (ARRAY, array_id) in self._last

    def see(self, array_id: int, job_id: int, run: Run | None) -> None:
        """Takes in the run of an element, or that it has none any more because it is to run again."""
        key, own = (ARRAY, array_id), self._of_elements.setdefault(array_id, {})
        before = own.pop(job_id, None)
        if before is not None and before in self._last.get(key, ()):
            self._last[key].remove(before)
            self._known.pop(key, None)
            if not self._last[key]:
                del self._last[key]
        if run is not None:
            self._add(key, [run])
            own[job_id] = run
            for each in [each for each, its in own.items() if its not in self._last[key]]:
                del own[each]
        if not own:
            self.forget_array(array_id)

    def forget_array(self, array_id: int) -> None:
        """An array is gone."""
        self._of_elements.pop(array_id, None)
        self._last.pop((ARRAY, array_id), None)
        self._known.pop((ARRAY, array_id), None)

    def length(self, job: Job) -> Length:
        """What a job counts as: its time limit, or else the prediction."""
        spec = job.spec
        if spec.time_limit is not None:
            return Length(spec.time_limit)
        return self.predicted(spec.user, spec.gpus, self.label(job))

    def label(self, job: Job) -> int | str | None:
        """What distinguishes a job without a limit from others of its user and width: its array's id, its name, or None
        where nothing is known of either.
        """
        if job.array_id is not None and self.knows(job.array_id):
            return job.array_id
        name = _short(job.spec.name)
        return name if (NAME, job.spec.user, job.spec.gpus, name) in self._last else None

    def predicted(self, user: str, gpus: int, label: int | str | None) -> Length:
        """The prediction for jobs of a user with this number of GPUs and this label."""
        wanted = [*_wider(user, gpus)]
        if label is not None:
            wanted.insert(0, (ARRAY, label) if isinstance(label, int) else (NAME, user, gpus, label))
        for key in wanted:
            if key in self._last:
                if key not in self._known:
                    runs = self._last[key]
                    self._known[key] = Length(_median([seconds for _, seconds in runs]), str(key[0]), len(runs))
                return self._known[key]
        return self._assumed

    def outdated(self, user: str, gpus: int, name: str) -> str | None:
        """The id of the record to drop when one of that name is written; None while there is room."""
        names = self._names.get((user, gpus), {})
        if _short(name) in names or len(names) < NAMES:
            return None
        return _id(user, gpus, next(iter(names)))

    def _forget(self, record_id: str) -> tuple[str, int, str] | None:
        gpus, user, name = record_id.split(" ", 2)
        owner = user, int(gpus)
        if name not in self._names.get(owner, {}):
            return None
        del self._names[owner][name]
        self._drop(self._last.pop((NAME, *owner, name), []), *owner)
        self._known.pop((NAME, *owner, name), None)
        return (*owner, name)

    def _drop(self, runs: Collection[Run], user: str, gpus: int) -> None:
        """These runs are no longer recorded; predictions for wider groups are based on the remaining ones."""
        for key in _wider(user, gpus):
            if any(run in self._last.get(key, ()) for run in runs):
                named = [its for its in self._last if its[0] == NAME and its[1 : len(key)] == key[1:]]
                left = sorted({run for its in named for run in self._last[its]})[-MOST:]
                self._known.pop(key, None)
                if left:
                    self._last[key] = left
                else:
                    del self._last[key]

    def _add(self, key: Key, runs: Iterable[Run]) -> None:
        last = self._last.setdefault(key, [])
        for run in runs:
            if run not in last:
                insort(last, run)
        del last[:-MOST]
        self._known.pop(key, None)


def lasted(phase: Mapping[str, Any] | None) -> Run | None:
    """The run in a phase record, without its suspensions; None if it says nothing about how long such jobs take."""
    if phase is None or phase.get("started_at") is None or phase.get("state") not in _ENDS:
        return None
    if phase.get("reason") == reasons.ZOMBIE:
        return None
    return phase["ended_at"], max(0.0, phase["ended_at"] - phase["started_at"] - phase.get("paused", 0.0))


def record_id(spec: Spec) -> str:
    """The id of the `runs` record of a job's user, width and name."""
    return _id(spec.user, spec.gpus, _short(spec.name))


def record(before: Mapping[str, Any] | None, spec: Spec, run: Run) -> dict[str, Any]:
    """That record after a run."""
    runs = [] if before is None else before["runs"]
    last = sorted([*((at, seconds) for at, seconds in runs), run])[-MOST:]
    return {"user": spec.user, "gpus": spec.gpus, "name": _short(spec.name), "runs": [list(each) for each in last]}


def remaining(length: Length, elapsed: float) -> float:
    """The seconds that a job which has run for `elapsed` is expected to run on. One without a limit that is overdue is
    taken to need twice as long as was thought, and so on.
    """
    seconds = length.seconds
    if not length.is_certain:
        seconds = max(seconds, 1.0)
        while seconds <= elapsed:
            seconds *= 2
    return seconds - elapsed


def _median(numbers: list[float]) -> float:
    ordered, half = sorted(numbers), len(numbers) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _wider(user: str, gpus: int) -> tuple[Key, ...]:
    """The likenesses that jobs of other names have too."""
    return (WIDTH, user, gpus), (USER, user), (EVERYBODY,)


def _short(name: str) -> str:
    return name[:LONGEST_KEY]


def _id(user: str, gpus: int, name: str) -> str:
    return f"{gpus} {user} {name}"
