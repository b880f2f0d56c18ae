"""Starts committed attempts: writes each one's directory and hands the batch to tmux or detaches it.

Starting twice does no harm, since `job.sh` lets only one copy of itself begin; so there is nothing to remember.
"""

from __future__ import annotations

import errno
import os
from hashlib import blake2b
from typing import TYPE_CHECKING

from gflowd import log, paths
from gflowd.core.errors import GflowError
from gflowd.core.execution import job_environment, job_script, output_files, resource_limits
from gflowd.core.job import array_task
from gflowd.core.job.model import TMUX, Job, Run, session_name
from gflowd.core.progress import report
from gflowd.core.slurm import front_ends, job_variables, site
from gflowd.core.syntax import filename_patterns
from gflowd.effects import cgroups, detached, jobdir, relay, slurm_programs
from gflowd.effects.tmux import TERM, Session, Tmux, TmuxFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowd.paths import Runtime, State
    from gflowd.workers.scheduler.scratch import Scratch


LONGEST_FIRST_LINE = 4096  # bytes of a script; the kernel reads 255
# What a disk says that may be well again: no fault of the job's.
BAD_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)  # for files or processes, for now


class Launcher:
    """Starts batches of attempts. `deferred`: those of the last batch that the machine had no space for, and why."""

    def __init__(self, state: State, runtime: Runtime, scratch: Scratch) -> None:
        self._state = state
        self._runtime = runtime
        self._scratch = scratch
        self._log = log.get("scheduler")
        self._cgroups = cgroups.find(state.root)
        self._has_tools = False
        self._host = job_variables.Host(node=site.node(os.uname().nodename), uid=os.getuid(), gid=os.getgid())
        self._parent = detached.Parent()
        self._tmux = Tmux(runtime.tmux_socket, runtime.root)
        self.deferred: dict[tuple[int, int], str] = {}

    def launch(self, jobs: list[tuple[Job, Run]]) -> None:
        """Starts every attempt. One that cannot be started is barred with the reason, so that it fails; one that only
        a full disk or process table prevents is deferred.
        """
        self.deferred = {}
        prepared = [(job, run) for job, run in jobs if self._prepare(job, run)]
        in_tmux = [(job, run) for job, run in prepared if run.executor == TMUX]
        plain = [(job, run) for job, run in prepared if run.executor != TMUX]
        if in_tmux:
            self._launch_in_tmux(in_tmux)
        if plain:
            self._detach(plain)

    def reap(self) -> int:
        """Reaps the attempts that have ended; returns how many of those started without tmux have not."""
        return self._parent.reap()

    def has_sessions(self) -> bool:
        """Whether a session is there, of whichever job."""
        return bool(self._tmux.sessions())

    def _launch_in_tmux(self, jobs: list[tuple[Job, Run]]) -> None:
        room = self._tmux.room()
        if room is not None and room < len(jobs):
            self._defer(jobs[room:], "tmux may open no more files (ulimit -n of gflowd); jobs wait for others to end")
            jobs = jobs[:room]
            if not jobs:
                return
        sessions = [self._session(job, run) for job, run in jobs]
        try:
            complaints = self._tmux.start(sessions)
            there = self._tmux.sessions() if complaints else set()
        except TmuxFailed as error:
            if _will_pass(error.__cause__):
                self._defer(jobs, str(error))
            else:
                self._bar_all(jobs, str(error))
            return
        if complaints:
            self._log.warning("tmux complained", said="; ".join(complaints)[:500])
            missing = [(job, run) for job, run in jobs if session_name(job.id, run.attempt) not in there]
            self._bar_all(missing, f"tmux: {complaints[0]}")

    def _detach(self, jobs: list[tuple[Job, Run]]) -> None:
        batch = [detached.Detached(self._file(job, run, "job.sh"), self._file(job, run, "log")) for job, run in jobs]
        try:
            self._parent.start(batch)
        except OSError as error:
            self._defer(jobs, str(error))

    def _defer(self, jobs: list[tuple[Job, Run]], why: str) -> None:
        self.deferred |= {(job.id, run.attempt): why for job, run in jobs}

    def _bar_all(self, jobs: list[tuple[Job, Run]], why: str) -> None:
        """Bars those of these that have not begun; the others are on their way."""
        for job, run in jobs:
            self._bar(job, run, why)

    def _bar(self, job: Job, run: Run, why: str) -> None:
        try:
            if jobdir.bar(self._state.attempt(job.id, run.attempt), why.replace("\n", " ")):
                self._log.error("cannot launch", job=job.id, why=why)
        except OSError as error:
            self._log.error("cannot bar", job=job.id, why=str(error))

    def _prepare(self, job: Job, run: Run) -> bool:
        try:
            directory = self._state.attempt(job.id, run.attempt)
            if jobdir.beginning(directory) is not None:
                return False
            if job.spec.relay is not None and not relay.is_held(self._state.relay(job.spec.relay)):
                self._bar(job, run, "its gflowctl run has ended")
                return False
            launch = self._launch(job, run, directory)
            jobdir.prepare(directory, job_script.job_script(launch), job_script.pipes(launch))
        except OSError as error:
            why = f"{error.strerror}: {error.filename or self._file(job, run, 'job.sh')}"
            if _will_pass(error):
                self._defer([(job, run)], why)
            else:
                self._bar(job, run, why)
            return False
        except GflowError as error:  # a file that is not private
            self._bar(job, run, str(error))
            return False
        return True

    def _launch(self, job: Job, run: Run, directory: str) -> job_script.Launch:
        spec = job.spec
        term = TERM if run.executor == TMUX else None
        words = list(array_task.command(job))
        interpreter: tuple[bytes, ...] = ()
        if spec.script is not None:
            path = self._state.script(spec.script)
            interpreter = _interpreter(path)
            words[:1] = [*(map(os.fsdecode, interpreter) if _is_noexec(path) else ()), path]
        extra = job_environment.variables(job, run, self._state.root, term)
        extra[report.VARIABLE] = self._state.progress(job.id, run.attempt)
        if spec.slurm:
            extra |= job_variables.of_job(job, run, self._host)
        return job_script.Launch(
            title=f"gflow job {job.id} ({array_task.name(job)}), attempt {run.attempt}",
            directory=os.fsencode(directory),
            bell=os.fsencode(self._runtime.bell),
            environment=os.fsencode(self._environment_script(spec.env)),
            variables=tuple((name, os.fsencode(value)) for name, value in extra.items()),
            scratch=os.fsencode(self._scratch.make(job.id)),
            cwd=os.fsencode(spec.cwd),
            umask=spec.umask,
            limits=() if spec.limits is None else resource_limits.parse(spec.limits),
            command=tuple(os.fsencode(word) for word in words),
            output=self._redirect(job, spec.output),
            error=self._redirect(job, spec.error),
            input=self._redirect(job, spec.input),
            append=spec.append,
            emptied=() if spec.append else tuple(self._emptied(job)),
            cgroup=self._cgroup(job, run),
            conda_env=None if spec.conda_env is None else os.fsencode(spec.conda_env),
            tools=self._tools() if spec.slurm else None,
            login=job_script.is_login(interpreter),
            tool_names=front_ends.NAMES,
            pid_name=job_variables.PID if spec.slurm else None,
            interpreter=interpreter[0] if interpreter else None,
            to_file=run.executor != TMUX,
            relay=None if spec.relay is None else os.fsencode(self._state.relay(spec.relay)),
            pty=spec.pty,
        )

    @property
    def memory_limits(self) -> str:
        """What enforces them: `cgroup`, the kernel, or `watch`, the timeout enforcer."""
        return "watch" if self._cgroups is None else "cgroup"

    def _cgroup(self, job: Job, run: Run) -> bytes | None:
        if self._cgroups is None or job.spec.memory_mb is None:
            return None
        path = self._cgroups.make((job.id, run.attempt), job.spec.memory_mb)
        return None if path is None else os.fsencode(path)

    def _tools(self) -> bytes:
        """The directory of Slurm's programs, which is filled once, and again if something is gone."""
        directory = self._state.path("bin")
        if not self._has_tools or not all(os.path.exists(os.path.join(directory, name)) for name in front_ends.NAMES):
            slurm_programs.put(directory, front_ends.NAMES)
            after_login = job_script.after_login(os.fsencode(directory))
            paths.replace_file(os.path.join(directory, job_script.AFTER_LOGIN), after_login, durable=False)
            self._has_tools = True
        return os.fsencode(directory)

    def _redirect(self, job: Job, pattern: str | None) -> bytes | None:
        if pattern is None:
            return None
        return os.fsencode(output_files.path(job, pattern))

    def _emptied(self, job: Job) -> Iterator[job_script.Emptied]:
        """The files of its output, and where it stands whether its submission has emptied them. Raises OSError."""
        spec = job.spec
        for pattern in dict.fromkeys((spec.output, spec.error)):
            path = self._redirect(job, pattern)
            if pattern is None or path is None:
                continue
            alone = spec.batch is None
            name = blake2b(path, digest_size=8).hexdigest()
            if alone and (spec.family is None or filename_patterns.is_of_one_job(pattern, elements=True)):
                yield job_script.Emptied(path, os.fsencode(f"{self._state.job(job.id)}/opened.{name}"), shared=False)
            else:
                paths.private_directory(self._state.path("outputs"))
                first = (job.array_id or job.id) if spec.batch is None else spec.batch
                mark = self._state.path("outputs", f"{first}.{name}")
                yield job_script.Emptied(path, os.fsencode(mark), shared=True)

    def _environment_script(self, name: str) -> str:
        """The environment as a script beside its file, written once for all jobs that share it."""
        path = f"{self._state.environment(name)}.sh"
        if not os.path.exists(path):
            data = paths.read_private(self._state.environment(name))
            paths.replace_file(path, job_script.environment_script(data), durable=True)
        return path

    def _session(self, job: Job, run: Run) -> Session:
        return Session(
            name=session_name(job.id, run.attempt),
            script=self._file(job, run, "job.sh"),
            log=self._file(job, run, "log"),
            log_end=self._file(job, run, "log.end"),
            bell=self._runtime.bell,
        )

    def _file(self, job: Job, run: Run, name: str) -> str:
        return os.path.join(self._state.attempt(job.id, run.attempt), name)


def _interpreter(path: str) -> tuple[bytes, ...]:
    """The words with which the kernel runs a kept script. Raises OSError."""
    with open(path, "rb") as file:
        return job_script.interpreter(file.read(LONGEST_FIRST_LINE))


def _is_noexec(path: str) -> bool:
    """Whether nothing there can be executed, so that a script must be given to its interpreter. Raises OSError."""
    return bool(os.statvfs(path).f_flag & os.ST_NOEXEC)


def _will_pass(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in (*BAD_DISK, *NO_ROOM)
