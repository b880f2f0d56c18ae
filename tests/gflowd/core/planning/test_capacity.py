from __future__ import annotations

import pytest
from support.specs import SPEC

from gflowd.core.planning.capacity import Capacity, Device
from gflowd.core.request.validation import why_impossible

GPUS = (
    Device(0, "NVIDIA A100-SXM4-80GB", 81920),
    Device(1, "NVIDIA A100-SXM4-40GB", 40960),
    Device(2, "RTX 4090", 24576),
)
MACHINE = Capacity(GPUS, 8, 1000)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"gpus": 3, "cpus": 8, "memory_mb": 1000}, None),
        ({"gpus": 4}, "4 GPUs asked for, but this machine has 3"),
        ({"cpus": 9}, "9 CPUs asked for, but this machine gives 8"),
        ({"memory_mb": 1001}, "1001M of memory asked for, but this machine gives 1000M"),
        ({"gpus": 2, "gpu_type": "a100"}, None),
        ({"gpus": 3, "gpu_type": "a100"}, "3 GPUs of type 'a100' asked for, but this machine has 2"),
        (
            {"gpus": 1, "gpu_memory_mb": 81921},
            "1 GPU with 81921M (the largest has 80G) asked for, but this machine has none",
        ),
        (
            {"gpus": 2, "gpu_type": "A100", "gpu_memory_mb": 65536},
            "2 GPUs of type 'A100' with 64G (the largest has 80G) asked for, but this machine has 1",
        ),
        ({"gpus": 0, "gpu_type": "h100"}, None),
    ],
)
def test_what_the_machine_can_never_do(fields: dict[str, object], why: str | None) -> None:
    assert why_impossible(SPEC.replace(**fields), MACHINE.limits) == why


def test_as_long_as_nobody_has_looked_no_number_of_gpus_is_impossible() -> None:
    assert why_impossible(SPEC.replace(gpus=99, gpu_type="x"), Capacity(None, 8, 1000).limits) is None


def test_nothing_is_impossible_where_gpus_are_cut_up_otherwise_from_day_to_day() -> None:
    cut_up = Capacity(GPUS, 8, 1000, cut_up=True)
    assert why_impossible(SPEC.replace(gpus=4, gpu_type="1g.10gb"), cut_up.limits) is None
    assert why_impossible(SPEC.replace(gpus=1, cpus=9), cut_up.limits) is not None
