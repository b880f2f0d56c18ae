"""What is about to be handed over to a cluster, or was: one small file for each call of sbatch, durable before the call
is made, so that nothing is forgotten that a cluster may have.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gflowd import paths

if TYPE_CHECKING:
    from gflowd.core.execution.observations import Key

ALONE = -1  # the task of a job that is in no array of Slurm's


@dataclass(slots=True)
class Intent:
    """One job of Slurm's, or one array. `members`: the attempts by task; `words`: of sbatch, without the script, which
    is the file `script`.

    `cluster_id`: as sbatch has said; `array_id`: whose elements they are; `throttle`: how many of these may run at a
    time, as the cluster was told last. Mutable.
    """

    batch: str
    cluster: str
    mark: str
    words: tuple[str, ...]
    script: str
    members: dict[int, Key] = field(default_factory=dict)
    cluster_id: str | None = None
    throttle: int | None = None
    array_id: int | None = None

    def id_of(self, task: int) -> str | None:
        """What Slurm calls a member of it."""
        if self.cluster_id is None or task == ALONE:
            return self.cluster_id
        return f"{self.cluster_id}_{task}"


class Intents:
    """Those of one state directory, by batch."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def load(self) -> list[Intent]:
        """All that are kept, without what was being written when a writer was killed. Raises OSError; what cannot be
        read is no intent of ours.
        """
        paths.private_directory(self._directory)
        paths.discard_unfinished(self._directory)
        found = []
        for name in sorted(os.listdir(self._directory)):
            if name.endswith(".json"):
                intent = _read(paths.read_private(os.path.join(self._directory, name)))
                found += [] if intent is None else [intent]
        return found

    def save(self, intent: Intent, *, durable: bool) -> None:
        """Raises OSError."""
        paths.replace_file(self._path(intent), json.dumps(_raw(intent)).encode(), durable=durable)

    def drop(self, intent: Intent) -> None:
        """Forgets one whose members have all ended."""
        try:
            os.unlink(self._path(intent))
        except FileNotFoundError:
            return

    def _path(self, intent: Intent) -> str:
        return os.path.join(self._directory, f"{intent.batch}.json")


def _raw(intent: Intent) -> dict[str, Any]:
    return {
        "batch": intent.batch,
        "cluster": intent.cluster,
        "mark": intent.mark,
        "words": intent.words,
        "script": intent.script,
        "members": [[task, *key] for task, key in intent.members.items()],
        "cluster_id": intent.cluster_id,
        "throttle": intent.throttle,
        "array_id": intent.array_id,
    }


def _read(data: bytes) -> Intent | None:
    try:
        raw = json.loads(data)
        members = {int(task): (int(job_id), int(attempt)) for task, job_id, attempt in raw["members"]}
        return Intent(**{**raw, "members": members, "words": tuple(raw["words"])})
    except (KeyError, TypeError, ValueError):
        return None
