"""What a command line of srun asks for."""

from __future__ import annotations

import pytest

from gflowd.core.errors import Refused
from gflowd.core.slurm.step import srun_options
from gflowd.core.slurm.step.srun_options import Step


def parse(text: str, **environ: str) -> Step:
    return srun_options.parse(text.split(), environ)[0]


def differs(step: Step) -> dict[str, object]:
    """What it asks for beyond a bare command."""
    usual = Step().fields()
    return {name: value for name, value in step.fields().items() if name != "command" and value != usual[name]}


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("x -n 4", {}),
        ("-- x", {}),
        ("-n4 -c 2 x", {"tasks": 4, "cpus": 2, "cpus_given": True}),
        ("--ntasks-per-node=3 x", {"tasks": 3}),
        ("-n 2 --tasks-per-node 3 x", {"tasks": 2}),
        ("--ntasks-per-gpu=2 x", {"tasks_per_gpu": 2}),
        ("-G 2 x", {"gpus": 2, "gpus_given": True}),
        ("--gpus=a100:1,h100:2 x", {"gpus": 3, "gpus_given": True}),
        ("--gres=gpu x", {"gpus": 1, "gpus_given": True}),
        ("--gres=gres/gpu:a100 --exact x", {"gpus": 1, "gpus_given": True, "cpus_given": True}),
        ("--gres=gpu:1080:2(S:0) x", {"gpus": 2, "gpus_given": True}),
        ("--gres=none x", {"gpus": 0, "gpus_given": True}),
        ("--gpus-per-task=1 --gpu-bind=none x", {"gpus_per_task": 1, "gpus_given": True, "gpu_bind": "none"}),
        ("--exclusive x", {"cpus_given": True}),
        ("--whole x", {"whole": True, "cpus_given": True}),
        ("--overlap -O -I x", {"overlap": True, "overcommit": True, "immediate": True}),
        ("-I0 -K0 --no-kill x", {}),
        ("-luQvXK x", {"label": True, "unbuffered": True, "quiet": True, "verbose": True, "disable_status": True,
                       "kill_on_bad_exit": True}),
        ("--pty --multi-prog --quit-on-interrupt x", {"pty": True, "multi": True, "quit_on_interrupt": True}),
        ("-o a -e b -i c -D d x", {"output": "a", "error": "b", "input": "c", "chdir": "d"}),
        ("--export=A -t 5 --mpi=none -J name -W 7 x",
         {"export": "A", "time": "5", "mpi": "none", "name": "name", "wait": 7}),
        ("--open-mode=a x", {"append": True}),
        ("--open-mode=truncate --jobid=7 x", {"job": "7"}),
        ("--cpu_bind=none --cpu-bind v,cores --x11 --pack-group=0 --het-group 0 -r0 -N1-1 -N 1 --mem=5G --share x", {}),
        ("-p debug -A lab -q high --hint=nomultithread -w here --nice --propagate=ALL -k -T 4 -E --bcast=/tmp/x x", {}),
    ],
)  # fmt: skip
def test_options_are_those_of_srun(text: str, asked: dict[str, object]) -> None:
    step = parse(text)
    assert differs(step) == asked
    assert step.command[0] == "x"


def test_the_command_keeps_its_own_options() -> None:
    assert parse("-n1 x -n 4 -- y").command == ("x", "-n", "4", "--", "y")
    assert parse("-l").command == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("--container-image=x y", "--container-image: gflow starts no containers"),
        ("--no-container-mount-home y", "--no-container-mount-home: gflow starts no containers"),
        ("--container=x y", "--container: gflow starts no containers"),
        ("-Z y", "--no-allocate: "),
        ("--task-prolog=x y", "--task-prolog: gflow runs no prologs"),
        ("-N2 y", "Only allocated 1 nodes asked for 2"),
        ("-N1-x y", 'Invalid numeric value "x" for --nodes.'),
        ("-n 0 y", 'Invalid numeric value "0" for --ntasks.'),
        ("-n x y", 'Invalid numeric value "x" for --ntasks.'),
        ("-n 200000 y", "Invalid numeric value"),
        ("--het-group=1 y", "--het-group=1: "),
        ("-r 1 y", "--relative=1: "),
        ("--open-mode=x y", "--open-mode=x: "),
        ("--open-mode= y", "--open-mode=: "),
        ("--gres=nvme:1 y", "Invalid generic resource (gres) specification: nvme:1"),
        ("--gres=gpu:a:1:2 y", "Invalid generic resource"),
        ("--exclusive --overlap y", "--exclusive and --overlap contradict each other"),
        ("--colour y", "--colour: not an option of srun"),
        ("-y y", "-y: not an option of srun"),
    ],
)
def test_what_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(Refused) as caught:
        parse(text)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("environ", "text", "asked"),
    [
        ({"SLURM_NTASKS": "4", "SLURM_CPUS_PER_TASK": "2"}, "x", {"tasks": 4, "cpus": 2}),
        ({"SLURM_NTASKS": "4"}, "-n1 x", {"tasks": 1}),
        ({"SLURM_CPUS_PER_TASK": "x", "SLURM_WAIT": ""}, "x", {}),
        ({"SLURM_LABELIO": "1", "SLURM_UNBUFFEREDIO": "no", "SLURM_KILL_BAD_EXIT": "1"}, "x",
         {"label": True, "kill_on_bad_exit": True}),
        ({"SLURM_GPUS_PER_TASK": "1"}, "x", {"gpus_per_task": 1}),
        ({"SLURM_GPUS_PER_TASK": "1"}, "--gres=gpu:2 x", {"gpus": 2, "gpus_given": True}),
        ({"SRUN_OUTPUT": "a", "SLURM_EXPORT_ENV": "NONE", "SRUN_EXPORT_ENV": "ALL"}, "x",
         {"output": "a", "export": "ALL"}),
    ],
)  # fmt: skip
def test_what_is_typed_comes_before_variables(environ: dict[str, str], text: str, asked: dict[str, object]) -> None:
    assert differs(parse(text, **environ)) == asked


def test_mpi_programs_are_not_started_as_strangers_to_each_other() -> None:
    linked = b"\x7fELF...libmpi.so.40\0"
    table = [
        ("x", 2, b"#!/bin/sh", None),
        ("x", 1, linked, None),
        ("x", 2, linked, "x is an MPI program: "),
        ("--mpi=none x", 2, linked, None),
        ("--mpi=openmpi x", 2, b"", None),
        ("--mpi=pmix x", 1, b"", None),
        ("--mpi=pmi2 x", 2, b"", "--mpi=pmi2: gflow's srun has no PMI"),
    ]
    for text, tasks, content, said in table:
        found = srun_options.why_no_mpi(parse(text), tasks, content)
        assert (found or "").startswith(said or "-") or found is said, text


def test_nodes_may_be_named_if_they_are_this_one() -> None:
    assert srun_options.is_here("box", ["box", "box.example.org", "localhost"])
    assert not srun_options.is_here("box", ["other"])
