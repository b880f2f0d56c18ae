"""The simulator: the traces that it reads and makes, and what it finds of gflow beside simpler schedulers."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from math import inf
from pathlib import Path
from random import Random

import pytest
from support import depth

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import lublin
import simulate
import swf
from simulation import page, workload
from simulation.comparison import Result, summaries
from simulation.figures import Figures, figures, jain, percentile, widths
from simulation.gflow import Gflow
from simulation.policy import Told, supposed
from simulation.replay import Kept, Outcome
from simulation.replay import replay as replayed
from simulation.score import Lengths, Score, in_score
from simulation.workload import Job

BENCHMARKS = Path(simulate.__file__).parent
TRACE = BENCHMARKS / "traces" / "lublin-8gpu.swf"
LINE = "7 12.5 -1 60 2 -1 -1 2 300 -1 1 3 -1 -1 -1 -1 -1 -1\n"
POLICIES = {name: make for name, make in simulate.POLICIES.items() if name != "score"}


def jobs(*rows: tuple[float, int, float, float | None], user: str = "a") -> list[Job]:
    """Jobs that come at a time, with so many GPUs, what they need of time, and their limit."""
    return [Job(number, at, gpus, runs, limit, user) for number, (at, gpus, runs, limit) in enumerate(rows, 1)]


def some_jobs(dice: Random, count: int, gpus: int, users: str = "abc") -> list[Job]:
    made, at = [], 0.0
    for number in range(1, count + 1):
        at += dice.choice((0, 5, 30, 100))
        limit = dice.choice((None, 50.0, 100.0, 400.0))
        runs = dice.choice((0.2, 0.9, 1.0)) * (limit or 90000)
        made.append(Job(number, at, dice.randint(1, gpus), runs, limit, dice.choice(users)))
    return made


def test_a_trace_is_read_as_it_was_written() -> None:
    text = TRACE.read_text().splitlines(keepends=True)
    trace = swf.read(text)
    assert (trace.header["Version"], trace.header["MaxProcs"], len(trace.records)) == ("2.2", "8", 2000)
    assert list(swf.write(trace)) == text
    assert TRACE.stat().st_size < 150_000


def test_a_job_has_eighteen_fields_and_comments_and_blank_lines_have_none() -> None:
    trace = swf.read(["; MaxProcs: 64\n", ";no name\n", "\n", LINE])
    assert trace.header == {"MaxProcs": "64"}
    (record,) = trace.records
    assert (record.submitted, record.asked_processors, record.asked_time, record.user) == (12.5, 2, 300, 3)
    assert record[12:] == (-1,) * 6
    for line in (LINE.replace("60", "x"), LINE.replace("60", "inf"), LINE.replace("60", "nan")):
        with pytest.raises(ValueError, match="line 2: a field is no number"):
            swf.read(["\n", line])
    with pytest.raises(ValueError, match="line 1: 3 fields, not 18"):
        swf.read(["1 2 3"])


def test_the_same_seed_makes_the_same_jobs_and_they_are_what_the_model_says() -> None:
    made, again = (list(islice(lublin.generate(Random(5), 8), 4000)) for _ in range(2))
    assert made == again
    assert [each.submitted for each in made] == sorted(each.submitted for each in made)
    assert {each.processors for each in made} == set(range(1, 9))
    assert all(0 < each.ran <= each.asked_time for each in made)
    serial = sum(each.processors == 1 for each in made) / len(made)
    assert serial == pytest.approx(lublin.SERIAL, abs=0.03)
    by_day = sum(9 <= each.submitted % 86400 / 3600 < 18 for each in made) / len(made)
    assert 0.5 < by_day < 0.75
    cycle = lublin.daily_cycle()
    assert sum(cycle) == pytest.approx(48)
    assert cycle.index(max(cycle)) in range(24, 30)  # early in the afternoon


def test_both_formats_are_told_apart_and_say_the_same() -> None:
    lines = ["# a comment\n", "\n", "3 2 60 300 7\n", "1 1 5 -1 8  # another\n", "2 1 0 9 8\n"]
    assert workload.read(lines) == [Job(1, 1.0, 1, 5.0, None, "8"), Job(2, 3.0, 2, 60.0, 300.0, "7")]
    (record,) = workload.read(["; MaxProcs: 64\n", LINE])
    assert record == Job(1, 12.5, 2, 60.0, 300.0, "3")
    with pytest.raises(ValueError, match="line 2: 4 fields"):
        workload.read(["1 2 3 4 5\n", "1 2 3 4\n"])
    for word in ("x", "nan", "inf"):
        with pytest.raises(ValueError, match="line 1: a field is no number"):
            workload.read([f"1 2 {word} 4 5\n"])


def test_each_stretch_of_jobs_offers_the_load_and_keeps_its_rhythm() -> None:
    made = workload.at_load(some_jobs(Random(1), 1700, 8), 8, 0.5)
    for start, end in ((0, 500), (500, 1000)):
        part = made[start:end]
        span = made[end].submitted - part[0].submitted
        assert sum(job.gpus * job.runs for job in part) == pytest.approx(0.5 * 8 * span)
    assert [job.submitted for job in made] == sorted(job.submitted for job in made)
    together = workload.at_load(jobs((5, 1, 8, None), (5, 1, 8, None)), 2, 1.0)
    assert [job.submitted for job in together] == [0, 4]


def test_limits_are_drawn_where_there_are_none_and_the_same_with_each_load_and_share() -> None:
    bare = [replace(job, limit=None) for job in some_jobs(Random(2), 900, 8)]
    one, two = workload.offered(bare, 8), workload.offered(bare, 8, 0.5, 0.5)
    assert all(job.limit is not None and job.runs <= job.limit <= 5 * job.runs for job in one)
    assert [job.limit for job in two if job.limit] == [a.limit for a, b in zip(one, two, strict=True) if b.limit]
    assert workload.offered(bare, 8, seed=1) == one != workload.offered(bare, 8, seed=2)
    assert len(workload.offered(bare, 4, first=9)) == 9
    assert max(job.gpus for job in workload.offered(bare, 4)) == 4


@pytest.mark.parametrize("users", ["a", "abcdefghijklmnopqrst"])
def test_a_share_of_the_jobs_gives_no_limit_mostly_by_user(users: str) -> None:
    made = workload.offered(some_jobs(Random(3), 4000, 8, users), 8, no_limit=0.4)
    assert sum(job.limit is None for job in made) / len(made) == pytest.approx(0.4, abs=0.03)
    if len(users) > 1:
        parts = [[job.limit is None for job in made if job.user == user] for user in users]
        assert sum(0.2 < sum(part) / len(part) < 0.8 for part in parts) <= 1


def test_each_policy_is_what_it_is_called() -> None:
    made = jobs((0, 3, 100, 100), (1, 4, 50, 50), (2, 1, 50, 98), (3, 1, 200, 200), (4, 1, 96, 96), (5, 4, 9, 9))
    waits = {name: replayed(made, 4, make(4)).waits for name, make in POLICIES.items()}
    assert waits == {
        "fifo": [0, 99, 148, 147, 146, 345],
        "greedy": [0, 251, 0, 49, 96, 297],
        "gflow_rs": [0, 308, 0, 97, 48, 295],
        "easy": [0, 99, 0, 147, 146, 345],
        "gflow": [0, 99, 0, 156, 155, 145],
    }


def test_the_original_s_order_is_usage_then_limit_then_submission() -> None:
    first = Job(1, 0, 4, 100, 100, "greedy")
    later = [
        Job(2, 1, 4, 10, 50, "greedy"), Job(3, 2, 4, 10, None, "b"), Job(4, 3, 4, 10, 200000, "b"),
        Job(5, 4, 4, 10, 90000, "b"), Job(6, 5, 4, 10, 60, "c"),
    ]  # fmt: skip
    waits = replayed([first, *later], 4, simulate.GflowRs(4)).waits
    order = sorted(range(6), key=lambda index: [first, *later][index].submitted + waits[index])
    assert [index + 1 for index in order] == [1, 6, 4, 5, 3, 2]


def left(ends: list[float], running: list[tuple[float, Job]], at: float) -> int:
    """GPUs that are still in use then."""
    return sum(job.gpus for end, (_, job) in zip(ends, running, strict=True) if end > at)


def naive(made: list[Job], gpus: int, *, promised: bool) -> list[float]:
    """The waits in order of submission, as the definitions say it: look at every job; `promised`: as EASY does."""
    waiting: list[Job] = []
    running: list[tuple[float, Job]] = []
    coming, started, now = list(made), {}, 0.0
    while coming or running:
        now = min([end for end, _ in running] + [job.submitted for job in coming[:1]])
        running = [each for each in running if each[0] > now]
        waiting += [job for job in coming if job.submitted <= now]
        coming = [job for job in coming if job.submitted > now]
        kept: Job | None = None
        for job in list(waiting):
            used = sum(each.gpus for _, each in running)
            gone = [max(started[each.id] + supposed(each), now + 1) for _, each in running]
            if job.gpus + used > gpus:
                if promised and kept is None:
                    kept = job
                    at = min(end for end in gone if job.gpus + left(gone, running, end) <= gpus)
                continue
            too_late = kept is not None and now + supposed(job) > at
            if kept is not None and too_late and kept.gpus + left(gone, running, at) + job.gpus > gpus:
                continue
            started[job.id] = now
            running.append((now + job.runs, job))
            waiting.remove(job)
    return [started[job.id] - job.submitted for job in made]


@pytest.mark.parametrize("seed", depth.some(range(20), 5))
def test_the_fast_policies_do_what_their_definitions_say(seed: int) -> None:
    made = some_jobs(Random(seed), 120, 5)
    assert replayed(made, 5, simulate.Greedy(5)).waits == naive(made, 5, promised=False)
    assert replayed(made, 5, simulate.Easy(5)).waits == naive(made, 5, promised=True)


@pytest.mark.parametrize("seed", depth.some(range(5), 2))
def test_the_policy_of_the_page_keeps_its_promises_and_starves_nobody(seed: int) -> None:
    made = some_jobs(Random(seed), 400, 5)
    outcome = replayed(made, 5, Score(5))
    assert (outcome.promises.moved, outcome.promises.broken) == (0, 0)
    assert outcome.promises.made > 0
    limited = [job for job in made if job.limit is not None]
    assert replayed(limited, 5, Score(5)).estimates == Kept()


def test_the_policy_of_the_page_promises_to_those_who_have_waited_for_their_length() -> None:
    stream = [(float(at), 1, 100.0, 100.0) for at in range(0, 2000, 50)]  # two at a time
    made = jobs(*sorted([*stream, (60.0, 3, 500.0, 500.0)]))
    wide = next(index for index, job in enumerate(made) if job.gpus == 3)
    assert 500 <= replayed(made, 3, Score(3)).waits[wide] <= 600
    assert 1000 <= replayed(made, 3, Score(3, promise_after=2)).waits[wide] <= 1100
    assert replayed(made, 3, Score(3, 2, promise_within=300)).waits[wide] <= 400
    assert replayed(made, 3, Score(3, inf)).waits[wide] > 1900


def test_lengths_without_a_limit_are_learned_from_the_last_runs_of_the_user_and_width() -> None:
    lengths = Lengths()
    assert lengths.predict("a", 1) == 86400
    for runs in (1000.0, *[20.0] * 4, *[30.0] * 6):
        lengths.learn(Job(1, 0, 2, runs, None, "a"))
    assert (lengths.predict("a", 2), lengths.predict("a", 1), lengths.predict("b", 1)) == (30, 30, 30)
    assert [in_score(length) for length in (1, 600, 7200, 9e9)] == [1024, 1024, 8192, 2**20]


def test_use_is_counted_from_the_first_to_the_last_submission() -> None:
    made = workload.offered(jobs((0, 2, 50, 10), (20, 4, 1, 5)), 4)
    assert replayed(made, 4, Gflow(4)) == Outcome([0.0, 0.0], 0.25)


def test_figures_are_what_their_names_say() -> None:
    made = [Job(1, 0, 1, 120, None, "a"), Job(2, 0, 4, 30, None, "b"), Job(3, 0, 4, 60, None, "b")]
    found = figures(made, 8, Outcome([120.0, 0.0, 300.0], 0.5))
    assert (found.mean_wait, found.p95_wait, found.longest_wait, found.wide_wait) == (140, 300, 300, 150)
    assert found.by_width == {"1": 120, "2": None, "3-4": 150, "5-8": None}
    assert found.slowdown == pytest.approx((2 + 1 + 6) / 3)
    assert found.jain == pytest.approx(jain([1 / 2, (1 + 1 / 6) / 2]))
    assert found.spread == pytest.approx(0.75 / 2.75)
    assert (jain([3, 3]), jain([1, 0])) == (1, 0.5)
    assert (percentile(range(1, 101), 0.95), percentile([4.0], 0.95)) == (95, 4)
    assert [name for name, *_ in widths(12)] == ["1", "2", "3-4", "5-8", "9-12"]


class Liar(simulate.Fifo):
    """Says of the second job what it is told to, one after the other."""

    def __init__(self, told: list[Told | None]) -> None:
        super().__init__(1)
        self._told = told

    def promises(self) -> dict[int, Told]:
        told = self._told.pop(0) if self._told else None
        return {} if told is None else {2: told}


@pytest.mark.parametrize(
    ("told", "promises", "estimates"),
    [
        ([None, Told(10, True)], Kept(1, 0, 0), Kept()),
        ([None, Told(9.5, True), Told(10, True)], Kept(1, 0, 0), Kept()),
        ([None, Told(8, True), Told(10, True)], Kept(1, 1, 1), Kept()),
        ([None, Told(8, False), Told(9.5, False), Told(7, False)], Kept(), Kept(1, 1, 1)),
        ([None, Told(8, True), None, Told(10, False)], Kept(1, 0, 1), Kept(1, 0, 0)),
    ],
)
def test_promises_that_are_put_off_and_broken_are_counted(
    told: list[Told | None], promises: Kept, estimates: Kept
) -> None:
    made = jobs((0, 1, 10, None), (1, 1, 1, None), (2, 1, 1, None), (3, 1, 1, None))
    outcome = replayed(made, 1, Liar(told))
    assert (outcome.promises, outcome.estimates) == (promises, estimates)


def test_a_policy_that_gives_too_much_away_or_nothing_is_found_out() -> None:
    with pytest.raises(RuntimeError, match="1 GPUs too many"):
        replayed(jobs((0, 2, 1, 1), (1, 1, 1, 1)), 1, simulate.Fifo(2))
    with pytest.raises(RuntimeError, match="1 jobs never start"):
        replayed(jobs((0, 1, 1, 1), (1, 2, 1, 1)), 2, simulate.Fifo(1))


def test_a_comparison_is_the_geometric_mean_of_ratios_to_the_original() -> None:
    def result(trace: str, policy: str, wait: float, use: float) -> Result:
        by_width = {"1": None if trace == "b" else wait}
        found = Figures(1, wait, wait, wait, wait, by_width, None, use, 0.5, 1.0, Kept(4, 2, 1), Kept())
        return Result(trace, 0.85, 0.0, policy, found)

    base, ours = summaries(
        [
            result("a", "gflow_rs", 10, 0.8), result("a", "gflow", 20, 0.9),
            result("b", "gflow_rs", 10, 0.8), result("b", "gflow", 80, 0.6), result("c", "gflow", 1, 0.5),
        ]
    )  # fmt: skip
    assert (base.mean_wait, base.utilisation, ours.traces) == (pytest.approx(1), 0, ("a", "b"))
    assert (ours.mean_wait, ours.slowdown, ours.by_width) == (pytest.approx(4), pytest.approx(4), {"1": 2})
    assert (ours.utilisation, ours.worst_utilisation) == (pytest.approx(-5), pytest.approx(-20))
    assert (ours.wide_wait, ours.promises_broken, ours.estimates_broken) == (None, 0.25, None)


@pytest.mark.parametrize("load", [0.7, 0.8])
def test_wide_jobs_wait_less_than_with_the_original_and_the_machine_is_as_busy(load: float) -> None:
    trace = workload.read(TRACE.read_text().splitlines())
    made = workload.offered(trace, 8, load, first=depth.number(2000, 800))
    theirs, ours = (figures(made, 8, replayed(made, 8, POLICIES[name](8))) for name in ("gflow_rs", "gflow"))
    assert ours.wide_wait is not None
    assert theirs.wide_wait is not None
    assert ours.wide_wait < 0.8 * theirs.wide_wait
    assert ours.utilisation > theirs.utilisation - 0.03
    assert ours.slowdown < theirs.slowdown
    assert (ours.promises.moved, ours.promises.broken) == (0, 0)


def simulated(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, BENCHMARKS / "simulate.py", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_tables_have_a_row_for_each_policy_and_are_the_same_each_time(tmp_path: Path) -> None:
    small = tmp_path / "small.swf"
    small.write_text("".join(TRACE.read_text().splitlines(keepends=True)[:100]))
    (tmp_path / "README.md").write_text("no trace")
    first, second = (
        simulated("--trace", str(path), "--load", "0.5", "--processes", count)
        for path, count in ((small, "1"), (tmp_path, "2"))
    )
    assert (first.returncode, first.stderr, first.stdout) == (0, "", second.stdout)
    rows = [line.split()[0] for line in first.stdout.splitlines() if line.split()[:1] != ["policy"] and line]
    assert [row for row in rows if row in POLICIES] == [*POLICIES, *POLICIES]


def test_results_come_as_json_and_in_markdown_also_into_a_page(tmp_path: Path) -> None:
    words = ("--limit", "150", "--no-limit", "0.5", "--no-limit", "0")
    found = json.loads(simulated(*words, "--json").stdout)
    assert (found["gpus"], found["seed"], len(found["results"]), len(found["summaries"])) == (8, 1, 10, 10)
    assert found["results"][0]["figures"]["jobs"] == 150
    assert {each["no_limit"] for each in found["summaries"]} == {0.0, 0.5}
    path = tmp_path / "page.md"
    path.write_text(f"before\n{page.BEGIN}old\n{page.END} after\n")
    shown = simulated(*words, "--markdown", "--policies", "gflow_rs,easy", "--write", str(path)).stdout
    assert path.read_text() == f"before\n{page.BEGIN}\n{shown}{page.END} after\n"
    with pytest.raises(ValueError, match="there is no <!-- measured -->"):
        page.written("no marks", "")
    lines = shown.splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.startswith("|")] == 2 * [
        "policy", "---", "gflow_rs", "easy"
    ]  # fmt: skip


@pytest.mark.parametrize("text", [None, "", "what is this\n", LINE])
def test_a_file_that_is_no_trace_is_refused_in_one_line(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "bad.swf"
    if text is not None:
        path.write_text(text)
    done = simulated("--trace", str(path))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert done.stderr.startswith(f"simulate: {path}: ")


@pytest.mark.parametrize("words", ["--load -1", "--no-limit 2", "--gpus 0", "--policies what", "--load x"])
def test_nonsense_is_refused(words: str) -> None:
    assert simulated(*words.split()).returncode == 2
