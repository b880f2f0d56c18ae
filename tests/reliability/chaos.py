"""Each of our processes killed or hung at random while jobs come and go, and what must be true in the end."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import crashing
from day import ON_GPU, PATIENCE, RAN, Broken, Day, Expected, FaultyMachine
from outcome import Result
from support.machine import alive, kill
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

SILENCE = 5.0  # seconds after which the daemon of this build takes a worker for hung; of the released one 30
HANG, HOWS = "hang", ("kill", "kill", "hang")
TRY_AGAIN = 75
DONE = Expected("finished", 0)
CANCELLED = Expected("cancelled", None, ())  # its text leaves no line, so that it may have begun or not
# What is submitted: how often, how it must end, and the words of its submission.
KINDS: tuple[tuple[int, Expected, tuple[str, ...]], ...] = (
    (6, DONE, ("--wrap", RAN)),
    (3, Expected("failed", 3), ("--wrap", f"{RAN}; exit 3")),
    (4, DONE, ("-g", "1", "--wrap", ON_GPU)),
    (2, DONE, ("-g", "2", "--wrap", ON_GPU)),
    (2, DONE, ("--array", "1-4%2", "-g", "1", "--wrap", ON_GPU)),
    (2, Expected("finished", 0, (1, 2)), ("--max-retries", "1", "--wrap", f"{RAN}; [ $GFLOW_ATTEMPT = 2 ]")),
    (1, Expected("failed", 4, (1, 2)), ("--max-retries", "1", "-g", "1", "--wrap", f"{ON_GPU}; exit 4")),
    (1, Expected("timeout", None), ("-t", "3s", "--grace", "1s", "--wrap", f"{RAN}; sleep 1000")),
    (2, CANCELLED, ("--grace", "1s", "--wrap", "sleep 1000")),
)


class Users(threading.Thread):
    """Those who submit, and now and then cancel, until the time is up. `wrong` has what they were told and must not."""

    def __init__(self, day: Day, rng: random.Random, executors: tuple[str, ...], until: float) -> None:
        super().__init__()
        self.day, self.rng, self.executors, self.until = day, rng, executors, until
        self.wrong: list[str] = []

    def run(self) -> None:
        while time.monotonic() < self.until and not self.wrong:
            _, end, words = self.rng.choices(KINDS, [often for often, _, _ in KINDS])[0]
            said = self.ask("submit", "--parsable", "--executor", self.rng.choice(self.executors), *words)
            if said:
                first, _, last = said.partition("-")
                self.day.expected |= dict.fromkeys(range(int(first), int(last or first) + 1), end)
                if end is CANCELLED:
                    self.ask("cancel", first)
            time.sleep(self.rng.uniform(0.1, 0.5))

    def ask(self, *words: str) -> str:
        """What gflowctl says in the end: who is told to try again (the lock's holder hangs) does so."""
        while True:
            done = self.day.machine.ctl(*words, check=False)
            if done.returncode != TRY_AGAIN:
                break
        if done.returncode:
            self.wrong.append(f"{words}: {done.returncode} {done.stderr.strip()}")
        return done.stdout.strip()


def under_load(machine: FaultyMachine, result: Result, seconds: float, executors: tuple[str, ...], seed: int) -> None:
    """One stretch of it. Raises `Broken`, or AssertionError from below."""
    rng = random.Random(seed)
    machine.write_config(scheduler={"cpus": 16}, gpu={"simulate": "4"})
    env = {**machine.env, crashing.SILENCE: str(SILENCE)}
    machine.gflowd("start", env=env, timeout=120)
    day = Day(machine)
    users = Users(day, random.Random(rng.random()), executors, time.monotonic() + seconds)
    users.start()
    harmed: Counter[str] = Counter()
    hung = set()
    try:
        while users.is_alive():
            time.sleep(rng.uniform(0.3, 2.0))
            day.mend()  # it is never gone but by our hand
            if (victim := _victim(machine, rng)) is None:
                continue
            name, pid = victim
            how = "kill" if name == "supervisor" or any(map(alive, hung)) else rng.choice(HOWS)
            if _send(pid, signal.SIGSTOP if how == HANG else signal.SIGKILL):
                harmed[f"{name} {how}"] += 1
                hung |= {pid} if how == HANG else set()
            if name == "supervisor":
                machine.gflowd("start", env=env, timeout=120)
    finally:
        users.join()
        result.tried += harmed.total()
    if users.wrong:
        raise Broken(users.wrong[0])
    day.until(day.all_ended, "every job ends")
    day.check()
    eventually(lambda: not any(map(alive, hung)), within=PATIENCE)
    eventually(lambda: _is_whole(machine), within=PATIENCE)
    hangs = sum(count for what, count in harmed.items() if what.endswith(HANG))
    lines = len(machine.lines("ran"))
    result.note = f"{harmed.total() - hangs} kills and {hangs} hangs; {len(day.expected)} jobs, {lines} attempts"


def _victim(machine: FaultyMachine, rng: random.Random) -> tuple[str, int] | None:
    """The supervisor, or a process that has begun its work: one that can never begin may end the daemon."""
    found = machine.status()
    if not found["pid"]:
        return None
    booted = [
        (each["name"], each["pid"]) for each in found["workers"] if each["pid"] and each["heartbeat_age"] is not None
    ]
    return rng.choice([("supervisor", found["pid"]), *booted])


def _send(pid: int, number: int) -> bool:
    """Whether it was still there."""
    try:
        kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _is_whole(machine: FaultyMachine) -> bool:
    found = machine.status()
    return bool(found["running"]) and all(worker["pid"] for worker in found["workers"])


def try_all(
    new_machine: Callable[[], FaultyMachine], seconds: float, executors: tuple[str, ...], seed: int
) -> list[Result]:
    """One row."""
    result = Result(
        f"kill -9 of the supervisor, Manager and workers, SIGSTOP of the latter two, at random for {seconds:g} s",
        "every acknowledged job exists, ran once per attempt and ended as it must; no GPU was allocated twice; hung "
        "processes are replaced; no process is left",
    )
    try:
        with new_machine() as machine:  # type: ignore[attr-defined]
            under_load(machine, result, seconds, executors, seed)
    except Exception as why:
        result.broken.append(repr(why))
    return [result]
