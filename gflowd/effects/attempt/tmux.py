"""The private tmux server in which jobs run: started separately, called rarely, its sessions named exactly.

A session's target is always `=name:`, since tmux matches names by prefix. Nothing is ever typed into a session.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

import libtmux
import psutil
from libtmux.exc import LibTmuxException

from gflowd.effects import files, proc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType

CALL_TIMEOUT = 5.0  # seconds: a tmux client waits forever for a stopped server; also for one to make its socket again
LOOK_AGAIN = 0.01  # seconds until a client is looked for again that was being made when its time was over
FAREWELL = 2.0  # seconds for a server to end
TERM = "screen-256color"
OF_SERVER = 12  # descriptors that a server has for itself
PER_SESSION = 2  # a terminal and the pipe of its output
SPARE = 8  # a client takes three, and a server with fewer than three left reads no message; a session in the making

CONFIGURATION = f"""\
set -g exit-empty off
set -g default-shell /bin/sh
set -g default-terminal {TERM}
set -g default-size 200x50
set -g history-limit 10000
set -g remain-on-exit off
set -g update-environment ''
set -g allow-rename off
set -g automatic-rename off
set -g destroy-unattached off
set -g status-left '[#S] '
set -g status-left-length 30
set -g status-right 'detach: C-b d'
"""


_STAY = "set -g exit-empty off\n"  # a daemon that ended may have told the server to end with its last session
_GLOB = re.compile(r"[*?\[\\]")  # tmux takes the name of a file that it reads for a pattern
_NO_SERVER = ("no server running", "error connecting", "server exited", "lost server")


def configuration_of_job(session: Session, socket: str) -> str:
    """The configuration of a server on `socket` for one session alone, with which it ends, and its socket."""
    return CONFIGURATION.replace(_STAY, "") + _start_commands(session, f"; rm -f {shlex.quote(socket)}")


class TmuxFailed(Exception):
    """Reports that a call of tmux failed; `str()` is its message."""


class TmuxSilent(TmuxFailed):
    """Reports that tmux did not answer in time: nothing is known of what was asked for, and it may still happen."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session to start: `script` runs in it, and what it shows is appended to `log`, whose end is marked."""

    name: str
    script: str
    log: str
    log_end: str
    bell: str


def is_installed() -> bool:
    """Whether tmux is installed."""
    return shutil.which("tmux") is not None


class Tmux:
    """One private server, by its socket; `directory` is where its command files are written."""

    def __init__(self, socket: str, directory: str) -> None:
        self.socket = socket
        self._configuration = os.path.join(directory, "tmux.conf")
        self._batch = os.path.join(directory, "tmux.batch")
        self._known: tuple[int, int] | None = None  # the server's process and its start
        self._server = libtmux.Server(socket_path=socket)

    def start(self, sessions: list[Session]) -> list[str]:
        """Starts the sessions, all in one call; returns tmux's complaints. Raises `TmuxFailed` if it cannot be called.

        The output pipe is opened in the same command sequence as the session, so that nothing is lost before it.
        """
        try:
            _write(self._batch, _STAY + "".join(_start_commands(session) for session in sessions))
        except OSError as error:
            raise TmuxFailed(f"{self._batch}: {error.strerror}") from error
        batch = _GLOB.sub(r"\\\g<0>", self._batch)
        complaints = self._call("source-file", batch)[1]
        if any(line.startswith(_NO_SERVER) for line in complaints):
            if not self._revive():
                self._start_server()
            complaints = self._call("source-file", batch)[1]
        return complaints

    def room(self) -> int | None:
        """For how many more sessions the server has descriptors; None: for any number."""
        pid = self._pid()
        most = proc.most_descriptors(pid or os.getpid())  # one that is yet to be started has as many as we
        used = proc.count_descriptors(pid) if pid else OF_SERVER
        return None if most is None else max(0, (most - used - SPARE) // PER_SESSION)

    def _pid(self) -> int | None:
        """The server, found once; None where there is none."""
        if self._known is None or proc.start_ticks(self._known[0]) != self._known[1]:
            self._known = next(((pid, proc.start_ticks(pid)) for pid in _servers(self.socket)), None)
        return None if self._known is None else self._known[0]

    def sessions(self) -> set[str]:
        """The names of all sessions; none if no server runs or answers."""
        try:
            return self.listed()
        except TmuxFailed:
            return set()

    def listed(self) -> set[str]:
        """The names of all sessions; none if no server runs. Raises `TmuxFailed` if unsure."""
        return set(self._call("list-sessions", "-F", "#{session_name}")[0])

    def is_stopped(self) -> bool:
        """Whether somebody has stopped the server (STOP), so that it answers nobody until it is continued."""
        pid = self._pid()
        return pid is not None and proc.is_stopped(pid)

    def kill(self, names: Iterable[str]) -> None:
        """Ends the sessions that exist; ignores others."""
        for name in names:
            self._call("kill-session", "-t", f"={name}:")

    def stop_when_empty(self) -> None:
        """Ends the server if it has no session; else it ends with the last. Raises `TmuxFailed` if unsure."""
        if not self.is_running():
            self._end_unreachable()
        elif self._call("list-sessions") == ([], []):
            self._call("kill-server")
            self._await_end()
        else:
            self._call("set-option", "-g", "exit-empty", "on")

    def is_running(self) -> bool:
        """Whether the server answers."""
        return (os.path.exists(self.socket) or self._revive()) and self._answers()

    def _await_end(self) -> None:
        """Waits for the server to end after the order: a user who stops gflowd may look at once."""
        deadline = time.monotonic() + FAREWELL
        while _servers(self.socket) and time.monotonic() < deadline:
            time.sleep(0.01)

    def _end_unreachable(self) -> None:
        """Ends servers that have no sessions and whose socket can no longer exist, so that they cannot be called."""
        if os.path.isdir(os.path.dirname(self.socket)):
            return  # one that is merely slow, or stopped
        for pid in _servers(self.socket):
            with contextlib.suppress(psutil.Error):
                server = psutil.Process(pid)
                if not server.children():
                    server.terminate()

    def _answers(self) -> bool:
        try:
            return not self._call("display-message", "-p", "ok")[1]
        except TmuxFailed:
            return False

    def _revive(self) -> bool:
        """Makes a server whose socket was deleted create it again; returns whether a server responds now."""
        if not os.path.isdir(os.path.dirname(self.socket)):
            return False  # nor can it
        for pid in _servers(self.socket):
            with contextlib.suppress(OSError):  # gone, or another user's
                os.kill(pid, signal.SIGUSR1)  # tmux(1)
            deadline = time.monotonic() + CALL_TIMEOUT
            while time.monotonic() < deadline:
                if os.path.exists(self.socket) and self._answers():
                    return True
                time.sleep(0.01)
        return False

    def _start_server(self) -> None:
        """A new server gives its first client's environment to every job, and keeps its signal mask: give it none."""
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_CTYPE": "C.UTF-8", "SHELL": "/bin/sh"}
        command = [shutil.which("tmux") or "tmux", "-S", self.socket, "-f", self._configuration, "start-server"]
        try:
            _write(self._configuration, CONFIGURATION)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.socket)  # of a server that was killed
            done = subprocess.run(
                command,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=CALL_TIMEOUT,
                start_new_session=True,
                preexec_fn=_plain_signals,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TmuxSilent(f"tmux did not start within {CALL_TIMEOUT:g} s") from error
        except OSError as error:
            raise TmuxFailed(f"tmux cannot be started: {error}") from error
        if done.returncode:
            raise TmuxFailed(done.stderr.decode(errors="replace").strip() or "tmux cannot be started")

    def _call(self, *words: str) -> tuple[list[str], list[str]]:
        """Output and complaints of one tmux command. A successful one has none: libraries may write to stderr."""
        try:
            with _alarm(CALL_TIMEOUT):
                done = self._server.cmd(*words)
        except TimeoutError as error:
            _end_client(error)
            raise TmuxSilent(f"tmux did not answer within {CALL_TIMEOUT:g} s") from error
        except (LibTmuxException, OSError) as error:
            raise TmuxFailed(f"tmux cannot be called: {error!r}") from error
        if done.returncode == 0:
            return done.stdout, []
        return done.stdout, done.stderr or [f"tmux {words[0]} ended with status {done.returncode}"]


def _servers(socket: str) -> list[int]:
    """The pids of living servers of this socket: they keep the command line that started them, clients another name."""
    wanted = [b"-S", os.fsencode(socket)]
    return [
        pid for pid, _ in proc.pids() if proc.command_line(pid)[1:3] == wanted and proc.name(pid) == b"tmux: server"
    ]


def _start_commands(session: Session, farewell: str = "") -> str:
    log, end = shlex.quote(session.log), shlex.quote(session.log_end)
    sink = (
        f"exec 2>/dev/null; [ -h {log} ] || cat >>{log}; [ -h {end} ] || : >{end}; "  # a job may have put links there
        f"[ -p {shlex.quote(session.bell)} ] && printf e 1<>{shlex.quote(session.bell)}{farewell}"
    )
    name, script = session.name, shlex.quote(session.script)
    return f"new-session -d -s {name} /bin/sh {script} ; pipe-pane -t ={name}: {shlex.quote(_literal(sink))}\n"


def _literal(text: str) -> str:
    """`text` for pipe-pane, which expands `#` as a format and `%` as a time."""
    return text.replace("#", "##").replace("%", "%%")


def _write(path: str, text: str) -> None:
    files.overwrite(path, text.encode(errors="surrogateescape"))


def _end_client(error: BaseException) -> None:
    """Ends the client that an alarm interrupted, so that no process waits for it; the server may still carry out the
    call.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        client = frame.f_locals.get("self")
        if isinstance(client, subprocess.Popen) and _has_begun(client):
            with client:
                client.kill()
            return


def _has_begun(client: subprocess.Popen[str]) -> bool:
    """Whether its pid is known."""
    return bool(getattr(client, "pid", None))


def _plain_signals() -> None:
    """A blocked TERM would make the server deaf to kill-server; an ignored one would reach every job."""
    os.umask(0o077)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in the block after `seconds`; libtmux has no time limit of its own."""

    def ring(_signal: int, frame: FrameType | None) -> None:
        while frame is not None:
            client = frame.f_locals.get("self")
            if isinstance(client, subprocess.Popen) and not _has_begun(client):
                signal.setitimer(signal.ITIMER_REAL, LOOK_AGAIN)  # it may run, and nobody has been told its pid
                return
            frame = frame.f_back
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
