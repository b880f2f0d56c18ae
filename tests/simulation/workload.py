"""A busy machine: jobs that come, users who change their minds, workers that are killed, GPUs that flicker."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from ledger import ENDED, RUNNING, Seen
from style import HOUR, STREAM, Style, fate
from virtual_daemon import KILL_POINTS
from virtual_jobs import Fate, Key
from virtual_run import VirtualRun

from gflowd.core.job.arrays import Family
from gflowd.core.job.dependencies import Dependency, Needs
from gflowd.core.job.retry_policy import Retry

WIDE_EVERY = 2 * HOUR  # in a stream
CAUSES = ("failure", "zombie", "timeout")  # of retries


class Workload:
    """What happens to a run, all of it from a seed. `hours`: until when jobs are submitted."""

    def __init__(self, seed: int, style: Style, hours: float) -> None:
        self.style = style
        self.run: VirtualRun
        self._seed = seed
        self._until = hours * HOUR
        self._dice = Random(f"workload {seed}")
        self.submitted = 0  # jobs
        self._takes: dict[int, float] = {}  # by job, or by array

    def fate(self, key: Key) -> Fate:
        """For the virtual jobs."""
        job = self.run.ledger.jobs.get(key[0])
        job_id = key[0] if job is None or job.array_id is None else job.array_id
        return fate(self._seed, key, self._takes.get(job_id, 60.0), self.style.trouble)

    def begin(self, run: VirtualRun) -> None:
        """Sets all in motion."""
        self.run = run
        self._repeat(self.style.arrivals, self._submit)
        self._repeat(self.style.unrest, self._wish)
        self._repeat(self.style.unrest, self._flicker)
        self._repeat(self.style.kills, self._kill)
        if self.style.reserves:
            self._repeat(0.5, self._reserve)
        if self.style.kind == STREAM:
            self._repeat(HOUR / WIDE_EVERY, self._submit_wide)

    def end(self) -> None:
        """Lets all that can still happen happen: nobody keeps anything from starting any longer."""
        run, people = self.run, self.run.people
        people.resume()
        for number in list(run.ledger.of("reservation")):
            people.cancel_reservation(number)
        for owner in list(run.ledger.of("quota")):
            people.set_quota(owner, None)
        for job in list(run.ledger.waiting.values()):
            if job.wish.get("held"):
                people.release(job)
        run.driver.fails_until = 0.0
        for card in run.cards:
            card.taken_until = card.faulty_until = 0.0

    def _repeat(self, rate: float, what: Callable[[], None]) -> None:
        """Has something happen so many times an hour, at random."""
        if rate <= 0:
            return

        def again() -> None:
            self.run.judge_rest()
            what()
            plan()

        def plan() -> None:
            when = self.run.clock.now + self._dice.expovariate(rate / HOUR)
            if when < self._until:
                self.run.clock.at(when, again)

        plan()

    # Jobs.

    def _submit(self) -> None:
        dice, style = self._dice, self.style
        takes = min(dice.expovariate(1 / style.mean) + 1.0, 8 * HOUR)
        if style.kind == STREAM:
            takes = dice.uniform(10.0, 2 * style.mean - 10.0)
        fields: dict[str, Any] = {"gpus": dice.choice(style.widths), "user": dice.choice(style.users)}
        fields["priority"] = dice.choice(style.priorities)
        if dice.random() < style.limited:
            fields["time_limit"] = float(round(max(5.0, takes * dice.uniform(1.0, 4.0))))
        if style.rich:
            fields |= self._extras(fields)
        count = fields["family"].ranges[0][1] if "family" in fields else 1
        job_id = self.run.people.submit(held=style.unrest > 0 and dice.random() < 0.03, **fields)
        self._takes[job_id] = takes / count
        self.submitted += count

    def _extras(self, fields: dict[str, Any]) -> dict[str, Any]:
        """What makes a job special: one thing at a time."""
        dice, waiting = self._dice, list(self.run.ledger.waiting) + list(self.run.ledger.holding)
        wall = self.run.clock.wall
        found: dict[str, Any] = {}
        match dice.randrange(24):
            case 0:
                size, most = dice.randint(2, 6), dice.choice((None, 1, 2))
                found = {"family": Family(ranges=((1, size, 1),), max_concurrent=most)}
            case 1 | 2 if waiting:
                kind = dice.choice(("afterok", "afterany", "afternotok", "after"))
                found = {"needs": Needs(dependencies=(Dependency(kind=kind, id=dice.choice(waiting)),))}
            case 3 | 4:
                delay = dice.choice((0.0, 30.0, 300.0))
                found = {"retry": Retry(max_retries=dice.randint(1, 3), on=CAUSES, delay=delay)}
            case 5:
                found = {"begin_at": wall + dice.uniform(0, 2 * HOUR)}
            case 6 | 7 if fields["gpus"] == 1:
                found = {"shared": True, "gpu_memory_mb": dice.choice((4000, 8000, 16000))}
            case 8:
                found = {"gpu_type": dice.choice(("A", "virtual")), "gpus": min(1, fields["gpus"])}
            case 9:
                found = {"cpus": dice.randint(0, self.style.cpus)}
            case 10:
                found = {"needs": Needs(dependencies=(Dependency(kind="singleton"),)), "name": "alone"}
        return found

    def _submit_wide(self) -> None:
        job_id = self.run.people.submit(gpus=self._dice.randint(3, 7), user=self._dice.choice(self.style.users))
        self._takes[job_id] = self.style.mean

    # Users.

    def _wish(self) -> None:
        dice, people, run = self._dice, self.run.people, self.run
        alive = [*run.ledger.waiting.values(), *run.ledger.holding.values()]
        job = dice.choice(alive) if alive else None
        match dice.randrange(12):
            case 0 | 1 | 2 if job is not None:
                self._soon(lambda: people.cancel(job))
            case 3 if job is not None:
                self._soon(lambda: people.hold(job))
                run.clock.after(dice.uniform(0, HOUR), lambda: people.release(job))
            case 4 if job is not None:
                self._soon(lambda: people.requeue(job))
            case 5 if job is not None and job.limit is not None:
                longer = job.limit * dice.choice((0.5, 2.0, 4.0))
                self._soon(lambda: people.update(job, time_limit=longer))
            case 6 if job is not None:
                self._soon(lambda: people.top(job))
            case 7:
                quota = {dice.choice(("max_running_jobs", "max_running_gpus")): dice.randint(1, 4)}
                owner = dice.choice(("default-user", f"user:{dice.choice(self.style.users)}"))
                people.set_quota(owner, quota)
                run.clock.after(dice.uniform(0, 4 * HOUR), lambda: people.set_quota(owner, None))
            case 8:
                people.drain()
                run.clock.after(dice.uniform(0, HOUR / 2), people.resume)
            case 9 if run.ledger.arrays:
                people.limit(dice.choice(list(run.ledger.arrays)), dice.randint(1, 3))
            case _ if (over := self._ended()) is not None:
                self._soon(lambda: people.requeue(over))

    def _ended(self) -> Seen | None:
        found = [each for each in list(self.run.ledger.jobs.values())[-20:] if each.is_ == ENDED]
        return self._dice.choice(found) if found else None

    def _soon(self, what: Callable[[], None]) -> None:
        """Now, or in the midst of the scheduler's next tick, ahead of its commit."""
        if self._dice.random() < 0.5:
            what()
        else:
            self.run.daemon.between = what
            self.run.daemon.ring(b"w")

    def _reserve(self) -> None:
        dice, run, people = self._dice, self.run, self.run.people
        start = run.clock.wall + dice.uniform(60, 4 * HOUR)
        repeat = dice.choice((None, None, None, "daily"))
        gpus = dice.randint(1, self.style.gpus)
        if any("cancelled_at" not in each for each in run.ledger.of("reservation").values()):
            return
        number = people.reserve(dice.choice(self.style.users), start, dice.uniform(60, HOUR), gpus, repeat)
        run.clock.after(dice.uniform(0, 8 * HOUR), lambda: people.cancel_reservation(number))

    # The machine.

    def _flicker(self) -> None:
        dice, run = self._dice, self.run
        card, until = dice.choice(run.cards), run.clock.now + dice.choice((0.5, 20.0, 20.0, 900.0))
        match dice.randrange(5):
            case 0 | 1:
                card.taken_until = until
            case 2 | 3:
                card.faulty_until = until
            case _:
                run.driver.fails_until = min(until, run.clock.now + 60)

    def _kill(self) -> None:
        daemon = self.run.daemon
        match self._dice.randrange(8):
            case 0:
                daemon.lose_board()
            case 1 | 2 | 3:
                daemon.kill_point = self._dice.choice(KILL_POINTS)
            case 4:
                daemon.kill("scheduler")
            case _:
                daemon.kill(self._dice.choice([name for name in daemon.places if name != "scheduler"]))


def is_stuck(run: VirtualRun) -> bool:
    """Whether nothing has gone on for longer than anything could take."""
    longest = max((each.fate.takes for each in run.jobs.living()), default=0.0)
    waits = [each for each in run.ledger.holding.values() if each.is_ == RUNNING] and longest
    return run.clock.now > run.moved_at + 9 * HOUR + (waits or 0.0)


def left(run: VirtualRun) -> list[Seen]:
    """The jobs that have not ended."""
    return [*run.ledger.waiting.values(), *run.ledger.holding.values()]
