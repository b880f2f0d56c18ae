from __future__ import annotations

from gflowd.core import instances
from gflowd.core.arrays import Axis, Family
from gflowd.core.model import Job, Queued, Spec, Wish

SPEC = Spec(command=("run", "{lr}", "{name}"), name="train", user="u", cwd="/", env="e", submitted_at=1.0)
ARRAY = SPEC.replace(family=Family(ranges=((3, 9, 3), (20, 21, 1))), name_template="{name}.{index}")
SWEEP = SPEC.replace(
    family=Family(axes=(Axis(names=("lr",), rows=(("0.1",), ("0.01",))), Axis(names=("s",), rows=(("a",), ("b",))))),
    name_template="{name}-{lr}-{s}",
)


def element(spec: Spec, position: int) -> Job:
    return Job(40 + position, spec, Wish(), Queued(), 40)


def test_a_job_in_no_array_is_itself() -> None:
    for job in (Job(4, SPEC, Wish(), Queued()), Job(4, SPEC.replace(name_template="{x}"), Wish(), Queued())):
        assert instances.index(job) is None
        assert instances.parameters(job) == {}
        assert instances.name(job) == "train"
        assert instances.command(job) == SPEC.command


def test_an_element_of_an_array_has_the_index_that_its_user_gave() -> None:
    assert [instances.index(element(ARRAY, position)) for position in range(5)] == [3, 6, 9, 20, 21]
    assert instances.name(element(ARRAY, 1)) == "train.6"
    assert instances.name(element(ARRAY.replace(name_template=None), 1)) == "train"
    assert instances.command(element(ARRAY, 1)) == SPEC.command
    assert instances.parameters(element(ARRAY, 1)) == {}


def test_a_job_of_a_sweep_has_its_parameters_in_name_and_command() -> None:
    job = element(SWEEP, 2)
    assert instances.index(job) == 2
    assert instances.parameters(job) == {"lr": "0.01", "s": "a"}
    assert instances.name(job) == "train-0.01-a"
    assert instances.command(job) == ("run", "0.01", "{name}")
