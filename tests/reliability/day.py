"""A scripted day of jobs on a machine of its own, and what must be true at its end, whatever was killed meanwhile."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import crashing
from support.machine import ROOT, Machine, alive

from gflowd.core.events.kinds import JOB_ENDED, JOB_REQUEUED, JOB_STARTED, JOB_SUBMITTED, decode_id
from gflowd.storage.journal.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HERE = Path(__file__).parent
PATIENCE = 150.0  # seconds that anything may take on a busy machine; nothing here is about speed
GPUS = 2
NEVER_MISSED = (JOB_SUBMITTED, JOB_STARTED, JOB_ENDED, JOB_REQUEUED)
LIVE = ("queued", "held", "starting", "running", "stopping")

# What each job does; all leave a line, and those on GPUs tell when they had which.
RAN = "echo $GFLOW_JOB_ID.$GFLOW_ATTEMPT >>ran"
ON_GPU = (
    f"{RAN}; echo $GFLOW_JOB_ID b $CUDA_VISIBLE_DEVICES $(date +%s%N) >>gpus; sleep 0.05; "
    "echo $GFLOW_JOB_ID e $CUDA_VISIBLE_DEVICES $(date +%s%N) >>gpus"
)


class Broken(Exception):
    """A promise was broken; `str()` says which."""


@dataclass
class Expected:
    """How a job must end: its state, exit code, and the attempts that must have run."""

    state: str
    exit_code: int | None = None
    attempts: tuple[int, ...] = (1,)


@dataclass
class Day:
    """A day on `machine`. `fault` is what `crashing` takes, or None."""

    machine: FaultyMachine
    fault: str | None = None
    expected: dict[int, Expected] = field(default_factory=dict)
    restarts: int = 0

    def run(self) -> None:
        """Raises `Broken`, or AssertionError from below."""
        self.start(self.fault)
        self.morning()
        self.machine.stop()
        self.evening()
        self.start(self.fault)
        self.until(self.all_ended, "every job ends")
        self.check()

    def start(self, fault: str | None) -> None:
        """`gflowd start`; where the fault falls into it, it is started again at once, which must go well."""
        done = self.machine.gflowd("start", check=False, env=self.machine.faulty(fault), timeout=120)
        if done.returncode and not self.machine.crashed():
            raise Broken(f"gflowd start: {done.returncode} {done.stderr.strip()}")
        self.mend()

    def mend(self) -> None:
        """Starts the daemon again when it is dead."""
        if self.machine.is_up():
            return
        if not self.machine.crashed():
            raise Broken(f"the daemon is gone without a fault:\n{self.machine.daemon_log()[-2000:]}")
        self.restarts += 1
        self.machine.heal()
        done = self.machine.gflowd("start", check=False, timeout=120)
        if done.returncode and "already running" not in done.stderr:
            raise Broken(f"start again: {done.returncode} {done.stderr.strip()}")

    def submit(self, end: Expected, *words: str) -> int:
        """A job that is acknowledged, or a system failure told; then the disk is made well and it is tried again."""
        done = self.machine.ctl("submit", "--parsable", *words, check=False)
        if done.returncode == 3 and self.machine.crashed():
            self.machine.heal()
            done = self.machine.ctl("submit", "--parsable", *words, check=False)
        if done.returncode:
            raise Broken(f"submit: {done.returncode} {done.stderr.strip()}")
        first, _, last = done.stdout.strip().partition("-")
        for job_id in range(int(first), int(last or first) + 1):
            self.expected[job_id] = end
        return int(first)

    def morning(self) -> None:
        done = Expected("finished", 0)
        doomed = self.submit(Expected("cancelled", None), "--wrap", f"{RAN}; sleep 1000")
        self.submit(Expected("timeout", None), "-t", "3s", "--grace", "1s", "--wrap", f"{RAN}; sleep 1000")
        plain = self.submit(done, "--wrap", RAN)
        bad = self.submit(Expected("failed", 3), "--wrap", f"{RAN}; exit 3")
        self.submit(Expected("finished", 0, (1, 2)), "--max-retries", "1", "--wrap", f"{RAN}; [ $GFLOW_ATTEMPT = 2 ]")
        for count in ("1", "2", "1", "1"):
            self.submit(done, "-g", count, "--wrap", ON_GPU)
        self.submit(done, "--array", "1-4%2", "-g", "1", "--wrap", ON_GPU)
        self.submit(done, "-d", f"afterok:{plain}", "--wrap", RAN)
        self.submit(done, "-d", f"afternotok:{bad}", "--wrap", RAN)
        self.submit(Expected("cancelled", None, ()), "-d", f"afterok:{bad}", "--wrap", RAN)
        self.until(lambda: f"{doomed}.1" in self.machine.lines("ran"), "a job begins")
        self.machine.heal()
        self.machine.ctl("cancel", str(doomed))

    def evening(self) -> None:
        """With the daemon down."""
        for _ in range(2):
            self.submit(Expected("finished", 0), "-g", "1", "--wrap", ON_GPU)

    def until(self, look: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not look():
            self.mend()
            if self.machine.crashed():
                self.machine.heal_later()
            if time.monotonic() > deadline:
                raise Broken(f"not within {PATIENCE:g} s: {what}\n{self.tell()}")
            time.sleep(0.05)

    def all_ended(self) -> bool:
        return not any(job["state"] in LIVE for job in self.machine.jobs().values())

    def tell(self) -> str:
        jobs = self.machine.ctl("queue", "-a", check=False).stdout
        return f"{jobs}\n{self.machine.daemon_log()[-3000:]}"

    # the end

    def check(self) -> None:
        """All acknowledged jobs are there, ended as they must, ran as often as they must, and shared no GPU."""
        jobs = self.machine.jobs()
        if missing := self.expected.keys() - jobs.keys():
            raise Broken(f"acknowledged and gone: {sorted(missing)}")
        ran = Counter(self.machine.lines("ran"))
        for job_id, end in self.expected.items():
            job = jobs[job_id]
            if (job["state"], job["exit_code"]) != (end.state, end.exit_code):
                raise Broken(f"job {job_id} is {job['state']} {job['reason']} {job['exit_code']}, not {end}")
            wanted = {f"{job_id}.{attempt}": 1 for attempt in end.attempts}
            found = {key: count for key, count in ran.items() if key.startswith(f"{job_id}.")}
            if found != wanted:
                raise Broken(f"job {job_id} ran {found}, not {wanted}")
        self.check_gpus()
        self.until(lambda: not self.untold(), "every event is told")
        self.check_events()

    def events(self) -> Counter[tuple[str, int, int]]:
        """How often the journal tells what must never be missed: kind, job and attempt."""
        told = Reader(self.machine.state).read()
        return Counter((each["kind"], each["job"], each["attempt"]) for each in told if each["kind"] in NEVER_MISSED)

    def untold(self) -> set[tuple[str, int, int]]:
        """What the journal has to tell yet."""
        wanted = {
            (JOB_ENDED, job_id, attempt) for job_id, end in self.expected.items() for attempt in end.attempts or (1,)
        }
        wanted |= {(JOB_STARTED, job_id, attempt) for job_id, end in self.expected.items() for attempt in end.attempts}
        return wanted - self.events().keys()

    def check_events(self) -> None:
        """Nothing is told twice, and ids grow."""
        if twice := [fact for fact, times in self.events().items() if times > 1]:
            raise Broken(f"told more than once: {sorted(twice)}")
        ids = [decode_id(event["id"]) for event in Reader(self.machine.state).read()]
        if ids != sorted(set(ids)):
            raise Broken(f"ids that do not grow: {ids}")

    def check_gpus(self) -> None:
        """No two jobs had a GPU at the same time."""
        using: dict[str, str] = {}
        events = []
        for line in self.machine.lines("gpus"):
            job_id, what, gpus, at = line.split()
            events.append((int(at), what, job_id, gpus.split(",")))
        for _, what, job_id, gpus in sorted(events, key=lambda event: (event[0], event[1] == "b")):
            for gpu in gpus:
                if what == "b" and using.get(gpu):
                    raise Broken(f"GPU {gpu} given to {job_id} while {using[gpu]} has it")
                using[gpu] = job_id if what == "b" else ""


class FaultyMachine(Machine):
    """A machine whose `gflowd` is the build for tests."""

    def __init__(self, root: Path, executor: str) -> None:
        super().__init__(root)
        self.faults = Path(f"{root}.faults")  # beside it: its processes are known by naming `root`
        self.faults.mkdir()
        for name, base in (("gflowd", "starter"), ("gflowctl", "client")):
            self.programs[self.bin / name] = (
                f"#!{sys.executable}\nimport sys\nsys.path[:0] = [{str(ROOT)!r}, {str(HERE)!r}]\n"
                f"import os\nif any(name.startswith({crashing.WHICH!r}) for name in os.environ):\n"
                f"    import crashing\n    crashing.arm({base!r})\n"
                f"from {name}.main import main\nsys.exit(main())\n"
            )
            (self.bin / name).write_text(self.programs[self.bin / name])
        self.write_config(
            executor={"type": executor, "grace": 2}, daemon={"start_grace": 5}, gpu={"simulate": str(GPUS)}
        )
        self.failing_since = 0.0

    def faulty(self, fault: str | None) -> dict[str, str]:
        """The environment of a command that is to suffer `fault`, or only to keep the journal."""
        where = {crashing.WHERE: str(self.faults)}
        return {**self.env, **where, **({crashing.WHICH: fault} if fault else {})}

    def is_as_written(self, program: Path, env: Mapping[str, str]) -> bool:
        """Not where it is to suffer: what is wrapped then must be wrapped before it is imported."""
        is_armed = any(name.startswith(crashing.WHICH) for name in env)
        return not is_armed and super().is_as_written(program, env)

    def crashed(self) -> bool:
        return (self.faults / "crashed").exists()

    def heal(self) -> None:
        """Makes the disk well, where it failed for more than once."""
        (self.faults / "failing").unlink(missing_ok=True)

    def heal_later(self, after: float = 1.0) -> None:
        """The same once it has been failing for a while."""
        self.failing_since = self.failing_since or time.monotonic()
        if time.monotonic() > self.failing_since + after:
            self.heal()

    def effects(self) -> list[str]:
        """The journal: every effect in order, by name."""
        lines = (self.faults / "journal").read_text().splitlines()
        return [line.split(" ", 2)[2] for line in lines]

    def is_up(self) -> bool:
        """Whether there is a daemon, by its pid file: asking it costs more."""
        try:
            return alive(json.loads(Path(self.state.daemon_pid).read_bytes())["pid"])
        except (OSError, ValueError):
            return False

    def close(self) -> None:
        """Where the fault came last of all, a daemon is started again, as anybody would who wants to stop it well."""
        try:
            if self.crashed() and not self.is_up():
                self.heal()
                self.start()
            super().close()
        finally:
            for path in self.faults.iterdir():
                os.unlink(path)
            self.faults.rmdir()
