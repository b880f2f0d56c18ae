"""Gathers what the `job.sh` of an attempt has to know, and makes what that rests on: the environment as a script, the
directories for temporary files and for Slurm's programs. Starts nothing.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import TYPE_CHECKING

from gflowd import paths
from gflowd.core.errors import Refused
from gflowd.core.execution import job_environment, job_script, output_files, resource_limits
from gflowd.core.gateway import protocol
from gflowd.core.job import array_task
from gflowd.core.job.model import TMUX
from gflowd.core.progress import report
from gflowd.core.slurm import front_ends, job_variables, site
from gflowd.core.syntax import filename_patterns
from gflowd.effects.attempt import slurm_programs
from gflowd.effects.attempt.tmux import TERM
from gflowd.effects.shared_mode import attempt_directory, given_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowd.core.job.model import Job, Run, Spec
    from gflowd.effects.shared_mode.account import Account
    from gflowd.paths import Runtime, State
    from gflowd.workers.scheduler.upkeep.scratch import Scratch

LONGEST_FIRST_LINE = 4096  # bytes of a script; the kernel reads 255


class JobSetup:
    """For jobs of the daemon's own user, and with an `owner` for those of one of many."""

    is_remote = False  # the jobs run on other machines

    def __init__(self, state: State, runtime: Runtime, scratch: Scratch | None) -> None:
        self._state = state
        self._runtime = runtime
        self._scratch = scratch
        self._node = site.node(os.uname().nodename)
        self._has_tools = False

    def launch(self, job: Job, run: Run, cgroup: str | None, owner: Account | None = None) -> job_script.Launch:
        """What `job.sh` has to know. Raises OSError, and `GflowError` for a file that is not private."""
        spec = job.spec
        key = job.id, run.attempt
        term = TERM if run.executor == TMUX else None
        words = list(array_task.command(job))
        interpreter: tuple[bytes, ...] = ()
        if spec.script is not None:
            path = self._script(spec)
            interpreter = job_script.interpreter(_head(path, owner))
            words[:1] = [*(map(os.fsdecode, interpreter) if _is_noexec(path) else ()), path]
        extra = self._variables(job, run, term, owner)
        return job_script.Launch(
            title=f"gflow job {job.id} ({array_task.name(job)}), attempt {run.attempt}",
            directory=os.fsencode(self._state.attempt(*key)),
            own=None if owner is None else os.fsencode(self._state.own_attempt(*key)),
            bell=os.fsencode(self._runtime.bell if owner is None else attempt_directory.bell(self._state, key)),
            environment=os.fsencode(self._environment_script(spec.env, owner)),
            variables=tuple((name, os.fsencode(value)) for name, value in extra.items()),
            scratch=self._tmp(job, owner),
            cwd=os.fsencode(spec.cwd),
            umask=spec.umask,
            limits=() if spec.limits is None else resource_limits.parse(spec.limits),
            command=tuple(os.fsencode(word) for word in words),
            output=self._redirect(job, spec.output),
            error=self._redirect(job, spec.error),
            input=self._redirect(job, spec.input),
            append=spec.append,
            emptied=() if spec.append else tuple(self._emptied(job, owner)),
            cgroup=None if cgroup is None else os.fsencode(cgroup),
            conda_env=None if spec.conda_env is None else os.fsencode(spec.conda_env),
            tools=self._tools(owner) if spec.slurm else None,
            login=job_script.is_login(interpreter),
            tool_names=front_ends.NAMES,
            pid_name=job_variables.PID if spec.slurm and not self.is_remote else None,
            remote=self.is_remote,
            interpreter=interpreter[0] if interpreter else None,
            to_file=run.executor != TMUX,
            relay=None if spec.relay is None else os.fsencode(self._state.relay(spec.relay, spec.uid)),
            pty=spec.pty,
        )

    def _variables(self, job: Job, run: Run, term: str | None, owner: Account | None) -> dict[str, str]:
        extra = job_environment.variables(job, run, self._state.root, term)
        extra[report.VARIABLE] = self._state.progress(job.id, run.attempt)
        if job.spec.slurm:
            extra |= job_variables.of_job(job, run, self._host(owner))
        return extra

    def _script(self, spec: Spec) -> str:
        """Where the nodes or we find the script of a job that has one. Raises OSError."""
        assert spec.script is not None
        return self._state.script(spec.script, spec.uid)

    def _tmp(self, job: Job, owner: Account | None) -> bytes | None:
        """The job's directory for temporary files. Raises OSError."""
        assert self._scratch is not None
        return os.fsencode(self._scratch.make(job.id, None if owner is None else (owner.uid, owner.gid)))

    def _host(self, owner: Account | None) -> job_variables.Host:
        uid, gid = (os.getuid(), os.getgid()) if owner is None else (owner.uid, owner.gid)
        return job_variables.Host(node=self._node, uid=uid, gid=gid)

    def _tools(self, owner: Account | None) -> bytes | None:
        """The directory of Slurm's programs, which is filled once, and again if something is gone."""
        directory = self._state.path("bin")
        if not self._has_tools or not all(os.path.exists(os.path.join(directory, name)) for name in front_ends.NAMES):
            slurm_programs.put(directory, front_ends.NAMES, for_all=owner is not None)
            after_login = job_script.after_login(os.fsencode(directory))
            mode = 0o600 if owner is None else 0o644
            path = os.path.join(directory, job_script.AFTER_LOGIN)
            paths.replace_file(path, after_login, durable=False, mode=mode, is_exact=True)
            self._has_tools = True
        return os.fsencode(directory)

    def _redirect(self, job: Job, pattern: str | None) -> bytes | None:
        if pattern is None:
            return None
        return os.fsencode(output_files.path(job, pattern))

    def _emptied(self, job: Job, owner: Account | None) -> Iterator[job_script.Emptied]:
        """The files of its output, and where it stands whether its submission has emptied them. Raises OSError."""
        spec = job.spec
        for pattern in dict.fromkeys((spec.output, spec.error)):
            path = self._redirect(job, pattern)
            if pattern is None or path is None:
                continue
            alone = spec.batch is None
            name = blake2b(path, digest_size=8).hexdigest()
            if alone and (spec.family is None or filename_patterns.is_of_one_job(pattern, elements=True)):
                mark = f"{self._state.own_job(job.id)}/opened.{name}"
                yield job_script.Emptied(path, os.fsencode(mark), shared=False)
            else:
                first = (job.array_id or job.id) if spec.batch is None else spec.batch
                mark = os.path.join(self._marks(owner), f"{first}.{name}")
                yield job_script.Emptied(path, os.fsencode(mark), shared=True)

    def _marks(self, owner: Account | None) -> str:
        """The directory of the marks of submissions. Raises OSError, and as `paths.private_directory`."""
        directory = self._state.kept("outputs", None if owner is None else owner.uid)
        if owner is None:
            paths.private_directory(directory)
        else:
            given_files.directory(directory, owner)
        return directory

    def _environment_script(self, name: str, owner: Account | None) -> str:
        """The environment as a script beside its file, written once for all jobs that share it."""
        source = self._state.environment(name, None if owner is None else owner.uid)
        path = f"{source}.sh"
        if not (os.path.exists(path) if owner is None else given_files.is_there(path)):
            if owner is None:
                script = job_script.environment_script(paths.read_private(source))
                paths.replace_file(path, script, durable=True)
            else:
                content = given_files.read(source, owner, protocol.TAIL_LIMIT)
                if paths.content_name(content) != name:
                    raise Refused(f"{source} is not what was submitted any more")
                given_files.write(path, job_script.environment_script(content), owner, 0o400, durable=True)
        return path


def _head(path: str, owner: Account | None) -> bytes:
    """The begin of a kept script. Raises OSError."""
    if owner is not None:
        return given_files.read(path, owner, LONGEST_FIRST_LINE)
    with open(path, "rb") as file:
        return file.read(LONGEST_FIRST_LINE)


def _is_noexec(path: str) -> bool:
    """Whether nothing there can be executed, so that a script must be given to its interpreter. Raises OSError."""
    return bool(os.statvfs(os.path.dirname(path)).f_flag & os.ST_NOEXEC)
