"""What an attempt used, by what its shell noted, what was sampled, and the polls of its GPUs."""

from __future__ import annotations

import pytest

from gflowd.core.execution import usage
from gflowd.core.execution.usage import MIB, Noted, Sample
from gflowd.core.job.model import Used

DASH = "0m0.010000s 0m0.000000s\n1m2.500000s 0m0.250000s\n"
BASH = "0m0.003s 0m0.001s\n2m0,100s 0m0,020s\n"


@pytest.mark.parametrize(
    ("text", "noted"),
    [
        (DASH, Noted(children=62.75)),
        (BASH, Noted(children=120.12)),
        (f"{DASH}peak 1048576\ncpu 2500000\n", Noted(peak=1 << 20, cpu=2.5, children=62.75)),
        ("peak 7\n", Noted(peak=7)),
        ("", Noted()),
        ("0m0.01s 0m0.00s\n", Noted()),
        ("nonsense\npeak -1\ncpu x\n", Noted()),
        (f"{DASH}{DASH}", Noted()),
    ],
)
def test_what_a_shell_noted_is_read_whichever_shell_it_is(text: str, noted: Noted) -> None:
    assert usage.noted(text).children == (None if noted.children is None else pytest.approx(noted.children))
    assert (usage.noted(text).peak, usage.noted(text).cpu) == (noted.peak, noted.cpu)


def test_a_control_group_is_believed_before_a_shell_and_a_shell_before_samples() -> None:
    sample = Sample(10 * MIB, 3.0)
    assert usage.used(Noted(peak=MIB + 1, cpu=2.5, children=9.0), sample, 75.04, 2) == Used(
        memory_mb=2, memory_source="cgroup", cpu_seconds=2.5, cpu_source="cgroup", gpu_percent=75.0, gpu_polls=2
    )
    assert usage.used(Noted(children=2.95), sample) == Used(
        memory_mb=10, memory_source="samples", cpu_seconds=2.95, cpu_source="shell"
    )
    assert usage.used(None, sample) == Used(
        memory_mb=10, memory_source="samples", cpu_seconds=3.0, cpu_source="samples"
    )


def test_what_was_seen_counts_where_the_shell_did_not_wait_for_it() -> None:
    found = usage.used(Noted(children=1.0), Sample(0, 60.0))
    assert found == Used(cpu_seconds=60.0, cpu_source="samples")


def test_of_what_nobody_saw_nothing_is_said() -> None:
    assert usage.used(None, None) is None
    assert usage.used(Noted(), None) is None
    assert usage.used(Noted(peak=MIB), None) == Used(memory_mb=1, memory_source="cgroup")
    assert usage.used(None, Sample(0, 0.5)) == Used(cpu_seconds=0.5, cpu_source="samples")


def test_samples_keep_the_most_and_are_taken_more_rarely_with_age() -> None:
    assert Sample(5, 2.0).with_another(3, 4.0) == Sample(5, 4.0)
    assert [usage.interval(age) for age in (0.0, 0.25, 2.0, 9.0, 1e6)] == [0.25, 0.25, 1.0, 4.5, 5.0]
