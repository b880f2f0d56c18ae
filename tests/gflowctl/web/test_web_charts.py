"""Pictures over time: where bars and curves are, and what is kept for them."""

from __future__ import annotations

import datetime as dt

from gflowctl.web.chart import Bar, Scale, merged
from gflowctl.web.gpu_samples import APART, KEPT, GpuSamples, runs
from gflowctl.web.pages import gpus
from gflowd.core.syntax.clocks import Clock
from gflowd.storage.observed_reader import SeenGpu

NOON = 1764244800.0  # 2025-11-27T12:00:00Z


def seen(load: int | None, used_mb: int) -> SeenGpu:
    return SeenGpu({"index": 0, "model": "A100", "memory_mb": 1000, "utilisation": load, "used_mb": used_mb})


def bar(x: float, width: float) -> Bar:
    return Bar(x, width, "b-finished", "1 a", "job 1")


def test_a_scale_ends_at_its_edges_and_names_round_hours() -> None:
    scale = Scale(NOON, NOON + 6 * 3600)
    assert [scale.x(NOON + seconds) for seconds in (-60, 0, 3600, 6 * 3600, 10**6)] == [0, 0, 16.667, 100, 100]
    marks = scale.axis(Clock(dt.UTC))
    assert [(mark.x, mark.text) for mark in marks][:2] == [(0.0, "12:00"), (16.667, "13:00")]
    assert Scale(NOON, NOON + 7 * 86400).axis(Clock(dt.UTC))[0].text == "11-29"


def test_many_narrow_bars_in_a_row_are_one_that_counts_them() -> None:
    narrow = [bar(10 + place * 0.3, 0.2) for place in range(20)]
    found = merged([*narrow, bar(50, 5), bar(80, 0.2)], "jobs")
    assert [(each.x, each.width, each.text) for each in found] == [
        (10, 5.9, "20 jobs"), (50, 5, "1 a"), (80, 0.2, "1 a"),
    ]  # fmt: skip
    assert merged([], "jobs") == []


def test_samples_are_kept_for_a_day_and_a_gap_is_a_gap() -> None:
    samples = GpuSamples(NOON)
    samples.take(NOON, [seen(50, 500)])
    samples.take(NOON + APART / 2, [seen(60, 600)])
    samples.take(NOON + APART, [seen(None, 700)])
    samples.take(NOON + 600, [seen(80, 800)])
    found = samples.of(0, NOON)
    assert [(each.load, each.memory) for each in found] == [(0.5, 0.5), (None, 0.7), (0.8, 0.8)]
    assert [len(each) for each in runs(found)] == [2, 1]
    samples.take(NOON + KEPT + 300, [seen(90, 900)])
    assert [each.load for each in samples.of(0, 0.0)] == [0.8, 0.9]
    assert samples.of(7, 0.0) == []


def test_a_curve_has_a_bounded_number_of_points_and_its_last_one() -> None:
    points = gpus.points([(place / 50, 0.5) for place in range(5000)]).split()
    assert len(points) <= gpus.STEPS + 1
    assert points[-1] == "99.98,50.0"
    assert gpus.points([(40.0, 1.5)]) == "40.00,0.0 40.15,0.0"
    assert gpus.points([]) == ""
