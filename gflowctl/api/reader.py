"""Reads one state directory again and again at the cost of what is new, for one thread at a time."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gflowctl.api.job_cache import KeptJobs
from gflowctl.context import Context
from gflowd.storage.store import Follower, Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gflowctl.api.values import Job
    from gflowctl.view.views import View
    from gflowd.storage.record_log import Fold, Key

# Writers of one process make files that are named by its pid, whatever Queue they use.
WRITING = threading.RLock()


def _renew_after_fork() -> None:
    """The thread that was writing is not in the new process, so it would never let go."""
    global WRITING
    WRITING = threading.RLock()


os.register_at_fork(after_in_child=_renew_after_fork)


class FollowedStore(Store):
    """A snapshot that is read incrementally. `read` answers the same fold, of which others may not keep anything."""

    def __init__(self, context: Context) -> None:
        super().__init__(context.state, polls=True)
        self._follower = Follower(self)
        self._touched: list[Key] | None = None

    def read(self) -> Fold:
        """As `Store.read`."""
        self.state.check()
        keys = self._follower.catch_up()
        if keys is None:
            self._touched = None
        elif self._touched is not None:
            self._touched += keys
        return self._follower.fold

    def take_touched(self) -> list[Key] | None:
        """The records that changed since this was last asked; None if any may have."""
        touched, self._touched = self._touched, []
        return touched

    def close(self) -> None:
        """Closes the file; it is opened again when needed."""
        self._follower.close()

    def __del__(self) -> None:
        if hasattr(self, "_follower"):
            self._follower.close()


class Reader:
    """Views of one state directory, one at a time, and the jobs in them."""

    def __init__(
        self, environ: Mapping[str, str], config: str | None, state_dir: str | None, daemon: str | None = None
    ) -> None:
        self._context = Context(environ, config, state_dir, daemon=daemon, embedded=True)
        if config is None and environ.get("GFLOW_CONFIG"):
            environ = {**environ, "GFLOW_CONFIG": self._context.config_path}
        # of the directory in which it was made: a program may change to another
        self._origin = environ, None if config is None else os.path.abspath(config), self._context.state.root
        self._context = Context(*self._origin, embedded=True)
        self._store = FollowedStore(self._context)
        self._jobs = KeptJobs()
        self._lock = threading.RLock()

    def fresh_context(self) -> Context:
        """A context of its own, for what takes long."""
        environ, config, state_dir = self._origin
        context = Context(environ, config, state_dir, embedded=True)
        context.check_config()
        return context

    @contextmanager
    def view(self) -> Iterator[View]:
        """The jobs as they are now, for this thread alone until the block ends."""
        from gflowctl.view import views

        with self._lock:
            self._renew()
            yield views.View(self._context, self._store.read())

    @contextmanager
    def changing(self) -> Iterator[Context]:
        """The context of a change, for this thread alone until the block ends."""
        with self._lock, WRITING:
            self._renew()
            yield self._context

    def jobs(self, view: View, ids: Iterable[int]) -> list[Job]:
        """The jobs of `view` with these ids, which must exist."""
        self._jobs.follow(view, self._store.take_touched())
        return [self._jobs.job(view, job_id) for job_id in ids]

    def notes(self) -> list[str]:
        """What was noted of the snapshot and the history since this was last asked."""
        with self._lock:
            found, self._store.notes[:] = list(dict.fromkeys(self._store.notes)), []
            return found

    def close(self) -> None:
        """Closes what is open."""
        with self._lock:
            self._store.close()

    def _renew(self) -> None:
        self._context.check_config()
        self._context.renew(self._store)


def environment_of(environ: Mapping[str, str] | None) -> dict[str, str]:
    """A copy of the given variables, or of this process's."""
    return dict(os.environ if environ is None else environ)
