"""Many at once: gflowctl by the dozen, schedulers that outlive their supervisor, and commits of ten thousand lines."""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import crashing
from damage import expect
from day import PATIENCE, RAN, FaultyMachine
from outcome import Result
from support.machine import kill
from support.waiting import eventually

from gflowd.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

ARRAY = 10_000


def try_all(new_machine: Callable[[], FaultyMachine], *, clients: int, seconds: float, rounds: int) -> list[Result]:
    """Every kind; `rounds` is for those that are repeated."""
    crowd = Result(
        f"{clients} gflowctl at once for {seconds:g} s, submitting, cancelling, holding and listing",
        "ids are unique and without gaps; no job is lost; no reader sees a broken state",
    )
    orphans = Result(
        "kill -9 of the supervisor while its scheduler lives on, then `gflowd start` at once",
        "an old scheduler never commits after a new one; no job runs twice",
    )
    large = Result(
        f"kill -9 within a commit of {ARRAY:,} lines: submission, cancellation, the scheduler's own",
        "all of it or nothing; no id is used twice",
    )
    newer = Result("snapshot of a newer format, read by every command", "refused with one sentence; nothing is touched")
    older = Result(
        "a daemon of the next format on a snapshot of this one",
        "it reads all of it and keeps a copy; afterwards our daemon refuses",
    )
    tries: list[tuple[Result, Callable[[FaultyMachine, Result], None], int]] = [
        (crowd, lambda machine, result: a_crowd(machine, result, clients, seconds), 1),
        (orphans, lambda machine, result: orphaned(machine, result, rounds), 1),
        (large, a_large_commit, len(LARGE)),
        (newer, newer_file, 1),
        (older, older_file, 1),
    ]
    for result, attempt, times in tries:
        for _ in range(times):
            try:
                with new_machine() as machine:  # type: ignore[attr-defined]
                    attempt(machine, result)
            except Exception as why:
                result.broken.append(repr(why))
    return [result for result, _, _ in tries]


# --- a crowd


class Client(threading.Thread):
    """One user's terminal: a command after the other until the time is up."""

    def __init__(self, machine: FaultyMachine, number: int, until: float) -> None:
        super().__init__()
        self.machine = machine
        self.rng = random.Random(number)
        self.until = until
        self.ids: list[int] = []
        self.took: dict[str, list[float]] = {}
        self.wrong: list[str] = []

    def run(self) -> None:
        while time.monotonic() < self.until:
            word = self.rng.choices(("submit", "cancel", "hold", "queue"), (5, 1, 1, 3))[0]
            own = str(self.rng.choice(self.ids)) if self.ids else None
            words = {
                "submit": ["submit", "--parsable", "--hold", "true"],
                "queue": ["queue", "--json", "-a"],
            }.get(word, [word, own] if own else ["queue", "--json"])
            began = time.monotonic()
            done = subprocess.run(
                [str(self.machine.bin / "gflowctl"), *words],
                cwd=self.machine.work, env=self.machine.env, capture_output=True, text=True, check=False,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
            self.took.setdefault(words[0], []).append(time.monotonic() - began)
            self.judge(words, done)

    def judge(self, words: list[str], done: subprocess.CompletedProcess[str]) -> None:
        if words[0] in ("submit", "queue"):
            if done.returncode or done.stderr:
                self.wrong.append(f"{words}: {done.returncode} {done.stderr}")
            elif words[0] == "submit":
                self.ids.append(int(done.stdout))
            else:
                shown = {job["id"] for job in json.loads(done.stdout)}
                if "-a" in words and not shown.issuperset(self.ids):
                    self.wrong.append(f"a list without {set(self.ids) - shown}")
        elif done.returncode not in (0, 1) or (done.returncode == 1 and "is cancelled" not in done.stderr):
            self.wrong.append(f"{words}: {done.returncode} {done.stdout} {done.stderr}")


def a_crowd(machine: FaultyMachine, result: Result, clients: int, seconds: float) -> None:
    """Their jobs are held: how many commits the machine bears is asked, not how many jobs."""
    machine.start()
    crowd = [Client(machine, number, time.monotonic() + seconds) for number in range(clients)]
    for client in crowd:
        client.start()
    for client in crowd:
        client.join()
    wrong = [why for client in crowd for why in client.wrong]
    expect(not wrong, wrong[:5])
    ids = sorted(job_id for client in crowd for job_id in client.ids)
    result.tried = sum(len(times) for client in crowd for times in client.took.values())
    expect(ids == list(range(1, len(ids) + 1)), "ids are not dense or not unique")
    expect(sorted(machine.jobs()) == ids)
    expect(Store(machine.state).read().dropped == [])
    expect(machine.submit("--wrap", RAN) == len(ids) + 1)
    shown = []
    for word in ("submit", "cancel", "hold", "queue"):
        times = sorted(each for client in crowd for each in client.took.get(word, []))
        if times:
            p50, p95, p99 = (times[min(len(times) - 1, int(len(times) * part))] for part in (0.5, 0.95, 0.99))
            shown.append(f"{word} {p50 * 1000:.0f}/{p95 * 1000:.0f}/{p99 * 1000:.0f}")
    result.note = f"{len(ids)} jobs; p50/p95/p99 in ms on {os.cpu_count()} processors: {', '.join(shown)}"


# --- two schedulers


def orphaned(machine: FaultyMachine, result: Result, rounds: int) -> None:
    """In this build no signal comes from the kernel when the parent dies, so that orphans live as long as they can."""
    env = {**machine.faulty(None), crashing.ORPHANS: "1"}
    machine.gflowd("start", env=env, timeout=120)
    ids: list[int] = []
    for turn in range(rounds):
        submitting = machine.begin_many(6)
        before = len(ids)
        eventually(lambda before=before: len(machine.lines("ran")) > before, within=PATIENCE)
        time.sleep(random.Random(turn).random() / 10)  # wherever the scheduler is now
        kill(machine.pids()["supervisor"])
        machine.gflowd("start", env=env, timeout=120)
        result.tried += 1
        ids += machine.submitted(submitting)
    expect(machine.wait(*ids) == 0)
    machine.ran_exactly_once(ids)
    lines = (machine.faults / "journal").read_text().splitlines()
    writers = [line.split()[1] for line in lines if line.endswith("scheduler|write|snapshot.jsonl")]
    turns = [pid for number, pid in enumerate(writers) if number == 0 or writers[number - 1] != pid]
    expect(len(turns) == len(set(turns)), "two schedulers wrote in turn", turns)
    expect(len(turns) > rounds, "not every round had a scheduler of its own", turns)


# --- large commits

# Whose write, which of them, and how far it comes, in percent.
LARGE = [(who, part) for who in ("submit", "cancel", "scheduler") for part in (0, 10, 50, 99)]


def a_large_commit(machine: FaultyMachine, result: Result) -> None:
    """Killed within its write; what is there then, and what the next ones make of it."""
    who, part = LARGE[result.tried]
    result.tried += 1
    words = ("submit", "--parsable", "--hold", "--array", f"1-{ARRAY}", "true")
    if who == "submit":
        _killed(machine, part, *words)
        expect(len(machine.jobs()) in (0, ARRAY))
    else:
        machine.ctl(*words)
    if who == "cancel":
        _killed(machine, part, "cancel", "--all")
    if who == "scheduler":
        machine.ctl("cancel", "--all")
        env = machine.faulty(f"scheduler|write|snapshot.jsonl|2|{crashing.TORN}{part}|{crashing.DAEMON}")
        machine.gflowd("start", env=env, check=False, timeout=120)
        eventually(machine.crashed, within=PATIENCE)
        eventually(lambda: not machine.is_up(), within=PATIENCE)
    states = Counter(job["state"] for job in machine.jobs().values())
    if who != "submit":
        expect(states in (Counter(held=ARRAY), Counter(cancelled=ARRAY)), who, part, states)
    before = max(machine.jobs(), default=0)
    machine.start()
    new = machine.submit("--wrap", RAN)
    expect(new > before, "an id was given twice")
    expect(machine.wait(new) == 0)
    if who == "scheduler":
        eventually(lambda: Counter(j["state"] for j in machine.jobs().values())["cancelled"] == ARRAY, within=PATIENCE)
    expect(Store(machine.state).read().dropped == [])


def _killed(machine: FaultyMachine, part: int, *words: str) -> None:
    env = machine.faulty(f"client|write|snapshot.jsonl|1|{crashing.TORN}{part}|{crashing.PROCESS}")
    done = machine.ctl(*words, check=False, env=env)
    expect(done.returncode == -9, done)
    expect(done.stdout == "", "it was acknowledged", done)


# --- other formats


def newer_file(machine: FaultyMachine, result: Result) -> None:
    """As a next gflow left it."""
    machine.start()
    machine.wait(machine.submit("--wrap", RAN))
    machine.stop()
    _next_format(machine, "start")
    machine.stop()
    path = Path(machine.state.snapshot)
    before = path.read_bytes()
    expect(b'"format":2' in before.splitlines()[0])
    for program, *words in (
        ("gflowd", "start"), ("gflowd", "run"), ("gflowctl", "submit", "true"), ("gflowctl", "queue"),
        ("gflowctl", "cancel", "1"), ("gflowctl", "hold", "1"), ("gflowctl", "drain"),
    ):  # fmt: skip
        expect("newer gflow" in machine.refused(1, *words, program=program))
        result.tried += 1
    expect(path.read_bytes() == before, "it was touched")
    expect(not list(path.parent.glob("*.corrupt-*")))


def older_file(machine: FaultyMachine, result: Result) -> None:
    machine.start()
    done = machine.submit("--wrap", f"{RAN}; exit 3")
    machine.wait(done)
    machine.stop()
    held = machine.submit("--hold", "--wrap", RAN)
    path = Path(machine.state.snapshot)
    before = path.read_bytes()
    _next_format(machine, "start")
    result.tried = 1
    expect(Path(f"{path}.format-1").read_bytes() == before, "no copy of the old file")
    env = {**machine.env, crashing.FORMAT: "2"}
    jobs = {job["id"]: job for job in json.loads(machine.ctl("queue", "--json", "-a", env=env).stdout)}
    expect((jobs[done]["exit_code"], jobs[held]["state"]) == (3, "held"), jobs)
    machine.ctl("release", str(held), env=env)
    expect(machine.ctl("wait", str(held), env=env).returncode == 0)
    machine.stop()


def _next_format(machine: FaultyMachine, *words: str) -> None:
    machine.gflowd(*words, env={**machine.env, crashing.FORMAT: "2"})
