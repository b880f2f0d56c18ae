"""The tasks of a step as processes: starts them, attends to them until all have ended, and passes signals on."""

from __future__ import annotations

import os
import select
import signal
import time

from gflowctl.output import render
from gflowctl.slurm.step import guard
from gflowctl.slurm.step.streams import Input, Output, Screen, Sink
from gflowd.core.errors import Refused
from gflowd.core.slurm.step import step_tasks
from gflowd.paths import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gflowd.core.slurm.step.srun_options import Step
    from gflowd.core.slurm.step.step_tasks import Stream

    Namer = Callable[[str, int], str]  # the file of a task by a pattern

KILL_WAIT = 30.0  # seconds from TERM to KILL, as in slurm.conf(5)
ABORT_WAIT = 5.0  # seconds from the second interrupt to KILL
AGAIN = 1.0  # seconds within which a second interrupt ends the step
PASSED_ON = (signal.SIGUSR1, signal.SIGUSR2)
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
HEEDED = (signal.SIGINT, *ENDING, *PASSED_ON, signal.SIGCHLD, signal.SIGWINCH)
TOGETHER = 0.1  # seconds within which ends of the same kind are told in one line
LEFT_AT_MOST = 60.0  # seconds: UnkillableStepTimeout of slurm.conf(5)
LONGEST_WAIT = 3600.0  # seconds


class Signals:
    """Those that came and were not heeded yet. Mutable."""

    def __init__(self) -> None:
        self.wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        self._came: list[int] = []
        for number in HEEDED:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, lambda number, _: self._came.append(number))

    def taken(self) -> list[int]:
        """Those that came since the last call."""
        try:
            os.read(self.wake, 4096)
        except BlockingIOError:
            pass
        found, self._came = self._came, []
        return found


class Start:
    """How one task begins: `descriptors` are its first three."""

    __slots__ = ("command", "descriptors", "environment", "terminal")

    def __init__(
        self, command: tuple[str, ...], environment: dict[str, str], descriptors: Sequence[int], *, terminal: bool
    ) -> None:
        self.command = command
        self.environment = environment
        self.descriptors = descriptors
        self.terminal = terminal


class Tasks:
    """The tasks of one step. Mutable: who has ended, what is to be done when."""

    def __init__(self, step: Step, name: str, node: str, guardian: guard.Guard, signals: Signals, attempt: str) -> None:
        self.ends: dict[int, int] = {}
        self._step = step
        self._name = name
        self._node = node
        self._guard = guardian
        self._signals = signals
        self._attempt = attempt
        self._ranks: dict[int, int] = {}  # by pid
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._ending = False
        self._interrupted_at = float("-inf")
        self._first_end = True
        self._failure = ""
        self._untold: dict[int, list[int]] = {}  # who ended how, by status

    def start(self, starts: Sequence[Start]) -> None:
        """Starts them, in their order."""
        for rank, each in enumerate(starts):
            failed, told = os.pipe2(os.O_CLOEXEC)
            pid = os.fork()
            if pid == 0:
                self._become(each, told)
            os.close(told)
            self._ranks[pid] = rank
            why = os.read(failed, 16)
            os.close(failed)
            if why and why.decode() != self._failure:
                self._failure = why.decode()
                self._tell(f"error: execve(): {each.command[0]}: {os.strerror(int(why))}")

    def _become(self, start: Start, told: int) -> None:
        """In the new process."""
        number = 1
        try:
            signal.set_wakeup_fd(-1)
            os.setsid()
            self._guard.guards_us()
            if start.terminal:
                import fcntl
                import termios

                fcntl.ioctl(start.descriptors[0], termios.TIOCSCTTY, 0)
            kept = [fd if fd > 2 else os.dup(fd) for fd in start.descriptors]
            for place, fd in enumerate(kept):
                os.dup2(fd, place)
            for each in (*HEEDED, signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(each, signal.SIG_DFL)
            environment = {**start.environment, "SLURM_TASK_PID": str(os.getpid())}
            os.execve(found(start.command[0], environment), start.command, environment)  # noqa: S606 -- as they stand
        except OSError as error:
            number = error.errno or 1
        except ValueError:  # a word with a zero byte
            number = 22
        finally:
            os.write(told, b"%d" % number)
            os._exit(number)

    def limit(self, seconds: float) -> None:
        """Ends the step when its time is over."""
        self._at(seconds, self._run_out)

    def attend(self, outputs: list[Output], pump: Input | Screen | None) -> None:
        """Until all have ended and their output is passed on."""
        while len(self.ends) < len(self._ranks):
            self._turn(outputs, pump)
            self._heed(pump)
        guard.kill(set(self._ranks), LEFT_AT_MOST)  # what a task has left behind
        for each in outputs:
            each.finish()
        if isinstance(pump, Screen):
            pump.finish()
        self._tell_ends()

    def _turn(self, outputs: list[Output], pump: Input | Screen | None) -> None:
        now = time.monotonic()
        for each in [due for due in self._due if due[0] <= now]:
            self._due.remove(each)
            each[1]()
        wait = min([LONGEST_WAIT, *(max(0.0, at - now) for at, _ in self._due)])
        poll = select.poll()
        poll.register(self._signals.wake, select.POLLIN)
        sources = {each.fd: each for each in outputs if each.fd is not None}
        for fd in sources:
            poll.register(fd, select.POLLIN)
        for fd, event in () if pump is None else pump.awaits():
            poll.register(fd, event)
        for fd, _ in poll.poll(wait * 1000 + 1):
            if fd in sources:
                sources[fd].go_on()
            elif fd != self._signals.wake and pump is not None:
                pump.go_on(fd)

    def _heed(self, pump: Input | Screen | None) -> None:
        came = self._signals.taken()
        if signal.SIGCHLD in came:
            self._reap()
        for number in came:
            if number in (signal.SIGINT, signal.SIGTERM) and not self._ending and stop_is_sent(self._attempt):
                continue  # the tasks have it already
            if number == signal.SIGINT:
                self._interrupt()
            elif number in ENDING:
                self._force(number)
            elif number in PASSED_ON:
                self.send(number)
            elif number == signal.SIGWINCH and isinstance(pump, Screen):
                pump.resize()

    def send(self, number: int) -> None:
        """Sends a signal to all that have not ended."""
        for pid, rank in self._ranks.items():
            if rank not in self.ends:
                try:
                    os.killpg(pid, number)
                except ProcessLookupError:
                    pass

    def _at(self, seconds: float, action: Callable[[], None]) -> None:
        self._due.append((time.monotonic() + seconds, action))

    def _reap(self) -> None:
        bad = ended = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in self._ranks:
                rank = self._ranks[pid]
                self.ends[rank] = os.waitstatus_to_exitcode(status)
                ended = True
                if status:
                    bad = True
                    if not self._untold:
                        self._at(TOGETHER, self._tell_ends)
                    self._untold.setdefault(status, []).append(rank)
        if ended and len(self.ends) < len(self._ranks):
            if bad and self._step.kill_on_bad_exit:
                self._terminate()
            elif self._first_end and self._step.wait:
                self._at(self._step.wait, self._waited)
            self._first_end = False

    def _tell_ends(self) -> None:
        untold, self._untold = self._untold, {}
        for status, ranks in untold.items():
            code = os.waitstatus_to_exitcode(status)
            said = f"Exited with exit code {code}"
            if code < 0:
                said = f"{signal.strsignal(-code)}{' (core dumped)' * os.WCOREDUMP(status)}"
            render.note(f"error: {self._node}: {step_tasks.named(ranks)}: {said}")

    def _tell(self, text: str) -> None:
        if not self._step.quiet or text.startswith("error: "):
            render.note(text)

    def _tell_status(self) -> None:
        running = [rank for rank in self._ranks.values() if rank not in self.ends]
        well = [rank for rank, code in self.ends.items() if code == 0]
        ill = [rank for rank, code in self.ends.items() if code]
        for ranks, state in ((running, "running"), (well, "exited"), (ill, "exited abnormally")):
            if ranks:
                self._tell(f"StepId={self._name} {step_tasks.named(ranks)}: {state}")

    def _interrupt(self) -> None:
        now, before = time.monotonic(), self._interrupted_at
        self._interrupted_at = now
        if self._step.quit_on_interrupt or now - before <= AGAIN:
            self._tell(f"sending Ctrl-C to StepId={self._name}")
            self.send(signal.SIGINT)
            self._tell("forcing job termination")
            self._at(ABORT_WAIT, self._kill)
        elif self._step.disable_status:
            self._tell(f"sending Ctrl-C to StepId={self._name}")
            self.send(signal.SIGINT)
        else:
            self._tell("interrupt (one more within 1 sec to abort)")
            self._tell_status()

    def _force(self, number: int) -> None:
        if number == signal.SIGQUIT:
            self._tell("Quit")
        self._tell("forcing job termination")
        if self._ending:
            self._kill()
        else:
            self._end()

    def _terminate(self) -> None:
        if not self._ending:
            self._tell_ends()
            self._tell(f"Terminating StepId={self._name}")
            self._end()

    def _run_out(self) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%S")
        self._tell(f"error: *** STEP {self._name} ON {self._node} CANCELLED AT {at} DUE TO TIME LIMIT ***")
        self._end()

    def _waited(self) -> None:
        self._tell_ends()
        self._tell(f"First task exited {self._step.wait}s ago")
        self._tell_status()
        self._tell(f"Terminating StepId={self._name}")
        self._kill()

    def _end(self) -> None:
        self._ending = True
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)
        self._at(KILL_WAIT, self._kill)

    def _kill(self) -> None:
        self.send(signal.SIGKILL)


def stop_is_sent(attempt: str) -> bool:
    """Whether gflowd ends the whole job, tasks and all: it marks each such signal before it sends it, in its part of
    the directory of the attempt.
    """
    return any(os.path.exists(os.path.join(attempt, f"stop.{name}")) for name in ("INT", "TERM"))


def marks_directory(environ: Mapping[str, str]) -> str:
    """Where gflowd marks what it sends to the attempt that we belong to."""
    return State(environ["GFLOW_STATE_DIR"]).attempt(int(environ["GFLOW_JOB_ID"]), int(environ["GFLOW_ATTEMPT"]))


def attempt_directory(environ: Mapping[str, str]) -> str:
    """Our own part of the directory of the attempt that we belong to. Raises `Refused` if that is none, or has ended:
    what it had may be others' by now.
    """
    job, attempt = environ["GFLOW_JOB_ID"], environ["GFLOW_ATTEMPT"]
    unsure = f"Unable to confirm allocation for job {job}"
    if not all(word.isascii() and word.isdecimal() and len(word) < 16 for word in (job, attempt)):
        raise Refused(f"{unsure}: Invalid job id specified")
    found = State(environ["GFLOW_STATE_DIR"]).own_attempt(int(job), int(attempt))
    if not os.path.isdir(found):
        raise Refused(f"{unsure}: Invalid job id specified")
    if os.path.exists(os.path.join(found, "exit")):
        raise Refused(f"{unsure}: Job/step already completing or completed")
    return found


def found(name: str, environment: dict[str, str]) -> str:
    """The file that a command's name means. Raises OSError."""
    if "/" in name:
        return name
    fault = FileNotFoundError(2, name)
    for place in environment.get("PATH", os.environ.get("PATH", os.defpath)).split(":"):
        path = os.path.join(place, name)
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    raise fault


class Files:
    """The descriptors that tasks begin with, and what is between them and ours. Mutable while they are opened."""

    def __init__(self, step: Step, tasks: int, name: Namer) -> None:
        self.outputs: list[Output] = []
        self._step = step
        self._tasks = tasks
        self._name = name
        self.nothing = os.open(step_tasks.NOTHING, os.O_RDWR | os.O_CLOEXEC)
        self._shared: dict[str, Sink] = {}
        self._opened: dict[str, int] = {}
        self._theirs: list[int] = []
        self._fed: list[int] = []
        self._own = {1: Sink(1), 2: Sink(2)}

    def open(self) -> tuple[list[tuple[int, int, int]], Input | None]:
        """Standard input, output and errors of each task, and what feeds the first. Raises `Refused`."""
        step, tasks = self._step, self._tasks
        ins = step_tasks.stream(step.input, tasks)
        outs = step_tasks.stream(step.output, tasks)
        errors = outs if step.error is None else step_tasks.stream(step.error, tasks)
        together = step.error is None and outs.kind not in (step_tasks.ALL, step_tasks.ONE)
        found = []
        for task in range(tasks):
            label = step_tasks.label(task, tasks) if step.label else b""
            out = self._output(outs, task, 1, label)
            found.append((self._input(ins, task), out, out if together else self._output(errors, task, 2, label)))
        return found, Input(0, self._fed) if self._fed else None

    @property
    def failed(self) -> bool:
        """Whether output was lost that somebody wanted."""
        return any(sink.failed for sink in (*self._own.values(), *self._shared.values()))

    def begun(self) -> None:
        """The tasks have theirs."""
        for fd in {*self._theirs, *self._opened.values(), self.nothing}:
            os.close(fd)

    def _input(self, stream: Stream, task: int) -> int:
        if stream.kind == step_tasks.NONE or (stream.kind == step_tasks.ONE and stream.task != task):
            return self.nothing
        if stream.kind in (step_tasks.SHARED, step_tasks.EACH):
            return self._file(self._name(stream.pattern, task), os.O_RDONLY, "stdin", anew=True)
        if self._tasks == 1 or stream.kind == step_tasks.ONE or _is_nothing(0):
            return 0
        theirs, ours = os.pipe2(os.O_CLOEXEC)
        self._theirs.append(theirs)
        self._fed.append(ours)
        return theirs

    def _output(self, stream: Stream, task: int, number: int, label: bytes) -> int:
        if stream.kind == step_tasks.NONE or (stream.kind == step_tasks.ONE and stream.task != task):
            return self.nothing
        alone = self._tasks == 1 or self._step.unbuffered
        if stream.kind in (step_tasks.SHARED, step_tasks.EACH):
            path = self._name(stream.pattern, task)
            fd = self._file(path, self._mode(), "stdout" if number == 1 else "stderr")
            if not label and (alone or stream.kind == step_tasks.EACH):
                return fd
            return self._pipe(self._shared.setdefault(path, Sink(os.dup(fd), path)), label)
        return number if alone and not label else self._pipe(self._own[number], label)

    def _mode(self) -> int:
        return os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if self._step.append else os.O_TRUNC)

    def _pipe(self, sink: Sink, label: bytes) -> int:
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        self._theirs.append(theirs)
        self.outputs.append(Output(ours, sink, label, by_lines=not self._step.unbuffered))
        return theirs

    def _file(self, path: str, mode: int, stream: str, *, anew: bool = False) -> int:
        if not anew and path in self._opened:
            return self._opened[path]
        try:
            if mode & os.O_CREAT and os.path.dirname(path):
                os.makedirs(os.path.dirname(path), exist_ok=True)
            fd = os.open(path, mode | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise Refused(f"Could not open {stream} file {path}: {error.strerror}") from None
        if anew:
            self._theirs.append(fd)
        else:
            self._opened[path] = fd
        return fd


def _is_nothing(fd: int) -> bool:
    """Whether nothing can ever come from it."""
    try:
        return os.fstat(fd).st_rdev == os.stat(step_tasks.NOTHING).st_rdev
    except OSError:
        return True
