"""The benchmark beside other queues, but for its measurements: fits, tables, targets, the plot, the sweeping."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.waiting import eventually

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

from peers import page, plot, stopwatch, targets, work
from peers.peer import SIZES, Failed, processes, sweep
from peers.results import Results, exponent
from peers.small import Nq

SVG = "{http://www.w3.org/2000/svg}"
ABOUT = {"date": "2026-01-02", "minutes": "3", "cores": "2", "processor": "p", "memory": "8 GB", "kernel": "6",
         "python": "3.11", "load": "0.1"}  # fmt: skip


def grown(**factors: float) -> Results:
    """Two peers whose listing takes so many seconds a job, on top of a fixed cost."""
    results = Results()
    results.machine = dict(ABOUT)
    for name, factor in factors.items():
        results.versions[name] = "1"
        for size in (0, *SIZES):
            results.add(f"grown list {size}", name, 0.05 + factor * size)
            results.add(f"grown memory {size}", name, 10 + factor * size)
    return results


@given(st.floats(0.01, 100), st.floats(-3, 3), st.lists(st.integers(1, 10**6), min_size=2, max_size=6, unique=True))
def test_the_exponent_of_a_power_is_its_own(factor: float, power: float, sizes: list[int]) -> None:
    found = exponent([(size, factor * size**power) for size in sizes])
    assert found == pytest.approx(power, abs=1e-6)


def test_what_is_not_above_zero_says_nothing_of_growth() -> None:
    assert exponent([(1, -1.0), (10, 10.0), (100, 100.0)]) == pytest.approx(1)
    assert exponent([(10, 10.0), (100, 0.0)]) is None
    assert exponent([(10, 10.0), (10, 11.0)]) is None


def test_a_cost_with_nothing_queued_does_not_flatter_growth() -> None:
    assert targets.growth(grown(gflow=0.001), "list", "gflow") == pytest.approx(1)


def test_a_cost_that_stays_what_it_is_with_none_does_not_grow() -> None:
    assert targets.growth(grown(gflow=0), "list", "gflow") == pytest.approx(0)


def test_a_submission_is_taken_whole() -> None:
    results = Results()
    for size in (0, *SIZES):
        results.add(f"grown submit {size}", "gflow", 0.05)
    assert targets.growth(results, "submit", "gflow") == pytest.approx(0)


@pytest.mark.parametrize(
    ("found", "least", "kept"),
    [(2, False, True), (3, False, False), (3, True, True), (1, True, False), (None, False, False)],
)
def test_a_target_is_kept_on_its_side_of_the_bound(found: float | None, least: bool, kept: bool) -> None:
    assert targets.Target("it", found, 2, "x", least).kept is kept


def test_the_page_has_no_row_of_what_was_not_measured() -> None:
    results = Results()
    results.machine = dict(ABOUT)
    results.versions = {"gflow tmux": "1", "gflow process": "1", "tsp": "2"}
    results.skipped["Slurm"] = "only root can run it"
    for name, value in (("bare", 0.01), ("gflow process", 0.03), ("tsp", 0.002)):
        results.add("submit", name, value)
    text = page.page(results, "By hand.\n", quick=False)
    assert "| one submission, gflow process / bare interpreter | 3 x | at most 2.5 x | **MISS** |" in text
    assert "0 of 1 targets reached, 1 missed; " in text
    assert "| one submission, idle | 15 |" in text
    assert "| one submission, idle, ms | 10 | - | 30 | 2 |" in text
    assert "Left out: Slurm, because only root can run it." in text
    assert "listing of" not in text
    assert text.endswith("By hand.\n")


def test_a_row_that_a_peer_gave_up_says_so() -> None:
    results = Results()
    results.machine = dict(ABOUT)
    results.note("loop", "nq", "`nq` took more than 120 s")
    assert "nq, shell loop of submissions until the last job ran, per job: gave up, `nq` took more" in page.page(
        results, "", quick=True
    )


def test_a_cell_cannot_break_its_table() -> None:
    assert page.table(("a", "b"), [("x|y", "1")]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |\n"


def test_the_plot_has_a_line_for_each_peer_within_its_panel() -> None:
    panels = page.panels(grown(**{"gflow": 0.001, "a<b": 0.01}))
    picture = ET.fromstring(plot.svg(panels))
    width, height = map(float, picture.attrib["viewBox"].split()[2:])
    assert {text.text for text in picture.iter(f"{SVG}text")} >= {
        "gflow",
        "a<b",
        "a listing, ms",
        "memory, MB",
        "1k",
        "100k",
    }
    lines = [path for group in picture.iter(f"{SVG}g") for path in group if path.find(f"{SVG}title") is not None]
    assert len(lines) == 2 * 2  # list and memory of both
    for line in lines:
        points = [tuple(map(float, pair.split())) for pair in line.attrib["d"].removeprefix("M").split("L")]
        assert len(points) == len(SIZES)
        assert points == sorted(points)
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    results = grown(gflow=0.5)
    results.note("loop", "gflow", "why")
    results.save(str(tmp_path / "new" / "results.json"))
    assert vars(Results.load(str(tmp_path / "new" / "results.json"))) == vars(results)


def test_a_command_that_hangs_or_fails_is_told_and_not_waited_for(tmp_path: Path) -> None:
    watch, environ = stopwatch.Stopwatch(str(tmp_path)), {"PATH": "/usr/bin:/bin"}
    assert watch.took(["true"], environ) > 0
    with pytest.raises(Failed, match="`sleep` took more than"):
        watch.took(["sleep", "600"], environ, 0.2)
    with pytest.raises(Failed, match="`sh` failed: no such luck"):
        watch.took(["sh", "-c", "echo no such luck >&2; exit 1"], environ)
    with pytest.raises(Failed, match="there is no such-a-thing"):
        watch.took(["such-a-thing"], environ)


def test_marks_tell_when_jobs_ran_and_how_many(tmp_path: Path) -> None:
    marks = stopwatch.Marks(str(tmp_path))
    gated = subprocess.Popen(marks.gated_job)
    with pytest.raises(Failed, match="0 of 1 jobs ran"):
        marks.wait(1, 0.2)
    opened = marks.open_gate()
    subprocess.run(marks.job, check=True)
    gated.wait()
    moments = marks.wait(2, 30)
    assert opened < moments[0] <= moments[1]
    subprocess.run(marks.job, check=True)
    assert marks.seen() == 1
    marks.forget()
    assert marks.seen() == 0
    with pytest.raises(Failed):
        marks.wait(1, 0.1)
    marks.close()


def test_a_peer_that_was_never_started_is_not_stopped(tmp_path: Path) -> None:
    class Users(Nq):
        def stop(self) -> None:
            pytest.fail("this would stop the user's own")

    work.end(Users(str(tmp_path)))


def test_nothing_of_a_peer_is_left_after_the_sweep(tmp_path: Path) -> None:
    place, other = tmp_path / "peer", tmp_path / "peer-two"
    for path in (place, other):
        (path / "home").mkdir(parents=True)
    runs = [subprocess.Popen(["sleep", "600"], env={**os.environ, "HOME": f"{path}/home"}) for path in (place, other)]
    eventually(lambda: runs[0].pid in {pid for pid, _ in processes(str(place))})
    sweep(str(place))
    assert runs[0].wait(30) == -9
    assert runs[1].poll() is None
    assert not place.exists()
    runs[1].kill()
    runs[1].wait()
