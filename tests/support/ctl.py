"""Runs the real gflowctl in a private state directory, without a daemon; plays the scheduler where a test needs one."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from gflowctl.context import Context
from gflowctl.view.views import View
from gflowd.core.job import codec
from gflowd.core.job.model import PROCESS, Ended, Identity, Run, Running, Started
from gflowd.effects import proc
from gflowd.paths import State
from gflowd.storage.history import Entry, History, Sheet
from gflowd.storage.store import Store
from support import descriptors, identity
from support.forked import NURSERY
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowd.core.job.model import Phase

ROOT = Path(__file__).parent.parent.parent
PROGRAM = (sys.executable, "-m", "gflowctl")
BOOT = "00000000-0000-0000-0000-000000000000"


class Ctl:
    """gflowctl and its state directory."""

    def __init__(self, root: Path, home: Path) -> None:
        self.state = State(str(root))
        self.store = Store(self.state)
        self.home = home
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GFLOW_", "XDG_", "PYTHON"))}
        marks = {name: value for name, value in os.environ.items() if name.startswith("GFLOW_TEST_")}
        self.env = {
            **kept, **marks, "GFLOW_STATE_DIR": str(root), "HOME": str(home), "PYTHONPATH": str(ROOT), "TZ": "UTC",
        }  # fmt: skip
        self.usual = dict(self.env)

    def run(self, *words: str | bytes, **settings: Any) -> subprocess.CompletedProcess[str]:
        """Runs it to its end; output as text."""
        settings = {"cwd": self.home, "env": self.env, "capture_output": True, "timeout": 120, **settings}
        if settings["env"] != self.usual and not identity.can_be_told():
            return subprocess.run([*PROGRAM, *words], text=True, check=False, **settings)
        return NURSERY.run("gflowctl", PROGRAM, *words, text=True, **settings)

    def slurm(self, name: str, *words: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        """Runs one of Slurm's programs to its end; output as text."""
        program = (sys.executable, "-m", "gflowctl.slurm", name)
        settings = {"cwd": self.home, "env": self.env, "capture_output": True, "timeout": 120, **settings}
        if settings["env"] != self.usual and not identity.can_be_told():
            return subprocess.run([*program, *words], text=True, check=False, **settings)
        return NURSERY.run("gflowctl", program, *words, text=True, **settings)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Starts it; output as bytes."""
        return subprocess.Popen(
            [*PROGRAM, *words], cwd=self.home, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def waits(self, process: subprocess.Popen[bytes], path: str | None = None) -> None:
        """Until it has come so far as to look for news in the snapshot, or in the file `path`: it has read what there
        is, and sleeps.
        """

        def sleeps() -> bool:
            is_open = (path or self.state.snapshot) in descriptors.opened(process.pid)
            return is_open and proc.after_name(proc.stat(process.pid))[:1] == [b"S"]

        eventually(lambda: process.poll() is not None or sleeps())
        assert process.poll() is None

    def on_a_terminal(
        self,
        *words: str,
        columns: int = 60,
        rows: int = 24,
        env: dict[str, str] | None = None,
        enough: tuple[bytes, int] | None = None,
    ) -> tuple[str, int]:
        """What it shows on a terminal as large as that, and its status; it is interrupted once it has shown a word so
        many times, if any.
        """
        leader, follower = pty.openpty()
        termios.tcsetwinsize(follower, (rows, columns))
        environ = self.env | {"TERM": "xterm", "PYTHONIOENCODING": "utf-8"} | (env or {})
        process = subprocess.Popen([*PROGRAM, *words], cwd=self.home, env=environ, stdout=follower, stderr=follower)
        os.close(follower)
        shown = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # it has ended
                break
            if not part:
                break
            shown += part
            if enough and shown.count(enough[0]) >= enough[1]:
                process.send_signal(signal.SIGINT)
                enough = None
        os.close(leader)
        return shown.decode(), process.wait(60)

    def ok(self, *words: str, **settings: Any) -> str:
        """What it prints when all is well."""
        done = self.run(*words, **settings)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def fails(self, status: int, *words: str | bytes, **settings: Any) -> str:
        """The one line that it says when it fails with `status`."""
        done = self.run(*words, **settings)
        assert done.returncode == status, done
        assert done.stdout == "", done
        assert done.stderr.startswith("gflowctl: "), done
        assert done.stderr.count("\n") == 1, done
        return done.stderr.removeprefix("gflowctl: ").rstrip("\n")

    def submit(self, *words: str) -> int:
        """The id of a new job."""
        return int(self.ok("submit", "--parsable", *words))

    def spec(self, job_id: int) -> Any:
        """The job's spec as it is in the snapshot."""
        return codec.decode_spec(self.store.read().of("spec")[job_id])

    def jobs(self, *words: str) -> list[Any]:
        """`queue --json`."""
        return list(json.loads(self.ok("queue", "--json", *words)))

    def set_phase(self, job_id: int, phase: Phase) -> None:
        """What the scheduler would commit."""
        with self.store.commit() as commit:
            commit.put("phase", job_id, codec.encode_phase(phase))

    def run_job(
        self, job_id: int, *, executor: str = PROCESS, gpu_ids: tuple[int, ...] = (), since: float = 60
    ) -> Path:
        """Makes the job running since `since` seconds; its log."""
        began = time.time() - since
        started = Started(at=began, mono=1.0, identity=Identity(BOOT, 4242, 7))
        run = Run(executor=executor, launched_at=began, gpu_ids=gpu_ids)
        self.set_phase(job_id, Running(run=run, started=started))
        log = Path(self.state.job_log(job_id, 1))
        log.parent.mkdir(parents=True, exist_ok=True)
        return log

    def end_job(self, job_id: int, state: str = "finished", *, executor: str = PROCESS, **how: Any) -> None:
        """Makes the job ended after a minute."""
        now = time.time()
        run = Run(executor=executor, launched_at=now - 60)
        self.set_phase(job_id, Ended(state=state, ended_at=now, started_at=now - 60, run=run, **how))

    def archive(self, *spec_ids: int, drop: bool = True) -> None:
        """Moves ended jobs to the history; without `drop` as far as a scheduler that is killed amid it."""
        fold, history = self.store.read(), History(self.state.history, write=True)
        view = View(Context({}, None, self.state.root), fold)
        for spec_id in spec_ids:
            ids, phases = view.ids_of(spec_id), fold.of("phase")
            tries = {i: [(n, raw) for n in range(9) if (raw := fold.of("attempt").get(f"{i}.{n}"))] for i in ids}
            entries = [(spec_id, Entry(i, phases[i], fold.of("wish").get(i), tries[i])) for i in ids]
            last_at = max(phases[i]["ended_at"] for i in ids)
            sheet = Sheet(spec_id, len(ids), last_at, fold.of("spec")[spec_id], fold.of("limit").get(spec_id))
            history.write(entries, [sheet])
            with self.store.commit() as commit:
                for kind, key in (("spec", spec_id), *(("phase", i) for i in ids), *(("wish", i) for i in ids)):
                    if drop and key in fold.of(kind):
                        commit.put(kind, key, None)
        history.close()

    def observe(self, **seen: Any) -> None:
        """Writes what the daemon would have seen."""
        self.state.prepare()
        config = {
            "path": str(self.home / ".config/gflow/gflow.toml"), "mtime_ns": None, "lock_timeout": 10.0,
            "timezone": None,
            "known_projects": [], "require_project": False, "grace": 10.0, "start_grace": 30.0,
        }  # fmt: skip
        whole = {
            "at": time.time(), "version": "0.1.0", "pid": 1, "runtime_dir": self.state.default_run(),
            "executor": "tmux", "config": {**config, **seen.pop("config", {})},
            "capacity": {"gpus": 2, "cpus": 4, "memory_mb": 8192}, "used": {"cpus": 0, "memory_mb": 0},
            "gpus": [], "reasons": {}, "trouble": None, **seen,
        }  # fmt: skip
        path = Path(self.state.observed)
        path.touch(mode=0o600)
        path.write_text(json.dumps(whole))


@contextmanager
def private_ctl() -> Iterator[Ctl]:
    """gflowctl with a state directory of its own, which it has to make itself."""
    place = Path(tempfile.mkdtemp(prefix="gf-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    home = place / "home"
    home.mkdir()
    yield Ctl(place / "state", home)
    rmtree(place)
