"""A root of Debian that systemd-nspawn boots with its systemd, and what trials do in it. Knows nothing of gflow."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING

import roots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BOOT = ("--boot", "--register=no", "--keep-unit", "--private-network", "--resolv-conf=off", "--link-journal=no",
        "--console=pipe", "--quiet")  # fmt: skip
PATIENCE = 120.0  # seconds


class Wrong(Exception):
    """The service does not do what it must, and what it did instead."""


class Machine:
    """The booted root. `outer` is systemd-nspawn's process, `first` the root's own process 1."""

    def __init__(self, root: roots.Root, log: str) -> None:
        self.root = root
        self._log = log
        environ = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        # What is booted takes the control group that it finds itself in for its root: each needs its own.
        self._group = f"{_cgroup2()}/gflow-boot-{os.getpid()}"
        os.makedirs(self._group, exist_ok=True)
        enter = f'echo $$ >"{self._group}/cgroup.procs" && exec "$@"'
        with open(log, "wb") as out:
            self._outer = subprocess.Popen(
                ["sh", "-c", enter, "sh", "systemd-nspawn", "-D", root.path, *BOOT],
                env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        self._first: int | None = None

    def wait_until_up(self) -> None:
        """Raises `Wrong` with its last messages if it does not come up."""
        try:
            eventually("the root's process 1 was there", lambda: self._find_first() is not None)
            eventually("systemd was up", lambda: self._state() in {"running", "degraded"})
        except Wrong as why:
            with open(self._log, encoding="utf-8", errors="replace") as file:
                raise Wrong(f"{why}\n{file.read()[-3000:]}") from None

    def _state(self) -> str:
        if self._outer.poll() is not None:
            raise Wrong(f"systemd-nspawn ended with status {self._outer.returncode}")
        return self.done("systemctl", "is-system-running").stdout.strip()

    def _find_first(self) -> int | None:
        if self._outer.poll() is not None:
            raise Wrong(f"systemd-nspawn ended with status {self._outer.returncode}")
        with open(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children", encoding="ascii") as file:
            children = file.read().split()
        for pid in children:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="utf-8") as file:
                if re.search(r"(?m)^NSpid:\t\d+\t1$", file.read()):
                    self._first = int(pid)
        return self._first

    def power_off(self) -> None:
        """Ends it in order; after half a minute, at once."""
        self._outer.terminate()
        try:
            self._outer.wait(30)
        except subprocess.TimeoutExpired:
            for pid in (self._first, self._outer.pid):  # with its process 1, all others of the root end
                if pid is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            self._outer.wait()
        for place, _, _ in os.walk(self._group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(place)

    def inside(self, *words: str) -> list[str]:
        """How a program is called that is to run there, as root and outside of all sessions."""
        environ = ("env", "-i", f"PATH={roots.PATH}", "HOME=/root", "LANG=C.UTF-8")
        return ["nsenter", f"--target={self._first}", "--all", *environ, *words]

    def done(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.inside(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
        )

    def shell_of(self, user: str, line: str) -> list[str]:
        """How a line for a login shell is called, in a login session of its own, as sshd or login make one."""
        asked = [f"--property={each}" for each in ("PAMName=login", f"User={user}", f"WorkingDirectory=/home/{user}")]
        kind = ("--setenv=XDG_SESSION_CLASS=user", "--setenv=XDG_SESSION_TYPE=tty")
        told = ["--quiet", "--pipe", "--wait", "--collect", "--expand-environment=no", *asked, *kind]
        return self.inside("systemd-run", *told, "bash", "-lc", line)

    def login(self, user: str, line: str, status: int = 0) -> str:
        """What a line in a session of its own prints; it must end with `status`."""
        done = subprocess.run(
            self.shell_of(user, line),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode != status:
            raise Wrong(f"{line}: status {done.returncode}, not {status}\n{done.stdout[-4000:]}")
        return done.stdout

    @contextlib.contextmanager
    def logged_in(self, user: str) -> Iterator[None]:
        """A session that lasts; its end is the logout."""
        shell = subprocess.Popen(
            self.shell_of(user, "echo ready; read -r _"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            if shell.stdout is None or shell.stdout.readline() != "ready\n":
                raise Wrong(f"{user} cannot log in")
            yield
        finally:
            shell.communicate("\n")

    def alive(self, pid: str) -> bool:
        return self.done("test", "-e", f"/proc/{pid}").returncode == 0

    def kill(self, signal_name: str, pid: str) -> None:
        if self.done("sh", "-c", f"kill -{signal_name} {pid}").returncode:
            raise Wrong(f"there is no process {pid}")

    def home(self, user: str, name: str) -> str:
        """The path outside of a file in a home."""
        return self.root.at(f"/home/{user}/{name}")


def eventually(what: str, fits: Callable[[], bool], patience: float = PATIENCE) -> float:
    """Waits; returns for how long."""
    began = time.monotonic()
    while not fits():
        if time.monotonic() > began + patience:
            raise Wrong(f"waited {patience:.0f} s in vain until {what}")
        time.sleep(0.5)
    return time.monotonic() - began


@contextlib.contextmanager
def booted(root: roots.Root) -> Iterator[Machine]:
    with tempfile.TemporaryDirectory() as place:
        machine = Machine(root, os.path.join(place, "console"))
        try:
            machine.wait_until_up()
            yield machine
        finally:
            machine.power_off()


def tried(name: str, trial: Callable[[Machine], str], machine: Machine) -> tuple[str, str]:
    """The verdict and what was seen."""
    began = time.monotonic()
    try:
        told = trial(machine)
    except (Wrong, OSError, ValueError, LookupError) as why:
        print(f"{name}: {type(why).__name__}: {why}", flush=True)
        return "FAILED", str(why).partition("\n")[0][:200]
    print(f"{name}: ok", flush=True)
    return f"ok {time.monotonic() - began:4.0f} s", told


def obstacle() -> str | None:
    """Why none can be booted here; None if one can."""
    for program in ("systemd-nspawn", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return None if _cgroup2() else "no cgroup2 file system is mounted"


def _cgroup2() -> str | None:
    """Where it is mounted."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return next((line.split()[4] for line in file if " - cgroup2 " in line), None)
