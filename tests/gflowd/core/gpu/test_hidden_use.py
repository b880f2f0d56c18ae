"""Use of a GPU that no listed process explains."""

from __future__ import annotations

import pytest

from gflowd.core.gpu import hidden_use
from gflowd.core.gpu.device import Gpu, GpuProcess
from gflowd.core.gpu.hidden_use import DRAIN, LASTING, HiddenUse, follow

GPU = Gpu(index=0, uuid="G", model="M", memory_mb=81920)
WORDS = "by no process that the driver lists"


def process(memory_mb: int | None, job_id: int | None = None, *, graphics: bool = False) -> GpuProcess:
    return GpuProcess(pid=5, start=1, user="ada", memory_mb=memory_mb, job_id=job_id, graphics=graphics)


def found(gpu: Gpu, given_mb: dict[str, int | None] | None = None) -> str | None:
    """What is said after a first poll."""
    return follow(HiddenUse(), [gpu], given_mb or {}, 100.0, 100.0).found.get("G")


def foreign(gpu: Gpu, given_mb: dict[str, int | None] | None = None) -> int:
    return follow(HiddenUse(), [gpu], given_mb or {}, 100.0, 100.0).foreign_mb["G"]


def test_a_full_gpu_without_processes_is_somebodys() -> None:
    assert found(GPU.replace(used_mb=69632, utilisation=95)) == f"68G of 80G in use and 95% load {WORDS}"
    assert found(GPU.replace(used_mb=69632)) == f"68G of 80G in use {WORDS}"
    assert found(GPU) is None


def test_what_the_driver_keeps_for_itself_is_nobodys() -> None:
    assert found(GPU.replace(used_mb=700)) is None
    assert found(GPU.replace(used_mb=700, utilisation=20)) == f"700M of 80G in use and 20% load {WORDS}"
    assert foreign(GPU.replace(used_mb=500)) == 0


def test_of_a_small_gpu_less_is_much() -> None:
    small = GPU.replace(memory_mb=4096)
    assert found(small.replace(used_mb=600)) == f"600M of 4G in use {WORDS}"
    assert found(small.replace(used_mb=500)) is None


def test_processes_explain_what_they_have_and_no_more() -> None:
    assert found(GPU.replace(used_mb=69632, utilisation=95, processes=(process(69632),))) is None
    assert found(GPU.replace(used_mb=69632, processes=(process(500), process(500, graphics=True)))) is not None
    assert found(GPU.replace(used_mb=69632, processes=(process(69632, job_id=1),))) is None


def test_where_the_driver_does_not_tell_what_processes_have_memory_says_nothing() -> None:
    gpu = GPU.replace(used_mb=69632, processes=(process(None),))
    assert found(gpu) is None
    assert foreign(gpu) == 69632
    assert foreign(gpu.replace(processes=(process(None, job_id=1),))) == 0


def test_what_our_jobs_have_does_not_count_against_them() -> None:
    gpu = GPU.replace(used_mb=69632, utilisation=95)
    assert found(gpu, {"G": None}) is None
    assert foreign(gpu, {"G": None}) == 0
    assert found(gpu, {"G": 69000}) is None
    assert found(gpu, {"G": 1000}) == f"67G of 80G in use {WORDS}"
    assert foreign(gpu, {"G": 1000}) == 68632
    listed = gpu.replace(processes=(process(69000, job_id=1),))
    assert found(listed, {"G": 1000}) is None, "it takes more than it was given, but it is ours"


@pytest.mark.parametrize(("after", "expected"), [(DRAIN - 1, None), (DRAIN + 1, f"68G of 80G in use {WORDS}")])
def test_what_a_job_has_just_left_drains_for_a_while(after: float, expected: str | None) -> None:
    gpu = GPU.replace(used_mb=69632)
    had = follow(HiddenUse(), [gpu], {"G": None}, 100.0, 101.0)
    left = follow(had, [gpu], {}, 101.0 + after, 101.0 + after)
    assert left.found.get("G") == expected
    assert left.foreign_mb["G"] == (69632 if expected else 0)
    assert follow(left, [GPU], {}, 200.0, 200.0).found == {}


def test_one_spike_of_load_is_nobodys_and_lasting_load_somebodys() -> None:
    at_work, at = GPU.replace(utilisation=95), 100.0
    once = follow(HiddenUse(), [at_work], {}, at, at)
    assert once.found == {}
    assert follow(once, [at_work], {}, at, at + 5).found == {}, "the same poll says nothing new"
    still = follow(once, [at_work], {}, at + LASTING, at + LASTING)
    assert still.found == {"G": f"95% load {WORDS}"}
    over = follow(still, [GPU], {}, at + 10, at + 10)
    assert over.found == {}
    assert follow(over, [at_work], {}, at + 20, at + 20).found == {}


def test_load_of_a_process_that_is_listed_is_its_own() -> None:
    at_work = GPU.replace(utilisation=95, processes=(process(500),))
    once = follow(HiddenUse(), [at_work], {}, 100.0, 100.0)
    assert follow(once, [at_work], {}, 200.0, 200.0).found == {}


def test_load_that_a_job_left_counts_only_after_a_while() -> None:
    at_work = GPU.replace(utilisation=95)
    had = follow(HiddenUse(), [at_work], {"G": None}, 100.0, 100.0)
    soon = follow(follow(had, [at_work], {}, 101.0, 101.0), [at_work], {}, 104.0, 104.0)
    assert soon.found == {}
    assert follow(soon, [at_work], {}, 111.0, 111.0).found == {"G": f"95% load {WORDS}"}


def test_what_was_much_stays_much_until_it_is_clearly_less() -> None:
    full = follow(HiddenUse(), [GPU.replace(used_mb=1100)], {}, 100.0, 100.0)
    less = follow(full, [GPU.replace(used_mb=900)], {}, 110.0, 110.0)
    assert set(less.found) == {"G"}
    assert found(GPU.replace(used_mb=900)) is None
    assert follow(less, [GPU.replace(used_mb=400)], {}, 120.0, 120.0).found == {}


def test_a_gpu_that_does_not_answer_tells_nothing() -> None:
    silent = GPU.replace(used_mb=69632, answers=False)
    assert follow(HiddenUse(), [silent], {}, 100.0, 100.0) == HiddenUse(at=100.0)


def test_a_load_that_is_not_known_is_none() -> None:
    assert not hidden_use.is_loaded(GPU)
