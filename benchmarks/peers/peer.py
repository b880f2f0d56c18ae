"""What the benchmark asks of a queue of jobs, whoever wrote it, and what all of them share. Times nothing itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Words = list[str]

CORES = len(os.sched_getaffinity(0))
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LONG = ("sleep", "3600")
ONCE = frozenset({"one", "burst", "loop", "chain", "rate", "idle", "busy", "arrays"})  # all work but growth
SIZES = (1_000, 10_000, 50_000, 100_000)


class Missing(Exception):
    """The peer is not available here; the text says why."""


class Failed(Exception):
    """The peer did not do it, or not in time; the text says what."""


@dataclass(frozen=True)
class Scale:
    """How much work a peer gets: what takes it a second a job is not asked for 200 times."""

    parts: frozenset[str]  # of the work, by name
    loop: int  # jobs in a shell loop
    links: int  # of a chain of dependent jobs
    waiting: int = 1_000  # jobs behind the running ones
    rate: int = 0  # jobs of an array of which the rate is told
    sizes: tuple[int, ...] = ()  # of its queue, to see growth
    calm: float = 0.1  # seconds after a job until it has no more to do


class Peer(Protocol):
    """One queue. Commands are lists of words, run with `environ`; None where the peer has nothing of the kind."""

    name: str
    scale: Scale
    place: str  # all that it writes is below
    environ: dict[str, str]

    def install(self) -> str:
        """Makes it usable, and answers its version. Raises Missing."""

    def start(self) -> None:
        """Starts it with nothing queued. Raises Missing."""

    def stop(self) -> None:
        """Ends it, and all its jobs."""

    def submit(self, *command: str) -> Words: ...

    def after(self, *command: str) -> Words:
        """As `submit`, to start once the job submitted last has ended."""

    def burst(self, count: int, *command: str) -> list[Words]:
        """Commands that queue so many jobs to start at once, or as many of them as it ever runs at once."""

    def rate(self, count: int, *command: str) -> list[Words]:
        """Commands that queue so many jobs to start as they usually do."""

    def occupy(self, count: int) -> list[Words]:
        """Commands that start `count` jobs that last, or as many as it runs, so that what is `queued` then stays so."""

    def queued(self, count: int) -> list[Words]:
        """Commands that queue so many jobs, as arrays where it has them and there is more than one."""

    def listing(self) -> Words | None:
        """Lists all that is queued, one job a line."""

    def finish(self, *command: str) -> None:
        """Submits, and returns once the peer knows that the job has ended."""

    def drained(self) -> bool:
        """Whether it knows that all jobs have ended; may wait for that."""

    def pids(self) -> list[int]:
        """Its processes, jobs left out."""


def private(place: str, path: str = PATH) -> dict[str, str]:
    """An environment in which nothing outside of `place` is written or read."""
    home = os.path.join(place, "home")
    for name in ("home", "tmp", "run"):
        os.makedirs(os.path.join(place, name), mode=0o700, exist_ok=True)
    return {
        "PATH": path, "HOME": home, "USER": "bench", "LOGNAME": "bench", "SHELL": "/bin/bash", "LANG": "C.UTF-8",
        "TMPDIR": os.path.join(place, "tmp"), "TMUX_TMPDIR": os.path.join(place, "tmp"),
        "XDG_RUNTIME_DIR": os.path.join(place, "run"), "XDG_CONFIG_HOME": os.path.join(home, "config"),
        "XDG_DATA_HOME": os.path.join(home, "data"), "XDG_STATE_HOME": os.path.join(home, "state"),
    }  # fmt: skip


def debian(command: str, *packages: str) -> None:
    """Installs Debian packages where `command` is missing and we may."""
    if shutil.which(command, path=PATH):
        return
    wanted = " ".join(packages)
    if os.getuid() or shutil.which("apt-get") is None:
        raise Missing(f"{command} is not installed, and only root can install it (apt-get install {wanted})")
    install = ["apt-get", "install", "-qq", "-y", *packages]
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (install, ["apt-get", "update", "-qq"], install):
        done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False, timeout=300)
        if shutil.which(command, path=PATH):
            return
    raise Missing(f"apt-get install {wanted} failed: {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]}")


def debian_version(package: str) -> str:
    words = ["dpkg-query", "-W", "-f", "${Version}", package]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown version"


def answer(peer: Peer, *words: str) -> str:
    """What a command of a peer's says, untimed."""
    try:
        done = subprocess.run(words, env=peer.environ, capture_output=True, text=True, check=True, timeout=120)
    except subprocess.TimeoutExpired:
        raise Failed(f"`{words[0]}` said nothing for 120 s") from None
    except subprocess.CalledProcessError as error:
        raise Failed(f"`{words[0]}` failed: {error.stderr.strip()[-200:]}") from None
    return done.stdout


def until(look: Callable[[], object], within: float, what: str) -> None:
    """Returns once `look` is true."""
    deadline = time.monotonic() + within
    while not look():
        if time.monotonic() > deadline:
            raise Failed(f"{what} took more than {within:g} s")
        time.sleep(0.01)


def processes(place: str) -> Iterator[tuple[int, str]]:
    """Pid and name of every process but us that names `place` in its command line or environment."""
    wanted = os.fsencode(place) + b"/"
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            words = _content(pid, "cmdline") + _content(pid, "environ")
            if pid != os.getpid() and wanted in words:
                yield pid, _content(pid, "comm").decode(errors="replace").strip()
        except OSError:  # it has ended, or is another user's
            continue


def _content(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


def sweep(place: str) -> None:
    """Kills what is left of a peer, and removes its files. `place` is a directory that only we know."""
    for _ in range(50):
        left = list(processes(place))
        for pid, _name in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if not left:
            break
        time.sleep(0.1)
    shutil.rmtree(place, ignore_errors=True)
