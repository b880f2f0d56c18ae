"""Runs gflowctl and gflowd as processes of their own without starting Python for each of them.

A process that has the programs imported forks for every command: arguments, environment, directory, mask, streams, exit
status and signals are those of a process that was started, and so is what /proc shows of them, where the kernel lets a
process say where they are (`identity`). What cannot be had so is started: with a stream that is a file, words longer
than a message, or a library of its own. Knows nothing of tests.
"""

from __future__ import annotations

import atexit
import gc
import io
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from importlib import import_module
from io import FileIO
from pkgutil import walk_packages
from typing import TYPE_CHECKING, Any, NoReturn

if __name__ == "__main__":
    sys.path[:1] = [os.path.abspath(os.path.join(os.path.dirname(__file__), *up)) for up in (("..", ".."), ("..",))]

from gflowd.effects import proc
from support import depth, identity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Sized

LONGEST = 100_000  # bytes of a request: a message of a Unix socket is sent whole or not at all
SETTINGS = {"cwd", "env", "input", "stdin", "capture_output", "timeout", "text", "umask"}
PROGRAMS = {"gflowctl": ("gflowctl.__main__", "program"), "gflowd": ("gflowd.main", "main")}
# What each imports before it forks; of a package with a dot all modules.
OF_EXTRAS = (
    "gflowctl.agents.",
    "gflowctl.monitor.",
    "gflowctl.web.",
)  # they take long, and their packages may be missing
PRELOADED = {
    "gflowctl": ("gflowctl.", "gflowd.core.", "gflowd.commands."),
    "gflowd": ("gflowd.", "filelock", "decimal", "multiprocessing.popen_fork"),
}
LASTING = {"start", "up", "restart", "run"}  # commands that become the daemon, which others look for in /proc
AT_START = ("LANG", "LANGUAGE", "LC_", "LD_", "PYTHON")  # variables that Python and its loader read once, at its start


class Nursery:
    """The processes that fork, one for each program, locale and path of libraries that was asked for."""

    def __init__(self) -> None:
        self._parents: dict[tuple[str, tuple[tuple[str, str], ...]], Parent] = {}
        self._lock = threading.Lock()  # some tests ask from several threads at once
        self.is_judged = depth.IS_FULL  # what gflowctl changes is held against the judge of requests, too

    def run(
        self, name: str, command: Sequence[str], *words: str | bytes, **settings: Any
    ) -> subprocess.CompletedProcess[Any]:
        """As `subprocess.run([*command, *words])`, where `command` would start the program `name`."""
        message = _request(name, command, words, settings, is_judged=self.is_judged)
        env = os.environ if settings.get("env") is None else settings["env"]
        is_lasting = name == "gflowd" and not LASTING.isdisjoint(words)
        if message is None or (is_lasting and not identity.can_be_told()):
            return subprocess.run([*command, *words], check=False, **settings)
        pairs = ((os.fsdecode(key), os.fsdecode(value)) for key, value in env.items())
        at_start = tuple(sorted(pair for pair in pairs if pair[0].startswith(AT_START)))
        place = "gflowd" if is_lasting else "gflowctl", at_start
        with self._lock:
            if place not in self._parents:
                self._parents[place] = Parent(place[0], dict(at_start))
        status, out, err = self._parents[place].run(message, settings)
        return subprocess.CompletedProcess([*command, *words], status, out, err)

    def close(self) -> None:
        """Ends them all."""
        for parent in self._parents.values():
            parent.close()
        self._parents.clear()


NURSERY = Nursery()
atexit.register(NURSERY.close)


class Parent:
    """One process that forks, as others see it."""

    def __init__(self, program: str, at_start: dict[str, str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        env = {name: value for name, value in os.environ.items() if not name.startswith((*AT_START, "GFLOW_"))}
        with theirs:
            words = [sys.executable, os.path.abspath(__file__), program, str(theirs.fileno())]
            try:
                subprocess.run(words, env=env | at_start, pass_fds=[theirs.fileno()], check=True)
            except BaseException:
                self._socket.close()
                raise

    def run(self, message: bytes, settings: Mapping[str, Any]) -> tuple[int, Any, Any]:
        """Exit status, output and errors of one command."""
        given = settings.get("input")
        with ExitStack() as stack:
            status, theirs = _pipe(stack)
            passed: list[FileIO] = [theirs]
            streams: dict[FileIO, int | memoryview] = {}
            if given is not None:
                stdin, feed = _pipe(stack)
                passed.append(stdin)
                streams[feed] = memoryview(_bytes(given))
            else:
                passed.append(stack.enter_context(FileIO(os.devnull if "stdin" in settings else os.dup(0))))
            for number in (1, 2):
                if settings.get("capture_output"):
                    end, theirs = _pipe(stack)
                    streams[end] = number
                else:
                    theirs = stack.enter_context(FileIO(os.dup(number), "w"))
                passed.append(theirs)
            socket.send_fds(self._socket, [message], [each.fileno() for each in passed])
            for each in passed:
                each.close()
            pid = int(status.read(20))
            try:
                found = _exchanged(streams, settings.get("timeout"))
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(json.loads(message)["argv"], settings["timeout"]) from None
            told = status.read(20)
        shown = {number: _text(part) if settings.get("text") else part for number, part in found.items()}
        return int(told), shown.get(1), shown.get(2)

    def close(self) -> None:
        """It ends once nobody can ask any more."""
        self._socket.close()


def _request(
    name: str, command: Sequence[str], words: Sequence[str | bytes], settings: Mapping[str, Any], *, is_judged: bool
) -> bytes | None:
    """The message that asks for a command; None for one that must be started."""
    cwd = os.path.abspath(settings.get("cwd") or ".")
    stdin = settings.get("stdin", subprocess.DEVNULL)
    if not settings.keys() <= SETTINGS or stdin != subprocess.DEVNULL or not os.path.isdir(cwd):
        return None
    mask = settings.get("umask", -1)
    if mask == -1:
        mask = _umask()
    env = os.environ if settings.get("env") is None else settings["env"]
    if "LD_PRELOAD" in env:  # such a library is a test's own, and what forks with it would outlive that test
        return None
    asked = {
        "name": name, "command": command, "argv": [command[-1], *map(os.fsdecode, words)],
        "cwd": os.fsdecode(cwd), "umask": mask, "judged": is_judged,
        "env": {os.fsdecode(key): os.fsdecode(value) for key, value in env.items()},
    }  # fmt: skip
    message = json.dumps(asked).encode()
    return message if len(message) <= LONGEST else None


def _umask() -> int:
    """Ours, as the kernel tells it: to set it and set it back is not for several threads at once."""
    return next(int(line.split()[1], 8) for line in proc.status(os.getpid()).splitlines() if line.startswith("Umask:"))


def _pipe(stack: ExitStack) -> tuple[FileIO, FileIO]:
    read, write = os.pipe()
    return stack.enter_context(FileIO(read, "r")), stack.enter_context(FileIO(write, "w"))


def _exchanged(streams: Mapping[FileIO, int | memoryview], timeout: float | None) -> dict[int, bytes]:
    """What came from the streams that have a number, while the bytes were fed to the one that has some."""
    found = {number: bytearray() for number in streams.values() if isinstance(number, int)}
    deadline = None if timeout is None else time.monotonic() + timeout
    with selectors.DefaultSelector() as waiting:
        for stream, what in streams.items():
            waiting.register(stream, selectors.EVENT_READ if isinstance(what, int) else selectors.EVENT_WRITE, what)
        while waiting.get_map():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            for key, _ in waiting.select(left):
                if isinstance(key.data, int):
                    part = os.read(key.fd, 1 << 16)
                    found[key.data] += part
                    rest: Sized = part
                else:
                    try:
                        rest = key.data[os.write(key.fd, key.data[:4096]) :]  # PIPE_BUF: so much is taken at once
                    except BrokenPipeError:  # it does not want more
                        rest = memoryview(b"")
                if not rest:
                    waiting.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
                elif not isinstance(key.data, int):
                    waiting.modify(key.fileobj, selectors.EVENT_WRITE, rest)
    return {number: bytes(part) for number, part in found.items()}


def _bytes(given: str | bytes) -> bytes:
    return given if isinstance(given, bytes) else given.encode()


def _text(out: bytes) -> str:
    """With the ends of lines that `text=True` makes."""
    return io.TextIOWrapper(io.BytesIO(out)).read()


# The process that forks.


def serve(program: str, asked: socket.socket) -> None:
    """Forks for each request, until there can be no more. Is nobody's child: tests wait until they have none."""
    if os.fork():
        os._exit(0)
    for name in PRELOADED[program]:
        package = import_module(name.rstrip("."))
        for module in walk_packages(package.__path__, name) if name.endswith(".") else ():
            if not module.name.endswith(".__main__") and not module.name.startswith(OF_EXTRAS):
                import_module(module.name)
    for module, _ in PROGRAMS.values():
        import_module(module)
    gc.collect()
    gc.freeze()
    with selectors.DefaultSelector() as waiting:
        waiting.register(asked, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.data:
                    pid, status = key.data
                    ended = b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    with suppress(BrokenPipeError):  # of whoever ended it for taking too long
                        os.write(status, ended)
                    waiting.unregister(key.fd)
                    os.close(key.fd)
                    os.close(status)
                    continue
                message, given, _, _ = socket.recv_fds(asked, 2 * LONGEST, 4)
                if not message:
                    return
                status, *streams = given
                pid = os.fork()
                if pid == 0:
                    become(json.loads(message), streams)
                os.write(status, b"%-20d" % pid)
                for fd in streams:
                    os.close(fd)
                waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))


def become(asked: dict[str, Any], streams: list[int]) -> NoReturn:
    """Is the command from here on."""
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.umask(asked["umask"])
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    sys.argv[:] = asked["argv"]
    sys.stdin = _stream(sys.stdin, "r")
    sys.stdout = _stream(sys.stdout, "w", line_buffering=os.isatty(1))
    sys.stderr = _stream(sys.stderr, "w", line_buffering=True)
    if identity.can_be_told():
        words = [*asked["command"], *asked["argv"][1:]]
        if words[0] != sys.executable:  # a script that names it: the kernel puts it before the script's words
            with open("/proc/self/comm", "wb") as comm:
                comm.write(os.fsencode(os.path.basename(words[0]))[:15])
            words.insert(0, sys.executable)
        identity.tell(words, asked["env"])
    else:
        from gflowctl.submit import capture

        given = {os.fsencode(name): os.fsencode(value) for name, value in asked["env"].items()}
        capture.given_environment = lambda: given  # it reads /proc/self/environ, which is of the process that forked
    if asked["judged"] and asked["name"] == "gflowctl":
        from support import judged

        judged.install()
    module, function = PROGRAMS[asked["name"]]
    status = 1
    try:
        status = getattr(import_module(module), function)()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                status = 120  # as Python itself
        os._exit(status)


def _stream(old: Any, mode: str, *, line_buffering: bool = False) -> io.TextIOWrapper:
    """A stream as Python makes it at its start, without what the process that forked has in its buffer."""
    raw: Any = FileIO(old.fileno(), mode, closefd=False)
    buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, old.encoding, old.errors, line_buffering=line_buffering)


if __name__ == "__main__":
    serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
