"""A machine of its own for each test: the real gflowd, gflowctl and tmux in a private directory, seen from outside."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gflowd.effects import proc
from gflowd.paths import State
from support import identity
from support.forked import NURSERY
from support.waiting import PATIENCE, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parent.parent.parent
MARK = "GFLOW_TEST_MARK"
TMUX = shutil.which("tmux")
WORKERS = ("gpu_poller", "zombie_detector", "timeout_enforcer", "reservation_timer", "scheduler")


def alive(pid: int) -> bool:
    """Whether that process is there and no corpse."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] not in b"ZX"


def holds_nothing(pid: int) -> bool:
    """Whether that process has ended with all its threads, so that its locks are free."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return True
    return fields[0] in b"ZX" and int(fields[17]) <= 1


def end(*pids: int) -> None:
    """Kills those that are still there, for one may end with another, and waits until they are gone."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: all(map(holds_nothing, pids)))


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Signals a process that must be there; if that was the signal, it is gone, or stands still or has
    ended, when this returns.
    """
    assert pid > 1
    os.kill(pid, number)
    if number == signal.SIGKILL:
        eventually(lambda: holds_nothing(pid))
    elif number == signal.SIGSTOP:
        eventually(lambda: proc.is_stopped(pid) or not alive(pid))


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """That process stands still meanwhile: it sees what is done to its files all at once."""
    kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            kill(pid, signal.SIGCONT)


def clear_away(directory: str | Path) -> None:
    """Removes a directory in which somebody may make something at any moment."""
    gone = f"{directory}.gone"
    os.rename(directory, gone)
    shutil.rmtree(gone)


def unmount(place: Path) -> None:
    """Once nobody has a file open there: of a process that ends, its files outlive its words and its environment."""
    eventually(lambda: subprocess.run(["umount", str(place)], check=False, capture_output=True).returncode == 0)


class Machine:
    """One user's gflow. `work` is where jobs run, `home` the user's home; `config` can be changed before `start`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home, self.work, self.bin = root / "home", root / "work", root / "bin"
        for place in (self.home, self.work, self.bin):
            place.mkdir()
        self.state = State(str(root / "state"))
        self.config: dict[str, dict[str, object]] = {
            "scheduler": {"cpus": 8}, "executor": {"grace": 2, "tmp": str(root)},
        }  # fmt: skip
        self.config_file = root / "gflow.toml"
        self.write_config()
        self.programs: dict[Path, str] = {}  # as we wrote them: others may write them anew
        for name, entry in (("gflowd", "gflowd.main import main"), ("gflowctl", "gflowctl.__main__ import program")):
            program = self.bin / name
            self.programs[program] = (
                f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
                f"from {entry} as main\nsys.exit(main())\n"
            )
            program.write_text(self.programs[program])
            program.chmod(0o700)
        self.env = {
            "PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "SHELL": "/bin/sh",
            "GFLOW_STATE_DIR": self.state.root,
            "GFLOW_CONFIG": str(self.config_file),
            MARK: os.environ.get(MARK, ""),
        }
        if os.environ.get("PYTHONDONTWRITEBYTECODE"):
            self.env["PYTHONDONTWRITEBYTECODE"] = "1"
        self.usual = dict(self.env)

    def write_config(self, **sections: Mapping[str, object]) -> None:
        """Changes settings, and writes the file."""
        for section, settings in sections.items():
            self.config.setdefault(section, {}).update(settings)
        lines = []
        for section, settings in self.config.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        self.config_file.write_text("\n".join(lines) + "\n")

    # the programs

    def run(self, *words: str | bytes, **settings: Any) -> subprocess.CompletedProcess[str]:
        """Runs a command of the user's to its end. No program of ours may ever show a traceback."""
        settings = {"cwd": self.work, "env": self.env, "capture_output": True, "timeout": 120, "text": True, **settings}
        if not settings.keys().isdisjoint(("stdout", "stderr")):
            settings.pop("capture_output")
        if "stdin" not in settings and "input" not in settings:
            settings["stdin"] = subprocess.DEVNULL
        program = Path(os.fsdecode(words[0]))
        if self.is_as_written(program.resolve(), settings["env"]):
            done = NURSERY.run(program.resolve().name, [str(program)], *words[1:], **settings)
        else:
            done = subprocess.run(words, check=False, **settings)
        assert "Traceback" not in str(done.stderr), done
        assert "internal error" not in str(done.stderr), done
        return done

    def is_as_written(self, program: Path, env: Mapping[str, str]) -> bool:
        """Whether it is one of our programs, and does in this environment what they do: it need not be started."""
        is_ours = program in self.programs and program.read_text() == self.programs[program]
        return is_ours and (env == self.usual or identity.can_be_told())

    def ctl(self, *words: str | bytes, check: bool = True, **settings: Any) -> subprocess.CompletedProcess[str]:
        """gflowctl; all must be well unless `check` is off."""
        done = self.run(str(self.bin / "gflowctl"), *words, **settings)
        assert not check or done.returncode == 0, done
        return done

    def slurm(self, name: str, *words: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        """One of Slurm's programs."""
        links = self.root / "slurm"
        if not (links / name).is_symlink():
            links.mkdir(exist_ok=True)
            (links / name).symlink_to(self.bin / "gflowctl")
        return self.run(str(links / name), *words, **settings)

    def gflowd(self, *words: str, check: bool = True, **settings: Any) -> subprocess.CompletedProcess[str]:
        """gflowd; all must be well unless `check` is off."""
        done = self.run(str(self.bin / "gflowd"), *words, **settings)
        assert not check or done.returncode == 0, done
        return done

    def refused(self, status: int, *words: str | bytes, program: str = "gflowctl", **settings: Any) -> str:
        """The one line on stderr with which a command that must fail with `status` does so."""
        done = self.run(str(self.bin / program), *words, **settings)
        assert done.returncode == status, done
        assert done.stdout == "", done
        assert done.stderr.startswith(f"{program}: "), done
        assert done.stderr.count("\n") == 1, done
        return done.stderr.removeprefix(f"{program}: ").rstrip("\n")

    def begin(self, *words: str, **settings: Any) -> subprocess.Popen[bytes]:
        """Starts gflowctl and does not wait for it."""
        settings = {"cwd": self.work, "env": self.env, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
        return subprocess.Popen([str(self.bin / "gflowctl"), *words], **settings)

    # the daemon

    def start(self, *options: str) -> None:
        self.gflowd("start", *options)

    def stop(self) -> None:
        self.gflowd("stop")

    def status(self) -> dict[str, Any]:
        """`gflowd status --json`, whether or not it runs."""
        done = self.gflowd("status", "--json", check=False)
        assert done.returncode in (0, 3), done
        found: dict[str, Any] = json.loads(done.stdout)
        assert found["running"] == (done.returncode == 0)
        return found

    def pids(self) -> dict[str, int]:
        """The daemon's processes by name, those that are down left out."""
        found = self.status()
        pids = {worker["name"]: worker["pid"] for worker in found["workers"] if worker["pid"]}
        return {"supervisor": found["pid"], **pids} if found["running"] else {}

    def worker(self, name: str) -> int:
        """The pid of a worker, as soon as one is at work. The supervisor has to see that one was killed, and ends the
        daemon when three in a row were killed before their first heartbeat.
        """

        def look() -> int:
            found = self.status()["workers"]
            pids = (each["pid"] for each in found if each["name"] == name and each["heartbeat_age"] is not None)
            return next(filter(alive, filter(None, pids)), 0)

        return eventually(look)

    @property
    def tmux_socket(self) -> str:
        return str(Path(self.state.default_run()) / "tmux.sock")

    def tmux(self, *words: str) -> str:
        """What the private tmux server says; empty when there is none."""
        return self.run("tmux", "-S", self.tmux_socket, *words).stdout

    def daemon_log(self) -> str:
        """The structured log, whole; empty while there is none."""
        path = Path(self.state.log)
        return path.read_text(errors="replace") if path.exists() else ""

    # jobs

    def submit(self, *words: str | bytes, **settings: Any) -> int:
        """The id of a new job."""
        return int(self.ctl("submit", "--parsable", *words, **settings).stdout)

    def submit_all(self, *words: str, count: int, at_once: int = 4) -> list[int]:
        """Submits the same job `count` times, as fast as so many people can; the ids."""
        with ThreadPoolExecutor(at_once) as people:
            ids = sorted(people.map(lambda _: self.submit(*words), range(count)))
        assert len(set(ids)) == count
        return ids

    def begin_many(self, count: int) -> Future[list[int]]:
        """Begins to submit `count` jobs that each leave a line in `ran`, one after the other."""
        one_by_one = (self.submit("--wrap", "echo $GFLOW_JOB_ID >>ran") for _ in range(count))
        person = ThreadPoolExecutor(1)
        try:
            return person.submit(list, one_by_one)
        finally:
            person.shutdown(wait=False)

    def submitted(self, submitting: Future[list[int]]) -> list[int]:
        """The ids of these jobs, when all are submitted."""
        return submitting.result(timeout=120)

    def of_job(self, job_id: int) -> dict[int, str]:
        """The living processes that carry the job's mark, which are all but its shell."""
        mark = b"\0GFLOW_JOB_ID=%d\0" % job_id
        found = {}
        for pid, words in self.processes().items():
            try:
                if mark in b"\0" + Path(f"/proc/{pid}/environ").read_bytes() and alive(pid):
                    found[pid] = words
            except OSError:
                continue
        return found

    def jobs(self) -> dict[int, dict[str, Any]]:
        """Every job by id, as `queue --json -a` shows it."""
        return {job["id"]: job for job in json.loads(self.ctl("queue", "--json", "-a").stdout)}

    def await_gpus(self) -> None:
        """Until gflowctl knows which GPUs there are: what asks for too many is refused from then on."""
        eventually(lambda: self.status()["gpus"])

    def job(self, job_id: int) -> dict[str, Any]:
        """One job."""
        found: list[dict[str, Any]] = json.loads(self.ctl("queue", "--json", str(job_id)).stdout)
        return found[0]

    def until(self, job_id: int, *states: str) -> dict[str, Any]:
        """The job once it is in one of `states`."""

        def look() -> dict[str, Any] | None:
            found.update(self.job(job_id))
            return found if found["state"] in states else None

        found: dict[str, Any] = {}
        try:
            return eventually(look, news=self.news)  # type: ignore[return-value]
        except AssertionError:
            raise AssertionError(f"job {job_id} is {found['state']} ({found['reason']}), never {states}") from None

    def until_in(self, ids: list[int], *states: str) -> None:
        """Waits until each job is in one of `states`."""
        eventually(lambda: all(job["state"] in states for i, job in self.jobs().items() if i in ids), news=self.news)

    def news(self) -> list[object]:
        """Differs when the daemon, or a command, has written something that `queue` shows."""
        found: list[object] = []
        for path in (self.state.snapshot, self.state.observed):
            try:
                now = os.stat(path)
            except OSError:
                found.append(None)
            else:
                found.append((now.st_ino, now.st_size, now.st_mtime_ns))
        return found

    def wait(self, *ids: int) -> int:
        """`gflowctl wait`: its status."""
        words = ",".join(map(str, ids))
        done = self.ctl("wait", "--timeout", "100s", words, check=False)
        assert done.returncode != 75, (done, self.ctl("queue", "-a").stdout)
        return done.returncode

    def ended(self, job_id: int) -> dict[str, Any]:
        """The job once it has ended."""
        self.wait(job_id)
        return self.job(job_id)

    def result(self, *words: str | bytes, **settings: Any) -> str:
        """The output of a job that runs to a good end."""
        job_id = self.submit(*words, **settings)
        status = self.wait(job_id)
        assert status == 0, (self.job(job_id), self.log(job_id))
        return self.log(job_id).decode(errors="surrogateescape")

    def log(self, job_id: int) -> bytes:
        """`gflowctl log`, every byte."""
        program = str(self.bin / "gflowctl")
        settings = {"cwd": self.work, "env": self.env, "capture_output": True, "timeout": 120}
        done = NURSERY.run("gflowctl", [program], "log", str(job_id), **settings)
        done.check_returncode()
        found: bytes = done.stdout
        return found

    def cancel(self, *ids: int) -> None:
        """Cancels jobs and waits for their end."""
        self.ctl("cancel", ",".join(map(str, ids)))
        self.wait(*ids)

    def attempt(self, job_id: int) -> Path:
        """The directory of the job's only attempt."""
        return Path(self.state.attempt(job_id, 1))

    def lines(self, name: str) -> list[str]:
        """The lines of a file that jobs wrote in `work`; none while it is missing."""
        path = self.work / name
        return path.read_text(errors="surrogateescape").splitlines() if path.exists() else []

    def open_gate(self, name: str = "gate") -> None:
        """Lets the jobs that wait at a gate go on."""
        (self.work / name).touch()

    def ran_exactly_once(self, ids: list[int], name: str = "ran") -> None:
        """Each of the jobs left one line in the file `name`."""
        counts = Counter(map(int, self.lines(name)))
        assert counts == Counter(ids), {i: counts[i] for i in {*ids, *counts} if counts[i] != 1 or i not in ids}

    # what is left

    @contextmanager
    def visit(self) -> Iterator[None]:
        """One test among several on this machine: a directory of its own, and no job at work at its end."""
        self.work = Path(tempfile.mkdtemp(prefix="work-", dir=self.root))
        before = Path(self.state.daemon_pid).read_bytes()
        try:
            yield
        except BaseException:
            self.ctl("cancel", "--all", check=False)  # one that fails is not to fail the next
            raise
        deadline = time.monotonic() + PATIENCE
        while (left := self._jobs_at_work()) and time.monotonic() < deadline:
            time.sleep(0.02)
        if left:
            self.ctl("cancel", "--all")
            eventually(lambda: not self._jobs_at_work())
        assert not left, f"left behind: {left}"
        assert Path(self.state.daemon_pid).read_bytes() == before

    def _jobs_at_work(self) -> list[str]:
        return [words for words in self.processes().values() if "job.sh" in words]

    def processes(self) -> dict[int, str]:
        """Every process that names our directory in its command line or environment: daemon, jobs, tmux server."""
        wanted, mine, found = os.fsencode(self.root), os.getpid(), {}
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes()
                if pid != mine and (wanted in words or wanted in Path(f"/proc/{pid}/environ").read_bytes()):
                    found[pid] = words.replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # it ended while we looked, or is another user's
                continue
        return found

    def close(self) -> None:
        """Stops the daemon; fails when that leaves anything."""
        try:
            stopped = self.gflowd("stop", check=False)
            deadline = time.monotonic() + PATIENCE
            while (left := self.processes()) and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            for pid in self.processes():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            eventually(lambda: not self.processes())
            shutil.rmtree(self.root, ignore_errors=True)
        assert stopped.returncode == 0, stopped
        assert not left, f"left behind: {left}"
        assert not self.root.exists()


GATE = "until [ -e gate ]; do sleep 0.1; done"


@contextmanager
def new_machine(kind: Callable[[Path], Machine] = Machine) -> Iterator[Machine]:
    """A machine of its own, whose daemon does not run yet; at the end nothing of it may be left."""
    found = kind(Path(tempfile.mkdtemp(prefix="gf-", dir="/tmp")))
    try:
        yield found
    finally:
        found.close()
