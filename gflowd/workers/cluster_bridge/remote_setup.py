"""What the nodes of a cluster need of a job, in the directory that they see: environment, script, `job.sh`.

The attempt's directory in our state directory is a link to that one, so that logs and exit records are read there by
all who read them of jobs of this machine.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from gflowd import paths
from gflowd.core.cluster import remote_job
from gflowd.core.execution import job_script
from gflowd.effects import files
from gflowd.effects.attempt import jobdir
from gflowd.paths import State
from gflowd.workers.scheduler.launching.job_setup import JobSetup

if TYPE_CHECKING:
    from gflowd.core.execution.observations import Key
    from gflowd.core.job.model import Job, Run, Spec
    from gflowd.effects.shared_mode.account import Account
    from gflowd.paths import Runtime

READABLE, EXECUTABLE = 0o600, 0o700


class RemoteSetup(JobSetup):
    """For one cluster. `root`: our part of its directory; `state`: this machine's."""

    is_remote = True

    def __init__(self, state: State, runtime: Runtime, root: str) -> None:
        self._local = state
        self.place = State(root)
        self.place.share(None)
        super().__init__(self.place, runtime, None)

    def prepare(self, job: Job, run: Run) -> str:
        """Writes all that the attempt needs; returns its directory. Raises OSError, and as `paths`."""
        key = job.id, run.attempt
        directory = self.place.attempt(*key)
        self.place.prepare()
        for name in ("env", "scripts"):
            paths.private_directory(self.place.path(name))
        script = job_script.job_script(self.launch(job, run, None))
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._link(key, directory)
        os.close(jobdir.reserve(directory))
        files.replace(os.path.join(directory, "job.sh"), script, EXECUTABLE)
        return directory

    def _link(self, key: Key, directory: str) -> None:
        """Lets our directory of the attempt lead there; one that is there already holds a bar, and nothing else."""
        ours = self._local.attempt(*key)
        os.makedirs(os.path.dirname(ours), mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.symlink(directory, ours)

    def bar(self, key: Key, why: str) -> bool:
        """Keeps an attempt from ever beginning; False if it has begun. Raises OSError."""
        directory = self.place.attempt(*key)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._link(key, directory)
        return jobdir.bar(directory, why)

    def _variables(self, job: Job, run: Run, term: str | None, owner: Account | None) -> dict[str, str]:
        return remote_job.variables(super()._variables(job, run, term, owner)) | {"GFLOW_STATE_DIR": self._local.root}

    def _tmp(self, job: Job, owner: Account | None) -> None:  # noqa: ARG002 -- the node has its own
        return None

    def _tools(self, owner: Account | None) -> None:  # noqa: ARG002 -- there are the real ones
        return None

    def _script(self, spec: Spec) -> str:
        assert spec.script is not None
        path = self.place.script(spec.script)
        if not os.path.exists(path):
            paths.replace_file(path, paths.read_private(self._local.script(spec.script)), durable=False, mode=0o700)
        return path

    def _environment_script(self, name: str, owner: Account | None) -> str:  # noqa: ARG002 -- one user's
        path = f"{self.place.environment(name)}.sh"
        if not os.path.exists(path):
            data = remote_job.environment(paths.read_private(self._local.environment(name)))
            paths.replace_file(path, job_script.environment_script(data), durable=False)
        return path
