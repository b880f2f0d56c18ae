from __future__ import annotations

from typing import Any

import pytest

from gflowd.core.gpu.device import Gpu
from gflowd.workers.scheduler.gpu_pool import GpuPool

GPUS = tuple(Gpu(index=index, uuid=f"GPU-{index}", model="M", memory_mb=10) for index in range(3))
LOST = GPUS[0].replace(fault="lost", answers=False)
ILL = GPUS[0].replace(fault="Xid 79")
SLICE = GPUS[0].replace(uuid="MIG-0", parent="GPU-0")
INDEX, UUID, AUTO = "index", "uuid", None


@pytest.mark.parametrize(
    ("visible_as", "first", "expected"),
    [
        (AUTO, GPUS[0], {}),
        (AUTO, LOST, {"by_uuid": True}),
        (AUTO, ILL, {"by_uuid": True}),
        (AUTO, SLICE, {"by_uuid": True}),
        (INDEX, GPUS[0], {}),
        (INDEX, LOST, {"cuda_ids": (0, 1)}),
        (INDEX, ILL, {}),
        (INDEX, SLICE, {"by_uuid": True}),
        (UUID, GPUS[0], {"by_uuid": True}),
        (UUID, LOST, {"by_uuid": True}),
    ],
)
def test_a_job_names_its_gpus_as_configured_and_as_cuda_can_read(
    visible_as: str | None, first: Gpu, expected: dict[str, Any]
) -> None:
    """With the second and the third GPU; CUDA does not count a lost one before them."""
    pool = GpuPool(None, visible_as)
    pool.seen = (first, *GPUS[1:])
    assert pool.visible((1, 2)) == expected


@pytest.mark.parametrize("visible_as", [INDEX, UUID, AUTO])
def test_without_gpus_or_with_simulated_ones_there_are_only_indices(visible_as: str | None) -> None:
    pool = GpuPool(None, visible_as)
    pool.seen = GPUS
    assert pool.visible(()) == {}
    pool.seen = tuple(gpu.replace(simulated=True) for gpu in GPUS)
    assert pool.visible((1,)) == {}
