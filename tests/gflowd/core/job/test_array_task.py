from __future__ import annotations

from support import specs

from gflowd.core.job import array_task
from gflowd.core.job.arrays import Axis, Family
from gflowd.core.job.model import Job, Queued, Spec, Wish

SPEC = specs.SPEC.replace(command=("run", "{lr}", "{name}"), name="train")
ARRAY = SPEC.replace(family=Family(ranges=((3, 9, 3), (20, 21, 1))), name_template="{name}.{index}")
SWEEP = SPEC.replace(
    family=Family(axes=(Axis(names=("lr",), rows=(("0.1",), ("0.01",))), Axis(names=("s",), rows=(("a",), ("b",))))),
    name_template="{name}-{lr}-{s}",
)


def element(spec: Spec, position: int) -> Job:
    return Job(40 + position, spec, Wish(), Queued(), 40)


def test_a_job_in_no_array_is_itself() -> None:
    for job in (Job(4, SPEC, Wish(), Queued()), Job(4, SPEC.replace(name_template="{x}"), Wish(), Queued())):
        assert array_task.index(job) is None
        assert array_task.parameters(job) == {}
        assert array_task.name(job) == "train"
        assert array_task.command(job) == SPEC.command


def test_an_element_of_an_array_has_the_index_that_its_user_gave() -> None:
    assert [array_task.index(element(ARRAY, position)) for position in range(5)] == [3, 6, 9, 20, 21]
    assert array_task.name(element(ARRAY, 1)) == "train.6"
    assert array_task.name(element(ARRAY.replace(name_template=None), 1)) == "train"
    assert array_task.command(element(ARRAY, 1)) == SPEC.command
    assert array_task.parameters(element(ARRAY, 1)) == {}


def test_a_job_of_a_sweep_has_its_parameters_in_name_and_command() -> None:
    job = element(SWEEP, 2)
    assert array_task.index(job) == 2
    assert array_task.parameters(job) == {"lr": "0.01", "s": "a"}
    assert array_task.name(job) == "train-0.01-a"
    assert array_task.command(job) == ("run", "0.01", "{name}")
