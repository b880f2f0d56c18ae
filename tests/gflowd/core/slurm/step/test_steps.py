"""Which steps of a job run beside each other."""

from __future__ import annotations

import pytest

from gflowd.core.errors import Refused
from gflowd.core.slurm.step import srun_options, steps
from gflowd.core.slurm.step.steps import RUN, WAIT, Entry, Need, Pool

POOL = Pool(4, ["0", "GPU-1"])


def need(text: str, pool: Pool = POOL, **environ: str) -> Need:
    return steps.need(srun_options.parse([*text.split(), "x"], environ)[0], pool)


def run(cpus: int = 0, gpus: tuple[int, ...] = ()) -> Entry:
    return Entry(RUN, 0, "-", cpus, 0, gpus, [(1, 2)])


def wait(turn: int, cpus: int = 0, gpus: int = 0) -> Entry:
    return Entry(WAIT, turn, "-", cpus, gpus, (), [(1, 2)])


@pytest.mark.parametrize(
    ("text", "tasks", "each", "cpus", "gpus"),
    [
        ("", 1, 1, 1, 2),
        ("-n4", 4, 1, 4, 2),
        ("-n2 -c2 --gres=gpu:1", 2, 2, 4, 1),
        ("-n2 --gres=gpu:1", 2, 1, 0, 1),  # it names its GPUs, not its CPUs
        ("-n2 --gres=gpu:1 --exact", 2, 1, 2, 1),
        ("-n2 --gres=none", 2, 1, 2, 0),
        ("-n2 --gpus-per-task=1", 2, 1, 0, 2),
        ("--gpus-per-task=1 -G2", 1, 1, 0, 2),
        ("--ntasks-per-gpu=2", 4, 1, 4, 2),
        ("--ntasks-per-gpu=2 -G1", 2, 1, 0, 1),
        ("--ntasks-per-gpu=2 -G0", 1, 1, 1, 0),
        ("--overlap -n4", 4, 1, 0, 2),
        ("-O -n9", 9, 1, 4, 2),
        ("--whole", 1, 1, 4, 2),
    ],
)
def test_a_step_takes_what_it_asks_for(text: str, tasks: int, each: int, cpus: int, gpus: int) -> None:
    found = need(text)
    assert (found.tasks, found.cpus_of_task, found.cpus, found.gpus) == (tasks, each, cpus, gpus)


def test_the_job_s_cpus_per_task_are_the_step_s_as_far_as_they_go() -> None:
    assert need("", SLURM_CPUS_PER_TASK="4").cpus == 4
    assert (need("-n2", SLURM_CPUS_PER_TASK="4").cpus, need("-n2", SLURM_CPUS_PER_TASK="4").cpus_of_task) == (4, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-n5", "More processors requested than permitted"),
        ("-n2 -c3", "More processors requested than permitted"),
        ("-n5 --overlap", "More processors requested than permitted"),
        ("-G3", "the step asks for 3 GPUs, and its job has 2: Invalid generic resource (gres) specification"),
        ("-n3 --gpus-per-task=1", "the step asks for 3 GPUs"),
    ],
)
def test_what_can_never_start_is_refused(text: str, said: str) -> None:
    with pytest.raises(Refused) as caught:
        need(text)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("text", "entries", "before", "gpus"),
    [
        ("", [], None, (0, 1)),
        ("", [run(1, (0,))], None, None),
        ("--gres=gpu:1", [run(0, (0,))], None, (1,)),
        ("--gres=gpu:1", [run(0, (0,)), run(0, (1,))], None, None),
        ("--gres=none", [run(0, (0, 1))], None, ()),
        ("--gres=none -n2", [run(3)], None, None),
        ("--gres=none -n2", [run(2)], None, ()),
        ("--overlap", [run(4, (0,))], None, (1, 0)),
        ("--overlap -G1", [run(4, (0,))], None, (1,)),
        # whoever came first is next, but who takes nothing of his may pass
        ("--gres=gpu:1", [run(0, (0,)), wait(0, 0, 2)], None, None),
        ("--gres=gpu:1", [run(0, (0,)), wait(0, 0, 2)], 1, None),
        ("--gres=gpu:1", [run(0, (0,)), wait(2, 0, 2)], 1, (1,)),
        ("--gres=none", [run(0, (0,)), wait(0, 1, 2)], 1, ()),
        ("--gres=none -n4", [wait(0, 1, 2)], 1, None),
    ],
)
def test_who_starts_and_with_which_gpus(
    text: str, entries: list[Entry], before: int | None, gpus: tuple[int, ...] | None
) -> None:
    assert steps.chosen(need(text), POOL, entries, before) == gpus


def test_an_entry_is_the_name_of_its_file() -> None:
    for entry in (
        Entry(RUN, 3, "-", 2, 0, (0, 2), [(10, 99), (11, 98)]),
        Entry(WAIT, 0, "7", 0, 4, (), [(1, 2)]),
    ):
        assert steps.read(entry.name) == entry
    for name in ("lock", "run.1.-.2", "run.x.-.1.0.g.1-2", "run.1.-.1.0.g.1-"):
        assert steps.read(name) is None, name


def test_a_step_in_a_step_shares_out_what_that_has() -> None:
    job = {"GFLOW_JOB_CPUS": "4", "GFLOW_JOB_GPUS": "0,GPU-1"}
    assert steps.place(job) == ("-", POOL)
    told = steps.told(7, need("-n2 --gres=gpu:1"), ["GPU-1"])
    assert steps.place({**job, steps.STEP: told}) == ("7", Pool(2, ["GPU-1"]))
    assert steps.place({"CUDA_VISIBLE_DEVICES": "3", "SLURM_CPUS_ON_NODE": "x"}) == ("-", Pool(1, ["3"]))
