"""Whether the `gflowctl run` that a job belongs to is still there. A part of the zombie detector."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gflowd.effects.attempt import relay_directory

if TYPE_CHECKING:
    from gflowd.core.execution.observations import Key, LiveJob, Observation
    from gflowd.paths import State


class RelayWatch:
    """Remembers which are watched, and which are gone."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._held: dict[Key, int] = {}  # readable once it is gone
        self._abandoned: set[Key] = set()

    def with_its_end(self, observation: Observation, job: LiveJob) -> Observation:
        """The observation of a job of `gflowctl run`, which may be gone."""
        assert job.relay is not None
        key = job.key
        if key not in self._held and key not in self._abandoned:
            directory = self._state.relay(job.relay, job.uid)
            opener = self._opener(job)
            watched = relay_directory.watch(directory, *opener)
            if watched is not None:
                self._held[key] = watched
            elif not relay_directory.is_held(directory, *opener):
                self._abandoned.add(key)
        if key in self._held and relay_directory.is_over(self._held[key]):
            self._abandoned.add(key)
            os.close(self._held.pop(key))
        return observation.replace(abandoned=True) if key in self._abandoned else observation

    def _opener(self, job: LiveJob) -> tuple[relay_directory.Opener] | tuple[()]:
        if self._state.shared is None:
            return ()
        from gflowd.effects.shared_mode import user_files  # of no use to others
        from gflowd.workers import attempt_processes

        return (user_files.pipe_opener(attempt_processes.owner_of(job)),)

    def watched(self) -> tuple[int, ...]:
        """Descriptors that become readable."""
        return tuple(self._held.values())

    def forget_all_but(self, keys: set[Key]) -> None:
        """Watches no others any more."""
        for key in self._held.keys() - keys:
            os.close(self._held.pop(key))
        self._abandoned &= keys
