"""What may be done to the state directory behind gflow's back, with the real daemon on it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from day import RAN, FaultyMachine
from outcome import Result
from support.machine import GATE, clear_away
from support.waiting import eventually

from gflowd.storage.record_log import encode_line
from gflowd.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

STRANGER = 65534  # nobody


def expect(sure: object, *what: object) -> None:
    """An assertion that also holds under `python -O`."""
    if not sure:
        raise AssertionError(*what)


def with_jobs(machine: FaultyMachine) -> dict[int, str]:
    """A state directory with a past: jobs that ended and jobs that wait, the daemon down. State by id."""
    machine.start()
    done = [machine.submit("--wrap", RAN), machine.submit("--wrap", f"{RAN}; exit 3")]
    machine.wait(*done)
    machine.stop()
    for _ in range(4):
        machine.submit("--hold", "--wrap", RAN)
    return {job_id: job["state"] for job_id, job in machine.jobs().items()}


def flip_bytes(machine: FaultyMachine, rng: random.Random) -> None:
    """Some bytes of the snapshot change: the daemon starts, says what it dropped, keeps the rest."""
    before = with_jobs(machine)
    path = Path(machine.state.snapshot)
    data = bytearray(path.read_bytes())
    lines = bytes(data).splitlines(keepends=True)
    ends = [sum(map(len, lines[: n + 1])) for n in range(len(lines))]
    hit = set()
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(data))
        data[place] ^= rng.randint(1, 255)
        line = next(n for n, end in enumerate(ends) if place < end)
        hit |= {line, line + 1} if place == ends[line] - 1 else {line}
    path.write_bytes(data)
    machine.start()
    kept = [p.read_bytes() for p in path.parent.glob("snapshot.jsonl.corrupt-*") if ".new." not in p.name]
    expect(kept == [bytes(data)], "the damaged file is not kept")
    expect("damaged" in machine.daemon_log(), "the log says nothing")
    jobs = machine.jobs()
    named = {job_id for n in hit if n < len(lines) for job_id in before if b",%d," % job_id in lines[n]}
    for job_id, state in before.items():
        expect(job_id in named or jobs[job_id]["state"] == state, job_id, state, jobs.get(job_id))
    new = machine.submit("--wrap", RAN)
    expect(new > max(before), "an id was given twice")
    expect(machine.wait(new) == 0)


def bad_tail(machine: FaultyMachine, rng: random.Random) -> None:
    """The end of the snapshot is torn, or zeros, or noise: every commit before it is there."""
    before = with_jobs(machine)
    path = Path(machine.state.snapshot)
    torn = encode_line(1, 90, ("spec", 89), "never committed") + encode_line(1, 91, ("spec", 90), "x")
    tail = rng.choice([torn[: rng.randrange(1, len(torn))], bytes(rng.randint(1, 5000)), rng.randbytes(500)])
    path.write_bytes(path.read_bytes() + tail)
    machine.start()
    expect({job_id: job["state"] for job_id, job in machine.jobs().items()} == before)
    new = machine.submit("--wrap", RAN)
    expect(new > max(before))
    expect(machine.wait(new) == 0)


def _while_a_job_runs(machine: FaultyMachine, harm: Callable[[], object]) -> None:
    """Harms something while a job runs and the daemon is up; the job's end is known, and others run after it."""
    if not machine.is_up():
        machine.start()
    (machine.work / "ran").unlink(missing_ok=True)
    running = machine.submit("--wrap", f"{RAN}; {GATE}; exit 3")
    machine.until(running, "running")
    eventually(lambda: machine.lines("ran"))
    harm()
    queued = machine.submit("--executor", "process", "--wrap", RAN)
    machine.gflowd("restart")
    machine.wait(queued)
    machine.open_gate()
    expect(machine.wait(running) == 3, machine.job(running))
    expect(machine.result("echo", "well") == "well\n")
    expect(sorted(machine.lines("ran")) == sorted(f"{job_id}.1" for job_id in (running, queued)))


def runtime_removed(machine: FaultyMachine, rng: random.Random) -> None:
    _while_a_job_runs(machine, lambda: shutil.rmtree(machine.state.default_run()))


def log_removed(machine: FaultyMachine, rng: random.Random) -> None:
    _while_a_job_runs(machine, lambda: clear_away(os.path.dirname(machine.state.log)))
    expect(machine.daemon_log(), "there is no log any more")


def observed_is_nonsense(machine: FaultyMachine, rng: random.Random) -> None:
    _while_a_job_runs(machine, lambda: Path(machine.state.observed).write_bytes(rng.randbytes(200)))


def snapshot_removed(machine: FaultyMachine, rng: random.Random) -> None:
    """Under a running daemon, which has it in memory."""
    _while_a_job_runs(machine, lambda: os.unlink(machine.state.snapshot) or eventually(_is(machine.state.snapshot)))


def spoilt_in_place(machine: FaultyMachine, rng: random.Random) -> None:
    """Under a running daemon, the file as long as before: what the daemon remembers is the better copy. First some
    line, then the last.
    """
    before = with_jobs(machine)
    machine.start()
    machine.until(min(before), "finished")
    path = Path(machine.state.snapshot)

    def spoil() -> None:
        for turn in range(2):
            lines = path.read_bytes().splitlines(keepends=True)
            with path.open("r+b") as file:
                file.seek(sum(map(len, lines[: -1 if turn else rng.randrange(1, len(lines) - 1)])))
                file.write(b"\0" * 20)
            eventually(lambda turn=turn: machine.daemon_log().count("it is kept as") > turn)
        expect(len(list(path.parent.glob("*.corrupt-*"))) == 2, "what was spoilt is not kept")

    _while_a_job_runs(machine, spoil)
    jobs = machine.jobs()
    expect({job_id: jobs[job_id]["state"] for job_id in before} == before)
    expect(Store(machine.state).read().dropped == [])


def _is(path: str) -> Callable[[], bool]:
    return lambda: os.path.exists(path)


def of_another_machine(machine: FaultyMachine, rng: random.Random) -> None:
    with_jobs(machine)
    with Store(machine.state).commit() as commit:
        commit.put("header", 0, {"format": 1, "machine": "another"})
    _refused_untouched(machine, "last used on machine another", ("gflowd", "start"))


def of_another_user(machine: FaultyMachine, rng: random.Random) -> None:
    with_jobs(machine)
    os.chown(machine.state.root, STRANGER, STRANGER)
    try:
        _refused_untouched(machine, "belongs to user", ("gflowd", "start"), ("gflowctl", "submit", "true"))
    finally:
        os.chown(machine.state.root, os.geteuid(), os.getegid())


def open_to_others(machine: FaultyMachine, rng: random.Random) -> None:
    """The state directory, the snapshot, and the store of environments."""
    with_jobs(machine)
    for path, mode in (
        (machine.state.root, 0o755),
        (machine.state.snapshot, 0o644),
        (machine.state.path("env"), 0o750),
    ):
        before = os.stat(path).st_mode & 0o777
        os.chmod(path, mode)
        programs = [("gflowctl", "submit", "--export", "NONE", "true")]
        programs += [] if path.endswith("env") else [("gflowd", "start")]
        _refused_untouched(machine, f"chmod {before:o} {path}", *programs)
        os.chmod(path, before)


def _refused_untouched(machine: FaultyMachine, why: str, *programs: tuple[str, ...]) -> None:
    before = Path(machine.state.snapshot).read_bytes()
    for program, *words in programs:
        expect(why in machine.refused(1, *words, program=program), why)
    expect(Path(machine.state.snapshot).read_bytes() == before, "it was touched")


def environment_open_to_others(machine: FaultyMachine, rng: random.Random) -> None:
    """A job whose stored environment others may read is not started, and says why."""
    job_id = machine.submit("--wrap", RAN)
    for path in Path(machine.state.path("env")).iterdir():
        path.chmod(0o644)
    machine.start()
    job = machine.ended(job_id)
    expect("open to others" in str(job["reason"]), job)
    expect(machine.lines("ran") == [])


def disk_fills_and_empties(machine: FaultyMachine, rng: random.Random) -> None:
    """A real full file system, again and again, while jobs end and others are submitted."""
    place = Path(machine.state.root)
    place.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=900k,mode=0700", "gflow-test", str(place)], check=True)
    try:
        _on_a_small_disk(machine, place, rng)
    finally:
        machine.gflowd("stop", check=False)
        eventually(lambda: not machine.processes())
        subprocess.run(["umount", "-l", str(place)], check=True)


def _on_a_small_disk(machine: FaultyMachine, place: Path, rng: random.Random) -> None:
    machine.start()
    codes = {}
    for turn in range(3):
        gate = f"gate{turn}"
        code = rng.randint(0, 100)  # above 128 it would read as a signal
        job_id = machine.submit("-o", str(machine.work / "out"), "--wrap", f"{GATE.replace('gate', gate)}; exit {code}")
        codes[job_id] = code
        machine.until(job_id, "running")
        ballast(place)
        said = machine.refused(3, "submit", "--wrap", f"echo {'x' * 5000}")
        expect("No space left" in said, said)
        machine.open_gate(gate)
        eventually(lambda job_id=job_id: not machine.of_job(job_id))
        (place / "ballast").unlink()
        expect(machine.wait(job_id) == code, machine.job(job_id), code)
    found = {job_id: job["exit_code"] for job_id, job in machine.jobs().items()}
    expect(found == codes, found, codes)


def ballast(place: Path) -> None:
    """Takes every byte that is left."""
    with (place / "ballast").open("ab", buffering=0) as file:
        for block in (65536, 4096, 512, 1):
            try:
                while True:
                    file.write(b"x" * block)
            except OSError:
                continue


FLIPPED = "1 to 3 bytes of the snapshot changed at random"
TAIL = "the end of the snapshot torn, or zeros or noise"
KINDS: dict[str, tuple[Callable[[FaultyMachine, random.Random], None], str]] = {
    FLIPPED: (
        flip_bytes, "the daemon starts, says what it dropped, keeps the file and all other records; no id twice"),
    TAIL: (bad_tail, "every complete commit is there; no id is used twice"),
    "snapshot removed under the daemon": (snapshot_removed, "it is restored; no job is lost or runs twice"),
    "snapshot written over in place under the daemon": (
        spoilt_in_place, "noticed at the next read, and repaired from the daemon's memory"),
    "runtime directory removed while a job runs": (runtime_removed, "no job is lost; everything works after a restart"),
    "log directory removed while a job runs": (log_removed, "no job is lost; a new log is started"),
    "`observed.json` overwritten with noise": (observed_is_nonsense, "no job is lost"),
    "state directory of another machine": (of_another_machine, "refused, with the remedy; nothing is touched"),
    "state directory of another user": (of_another_user, "refused; nothing is touched"),
    "state directory, snapshot or environments open to others": (open_to_others, "refused, with the chmod to use"),
    "a stored environment open to others": (
        environment_open_to_others, "its job is not started, and the reason says why"),
    "file system full while jobs end": (
        disk_fills_and_empties, "submissions are refused with status 3; every exit code is the real one"),
}  # fmt: skip


def try_all(new_machine: Callable[[], object], times: dict[str, int], seed: int) -> list[Result]:
    """Each kind of damage, as often as `times` says (others once)."""
    results = []
    for name, (harm, promised) in KINDS.items():
        result = Result(name, promised)
        for turn in range(times.get(name, 1)):
            if os.geteuid() and harm in (of_another_user, disk_fills_and_empties):
                result.note = "not tried: needs root"
                continue
            result.tried += 1
            try:
                with new_machine() as machine:  # type: ignore[attr-defined]
                    harm(machine, random.Random(f"{seed}.{turn}"))
            except Exception as why:
                result.broken.append(f"turn {turn}: {why!r}")
        results.append(result)
    return results
