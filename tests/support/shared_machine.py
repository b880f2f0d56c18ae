"""A machine that three users share: a root daemon, its gateway and real accounts, in namespaces of their own.

Its /etc is a copy, to which the accounts are added; /run, /var/lib and /var/spool are empty directories; its cgroup2 is
a part of the machine's, seen as a whole. So the paths are those of an installed daemon, several tests can run at once,
and the machine itself stays as it is. From outside the same files are below `root`, and so is what `state` names.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gflowd.effects.gateway import presence
from gflowd.paths import SYSTEM_CONFIG, SYSTEM_GATE, SYSTEM_RUNTIME, SYSTEM_SPOOL, SYSTEM_STATE, Shared, State
from support.machine import MARK, ROOT, Machine
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ACCOUNTS = {"gfa": 60001, "gfb": 60002, "gfop": 60003, "gfx": 60004}  # the account of the last has expired
GROUPS = {"gflow-admin": (60010, ("gfop",)), "gflab": (60011, ("gfa", "gfx"))}
PROGRAMS = {"gflowd": "gflowd.main import main", "gflowctl": "gflowctl.__main__ import program"}
OWN = ("/etc", "/run", "/var/lib", "/var/spool")  # of which the machine has its own
SLICES = {"root": "system.slice"}  # all others': user.slice, as logins have it under systemd
PAM = ROOT / "packaging/systemd/shared/gflow.pam"
NEEDED = ("unshare", "nsenter", "setpriv", "mount", "umount")


@cache
def obstacle() -> str:
    """Why there can be no such machine here; empty if there can."""
    if os.geteuid() != 0:
        return "not root"
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        return f"no {' or '.join(missing)}"
    if cgroup2() is None:
        return "no cgroup2 file system"
    if subprocess.run(["unshare", "--mount", "--cgroup", "true"], check=False, capture_output=True).returncode:
        return "no namespaces may be made"
    return ""


@cache
def cgroup2() -> str | None:
    """Where the machine's cgroup2 is mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        if words[words.index("-") + 1] == "cgroup2" and words[3] == "/":
            return words[4]
    return None


class SharedMachine:
    """`config` can be changed before `start`, by `write_config` also later. `root` is the machine's place outside."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.chmod(0o711)
        for name in OWN[1:]:
            (root / name[1:]).mkdir(parents=True)
        subprocess.run(["cp", "-a", "/etc", root / "etc"], check=True)
        shared = Shared(gate=f"{root}{SYSTEM_GATE}", spool=f"{root}{SYSTEM_SPOOL}")
        self.state = State(f"{root}{SYSTEM_STATE}")
        self.state.share(shared)
        self.run_dir = Path(f"{root}{SYSTEM_RUNTIME}")
        self.programs = root / "bin"
        self.homes = root / "home"
        for place in (self.programs, self.homes):
            place.mkdir(mode=0o755)
        for name, entry in PROGRAMS.items():
            program = self.programs / name
            program.write_text(
                f"#!{sys.executable} -B\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
                f"from {entry} as main\nsys.exit(main())\n"
            )
            program.chmod(0o755)
        self._make_accounts()
        self.config: dict[str, dict[str, object]] = {
            "scheduler": {"cpus": 8}, "executor": {"grace": 2},
            "shared": {"launcher": "own", "gateway": "worker"},
        }  # fmt: skip
        self.write_config()
        self.group = Path(f"{cgroup2()}/{root.name}")
        for name in ("system.slice", "user.slice"):
            (self.group / name).mkdir(parents=True)
        self._people: dict[str, Person] = {}
        self._daemon: subprocess.Popen[bytes] | None = None
        self._holder = self._hold()

    # accounts

    def _make_accounts(self) -> None:
        etc = self.root / "etc"
        lines: dict[str, list[str]] = {"passwd": [], "shadow": [], "group": [], "gshadow": []}
        for name, uid in ACCOUNTS.items():
            home = self.homes / name
            lines["passwd"].append(f"{name}:x:{uid}:{uid}:{name}:{home}:/bin/sh")
            lines["shadow"].append(f"{name}:*:19000:0:99999:7::{'1' if name == 'gfx' else ''}:")
            lines["group"].append(f"{name}:x:{uid}:")
            home.mkdir(mode=0o700)
            os.chown(home, uid, uid)
        lines["group"] += [f"{name}:x:{gid}:{','.join(members)}" for name, (gid, members) in GROUPS.items()]
        for file, added in lines.items():
            path = etc / file
            if path.exists():
                path.write_text(path.read_text().rstrip("\n") + "\n" + "".join(f"{line}\n" for line in added))
        shutil.copy(PAM, etc / "pam.d/gflow")
        (etc / "gflow").mkdir(exist_ok=True)

    def edit_account(self, file: str, name: str, field: int, value: str) -> None:
        """Changes a field, counted from 0, of an account's line in /etc/passwd, shadow or group."""
        path = self.root / "etc" / file
        lines = [line.split(":") for line in path.read_text().splitlines()]
        for line in lines:
            if line[0] == name:
                line[field] = value
        fresh = path.with_name(f"{file}.new")
        fresh.write_text("".join(":".join(line) + "\n" for line in lines))
        fresh.chmod(path.stat().st_mode & 0o777)
        fresh.rename(path)

    def expire(self, name: str) -> None:
        self.edit_account("shadow", name, 7, "1")

    def rename(self, name: str, fresh: str) -> None:
        """The uid is another person's then."""
        self.edit_account("passwd", name, 0, fresh)

    def remove_account(self, name: str) -> None:
        path = self.root / "etc/passwd"
        path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith(f"{name}:")))

    # settings

    def write_config(self, **sections: Mapping[str, object]) -> None:
        """Changes settings, and writes the file."""
        for section, settings in sections.items():
            self.config.setdefault(section, {}).update(settings)
        lines = []
        for section, settings in self.config.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        path = Path(f"{self.root}{SYSTEM_CONFIG}")
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o644)

    # the namespaces

    def _hold(self) -> subprocess.Popen[bytes]:
        """A process in the machine's namespaces, which it keeps until it is closed."""
        binds = [(str(self.root / name[1:]), name) for name in OWN]
        lines = ["set -e", f"echo $$ >{self.group}/cgroup.procs"]
        inner = ["set -e", *_reach(self.root), *(f"mount --bind {source} {place}" for source, place in binds)]
        inner += [
            "echo 0 >$1/system.slice/cgroup.procs",
            "umount -l -R /sys/fs/cgroup", "mount -t cgroup2 none /sys/fs/cgroup", "echo ready", "exec cat",
        ]  # fmt: skip
        script = self.root / "hold.sh"
        script.write_text("\n".join(inner) + "\n")
        lines.append(f"exec unshare --mount --cgroup --propagation private sh {script} {self.group}")
        holder = subprocess.Popen(
            ["sh", "-c", "\n".join(lines)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert holder.stdout is not None
        assert holder.stderr is not None
        if holder.stdout.readline() != b"ready\n":
            raise RuntimeError(holder.stderr.read().decode())
        return holder

    def inside(self, user: str, *words: str | bytes) -> list[str | bytes]:
        """How a program is called that is to run there as `user`."""
        pid = self._holder.pid
        group = f"{self.group}/{SLICES.get(user, 'user.slice')}/cgroup.procs"
        enter = ["nsenter", f"--mount=/proc/{pid}/ns/mnt", f"--cgroup=/proc/{pid}/ns/cgroup"]
        become: list[str] = []
        if user != "root":
            become = ["setpriv", f"--reuid={user}", f"--regid={ACCOUNTS[user]}", "--init-groups", "--inh-caps=-all"]
        return ["sh", "-c", f'echo $$ >{group} && exec "$@"', "sh", *enter, *become, *words]

    # people

    def as_user(self, name: str) -> Person:
        """One of ACCOUNTS, or root."""
        if name not in self._people:
            self._people[name] = Person(self, name)
        return self._people[name]

    # the daemon

    def start(self, *options: str, under: tuple[str, ...] = ()) -> None:
        """Starts it, as a service manager does, and waits until it takes requests. `under`: words before its own."""
        gate, observed = f"{self.root}{SYSTEM_GATE}", Path(self.state.observed)
        before = _stamp(observed)
        begun = self.begin(*options, under=under)

        def is_up() -> bool:
            assert begun.poll() is None, f"gflowd ended with status {begun.returncode}: {self.said()}"
            return _stamp(observed) not in (0, before) and presence.look(gate)["trouble"] is None

        eventually(is_up)

    def begin(self, *options: str, under: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """Starts it and waits for nothing."""
        assert self._daemon is None or self._daemon.poll() is not None
        with open(self.root / "gflowd.out", "ab") as out:
            self._daemon = subprocess.Popen(
                self.inside("root", *under, str(self.programs / "gflowd"), "run", "--system", *options),
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.as_user("root").env, cwd="/",
            )  # fmt: skip
        return self._daemon

    def said(self) -> str:
        """What the daemon wrote to its standard error."""
        path = self.root / "gflowd.out"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def daemon(self) -> subprocess.Popen[bytes]:
        """Its main process."""
        assert self._daemon is not None
        return self._daemon

    def stop(self) -> None:
        """As a service manager does."""
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(60)

    # what is there

    def processes(self) -> dict[int, Process]:
        """Every process of the machine, whatever it became and made of its environment."""
        found = {}
        for directory, _, _ in os.walk(self.group):
            with suppress(OSError):
                for pid in map(int, (Path(directory) / "cgroup.procs").read_text().split()):
                    with suppress(OSError):
                        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                        where = str(Path(directory).relative_to(self.group))
                        found[pid] = Process(os.stat(f"/proc/{pid}").st_uid, where, words.strip())
        found.pop(self._holder.pid, None)
        return found

    def of_user(self, name: str) -> dict[int, Process]:
        """The processes of that user."""
        return {pid: process for pid, process in self.processes().items() if process.uid == ACCOUNTS[name]}

    def attempt(self, job_id: int, attempt: int = 1) -> Path:
        """Root's part of an attempt's directory."""
        return Path(self.state.attempt(job_id, attempt))

    def own(self, job_id: int, attempt: int = 1) -> Path:
        """The user's part."""
        return Path(self.state.own_attempt(job_id, attempt))

    def close(self) -> None:
        """Stops the daemon and ends all that is left; fails if the daemon does not end well."""
        status: int | None = 0
        try:
            if self._daemon is not None and self._daemon.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    self.stop()
                status = self._daemon.poll()
        finally:
            (self.group / "cgroup.kill").write_text("1")
            eventually(lambda: "populated 0" in (self.group / "cgroup.events").read_text())
            self._holder.communicate()
            if self._daemon is not None:
                self._daemon.wait()
            for directory, _, _ in os.walk(self.group, topdown=False):
                os.rmdir(directory)
            said = self.said()
            subprocess.run(["rm", "-rf", "--", self.root], check=True)  # also trees that are too deep for Python
        assert status == 0, f"gflowd ended with status {status}: {said}"
        assert "Traceback" not in said, said


class Process(NamedTuple):
    """`group` is the control group as the machine sees it, without the slash at its begin."""

    uid: int
    group: str
    words: str


class Person(Machine):
    """One user at that machine, with a home that is closed to all others, in which `work` is."""

    def __init__(self, machine: SharedMachine, name: str) -> None:
        self.machine, self.name, self.root = machine, name, machine.root
        self.uid = ACCOUNTS.get(name, 0)
        self.home = machine.homes / name if self.uid else machine.root / "root"
        self.home.mkdir(exist_ok=True, mode=0o700)
        self.work, self.bin, self.state = self.home / "work", machine.programs, machine.state
        self.work.mkdir()
        os.chown(self.work, self.uid, self.uid)
        self.env = {
            "PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.home), "USER": name, "LOGNAME": name, "LANG": "C.UTF-8", "SHELL": "/bin/sh",
            MARK: os.environ.get(MARK, ""),
        }  # fmt: skip
        self.usual = dict(self.env)

    def _settings(self, settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The directory, as which the program is to see it, and the rest, for subprocess."""
        cwd = os.fsdecode(settings.pop("cwd", self.work))
        return cwd, {"env": self.env, "cwd": "/", **settings}

    def run(self, *words: str | bytes, **settings: Any) -> subprocess.CompletedProcess[str]:
        """Runs a command of the user's to its end. No program of ours may ever show a traceback."""
        cwd, settings = self._settings({"capture_output": True, "timeout": 120, "text": True, **settings})
        if not settings.keys().isdisjoint(("stdout", "stderr")):
            settings.pop("capture_output")
        if "stdin" not in settings and "input" not in settings:
            settings["stdin"] = subprocess.DEVNULL
        done = subprocess.run(self.machine.inside(self.name, "env", f"--chdir={cwd}", *words), check=False, **settings)
        assert "Traceback" not in str(done.stderr), done
        assert "internal error" not in str(done.stderr), done
        return done

    def sh(self, line: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        """A line of the shell."""
        return self.run("sh", "-c", line, **settings)

    def python(
        self, text: str, *words: str, under: Sequence[str] = (), **settings: Any
    ) -> subprocess.CompletedProcess[str]:
        """A program that can import ours."""
        line = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{text}"
        return self.run(*under, sys.executable, "-B", "-c", line, *words, **settings)

    def begin(self, *words: str, **settings: Any) -> subprocess.Popen[bytes]:
        """Starts gflowctl and does not wait for it."""
        return self.begin_program(str(self.bin / "gflowctl"), *words, **settings)

    def begin_program(self, *words: str, **settings: Any) -> subprocess.Popen[bytes]:
        """Starts a program and does not wait for it."""
        cwd, settings = self._settings({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings})
        return subprocess.Popen(self.machine.inside(self.name, "env", f"--chdir={cwd}", *words), **settings)

    def log(self, job_id: int) -> bytes:
        """`gflowctl log`, every byte."""
        done: subprocess.CompletedProcess[Any] = self.run(str(self.bin / "gflowctl"), "log", str(job_id), text=False)
        assert done.returncode == 0, done
        found: bytes = done.stdout
        return found

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        """A file in `work`."""
        path = self.work / name
        path.write_text(text)
        os.chown(path, self.uid, self.uid)
        path.chmod(mode)
        return path


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _reach(root: Path) -> list[str]:
    """Lines of a shell that let everybody reach the Python and the source, where a directory above is private."""
    wanted = dict.fromkeys(os.path.realpath(path) for path in (sys.base_prefix, sys.prefix, sys.exec_prefix, str(ROOT)))
    wanted = {path: None for path in wanted if not any(path.startswith(f"{other}/") for other in wanted)}
    closed: dict[str, list[str]] = {}
    for path in wanted:
        above = [str(parent) for parent in reversed(Path(path).parents)]
        if first := next((place for place in above if not os.stat(place).st_mode & 0o001), None):
            closed.setdefault(first, []).append(path)
    lines = []
    for number, (place, paths) in enumerate(closed.items()):
        kept = root / f"reach{number}"
        for index, path in enumerate(paths):
            lines += [f"mkdir -p {kept}.{index}", f"mount --bind {path} {kept}.{index}"]
        lines += [f"mount -t tmpfs -o mode=755 tmpfs {place}"]
        for index, path in enumerate(paths):
            lines += [f"mkdir -p {path}", f"mount --move {kept}.{index} {path}"]
    return lines


@contextmanager
def new_shared_machine(**sections: Mapping[str, object]) -> Iterator[SharedMachine]:
    """A machine of its own with these settings, whose daemon does not run yet; at the end nothing of it is left."""
    machine = SharedMachine(Path(tempfile.mkdtemp(prefix="gfs-", dir="/tmp")))
    try:
        machine.write_config(**sections)
        yield machine
    finally:
        machine.close()
