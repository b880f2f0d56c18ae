"""The simulator: the traces that it reads and makes, and what it finds of gflow beside simpler schedulers."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice
from pathlib import Path
from random import Random

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import lublin
import simulate
import swf

BENCHMARKS = Path(simulate.__file__).parent
TRACE = BENCHMARKS / "traces" / "lublin-8gpu.swf"
LINE = "7 12.5 -1 60 2 -1 -1 2 300 -1 1 3 -1 -1 -1 -1 -1 -1\n"


def replayed(tasks: list[simulate.Task], policy: str, gpus: int = 8) -> simulate.Outcome:
    return simulate.replay(tasks, gpus, simulate.POLICIES[policy])


def tasks(*jobs: tuple[float, int, float, float]) -> list[simulate.Task]:
    """Jobs that come at a time, with so many GPUs, a limit, and what they need of it."""
    records = [
        swf.Record(number, at, ran=ran, processors=gpus, asked_time=limit)
        for number, (at, gpus, limit, ran) in enumerate(jobs, 1)
    ]
    return simulate.tasks_of(swf.Trace({}, records), 4)


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


def test_each_policy_is_what_it_is_called() -> None:
    jobs = tasks((0, 3, 100, 100), (1, 4, 50, 50), (2, 1, 98, 50), (3, 1, 200, 200), (4, 1, 96, 96), (5, 5, 9, 9))
    waits = {name: list(replayed(jobs, name, 4).waits.values()) for name in simulate.POLICIES}
    assert waits == {
        "fifo": [0, 99, 148, 147, 146],
        "greedy": [0, 299, 0, 97, 48],
        "gflow": [0, 99, 0, 147, 146],
    }


def test_a_job_ends_at_its_limit_and_use_is_counted_from_the_first_to_the_last_submission() -> None:
    jobs = tasks((0, 2, 10, 50), (20, 4, 5, 1))
    assert replayed(jobs, "gflow", 4) == simulate.Outcome({1: 0.0, 2: 0.0}, 0.25)
    found = simulate.figures(jobs, 4, simulate.Outcome({1: 90.0, 2: 19.0}, 0.25))
    assert (found.wait, found.wide, found.slowdown, found.utilisation) == (54.5, 54.5, (10 + 2) / 2, 0.25)


@pytest.mark.parametrize("load", [0.7, 0.8])
def test_wide_jobs_wait_less_than_with_greedy_and_the_machine_is_as_busy(load: float) -> None:
    jobs = simulate.tasks_of(swf.read(TRACE.read_text().splitlines()), 8, load)
    greedy, ours = (simulate.figures(jobs, 8, replayed(jobs, name)) for name in ("greedy", "gflow"))
    assert ours.wide < 0.7 * greedy.wide
    assert ours.utilisation > greedy.utilisation - 0.02
    assert ours.slowdown < greedy.slowdown


def simulated(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, BENCHMARKS / "simulate.py", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_table_has_a_row_for_each_policy_and_is_the_same_each_time(tmp_path: Path) -> None:
    small = tmp_path / "small.swf"
    small.write_text("".join(TRACE.read_text().splitlines(keepends=True)[:100]))
    first, second = simulated(str(small), "--load", "0.5"), simulated(str(small), "--load", "0.5")
    assert (first.returncode, first.stderr, first.stdout) == (0, "", second.stdout)
    assert [line.split()[1] for line in first.stdout.splitlines()[2:]] == ["fifo", "greedy", "gflow"]


@pytest.mark.parametrize("text", [None, "", "what is this\n", LINE])
def test_a_file_that_is_no_trace_is_refused_in_one_line(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "bad.swf"
    if text is not None:
        path.write_text(text)
    done = simulated(str(path))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert done.stderr.startswith(f"simulate: {path}: ")
