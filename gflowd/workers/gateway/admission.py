"""Judges requests by the core's rules, with what these need to know: who is an operator, what the machine has, which
jobs the history has.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

from gflowd.core.admission import rights
from gflowd.core.admission.judge import judge
from gflowd.core.admission.known_jobs import KnownJobs
from gflowd.core.admission.policy import Policy
from gflowd.core.admission.requester import ROOT, Requester
from gflowd.core.errors import GflowError
from gflowd.core.job import arrays
from gflowd.core.request.validation import Limits
from gflowd.core.syntax import instants
from gflowd.storage import history_queries, observed_reader
from gflowd.storage.history import History

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gflowd.config.loader import Config
    from gflowd.core.gateway.asking import Record
    from gflowd.core.gateway.requests import Commit
    from gflowd.effects.gateway.peers import Asker, Peers
    from gflowd.paths import State
    from gflowd.storage.record_log import Fold, Key


class Admission:
    """Mutable: the index of the jobs in the snapshot, and what was last read of the machine and the history."""

    def __init__(self, state: State, config: Config, peers: Peers) -> None:
        self._state, self._config, self._peers = state, config, peers
        self._observed = state.observed
        self._policy = Policy(
            top_priority=config.shared_top_priority,
            reserve=config.shared_reserve,
            max_jobs_per_user=config.shared_max_jobs_per_user,
            allow_root=config.shared_allow_root,
            least_uid=config.shared_least_uid,
            notify_urls=config.shared_notify_urls,
            quotas=config.quotas,
            zone=instants.zone(config.timezone),
        )
        self._jobs: KnownJobs | None = None
        self._machine: tuple[object, Limits] = ("never read", Limits())
        self._has_looked = False  # at the machine, in this round
        self._history: History | None = None

    def follow(self, fold: Fold, keys: Sequence[Key] | None) -> None:
        """The snapshot, in which these records have changed; None: it is another one."""
        if keys is None or self._jobs is None:
            self._jobs = KnownJobs(fold)
        else:
            self._jobs.note(keys)

    def check(self, asker: Asker) -> None:
        """Raises `Refused` for who may have no jobs."""
        rights.check_submit(self._requester(asker), self._policy)

    def admitted(self, request: Commit, asker: Asker, next_id: int) -> list[Record]:
        """What is to be written. Raises `Refused`."""
        try:
            return judge(
                request.records, self.jobs, self._requester(asker), self._policy, self._limits(), next_id, time.time(),
                request.once, self._past,
            )  # fmt: skip
        finally:
            self._close_history()  # SQLite must not be open across the forks of `history_answers`

    def spec_of(self, job_id: int) -> int:
        """The id under which the spec of a job is kept, if there is such a job."""
        return self.jobs.spec_of(job_id)

    def has_unended(self, asker: Asker, name: str) -> bool:
        """Whether they have a job of that name that has not ended."""
        return self.jobs.has_unended(asker.name, name)

    def size(self, spec: Mapping[str, Any]) -> int:
        """How many ids the record of a spec takes."""
        return 1 if spec.get("family") is None else arrays.size(arrays.from_json(spec["family"]))

    def may_see_all(self, asker: Asker) -> bool:
        """Whether they are shown what all jobs run."""
        return not self._config.shared_private_jobs or self._is_operator(asker)

    def _close_history(self) -> None:
        history, self._history = self._history, None
        if history is not None:
            with contextlib.suppress(GflowError):
                history.close()

    @property
    def jobs(self) -> KnownJobs:
        """The jobs of the snapshot."""
        assert self._jobs is not None, "it follows before it judges"
        return self._jobs

    def begin_round(self) -> None:
        """A round begins."""
        self._has_looked = False

    def _limits(self) -> Limits:
        """What the daemon last saw of the machine, and the projects; as of the first request of a round."""
        if self._has_looked:
            return self._machine[1]
        self._has_looked = True
        try:
            found = os.stat(self._observed)
            stamp = found.st_ino, found.st_mtime_ns, found.st_size
        except OSError:
            stamp = None
        if stamp != self._machine[0]:
            seen = observed_reader.read(self._state)
            limits = Limits(
                gpus=seen.gpu_count, gpu_models=seen.gpu_models or None, cpus=seen.cpus, memory_mb=seen.memory_mb,
                known_projects=self._config.known_projects, require_project=self._config.require_project,
            )  # fmt: skip
            self._machine = stamp, limits
        return self._machine[1]

    def _requester(self, asker: Asker) -> Requester:
        users = self._config.shared_users
        may_submit = users is None or self._peers.is_among(asker, users)
        return Requester(asker.uid, asker.name, self._is_operator(asker), may_submit)

    def _is_operator(self, asker: Asker) -> bool:
        return asker.uid == ROOT or self._peers.is_among(asker, self._config.shared_operators)

    def _past(self, job_id: int) -> tuple[int, Mapping[str, Any]] | None:
        if self._history is None:
            try:
                self._history = History(self._state.history)
            except FileNotFoundError:
                return None
        for spec_id in history_queries.within(self._history, job_id, job_id):
            return spec_id, self._history.spec(spec_id)
        return None
