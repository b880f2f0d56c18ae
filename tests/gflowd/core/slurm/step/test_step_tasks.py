"""What each task of a step runs, sees and writes to."""

from __future__ import annotations

import pytest

from gflowd.core.errors import Refused
from gflowd.core.slurm.step import srun_options, step_tasks
from gflowd.core.slurm.step.step_tasks import Stream
from gflowd.core.slurm.step.steps import Need

JOB = {"SLURM_JOB_ID": "42", "SLURM_JOB_NAME": "a/b", "SLURMD_NODENAME": "box", "PATH": "/bin", "A": "1"}


def step(text: str) -> srun_options.Step:
    return srun_options.parse([*text.split(), "x"], {})[0]


def test_streams_lead_to_files_to_us_or_nowhere() -> None:
    table = [
        (None, 2, Stream("all")), ("all", 2, Stream("all")), ("-", 2, Stream("all")), ("NONE", 2, Stream("none")),
        ("1", 2, Stream("one", task=1)), ("2", 2, Stream("shared", "2")), ("x%j", 2, Stream("shared", "x%j")),
        ("x%3t", 2, Stream("each", "x%3t")), ("x%%t", 2, Stream("shared", "x%%t")), ("x", 1, Stream("each", "x")),
    ]  # fmt: skip
    for text, tasks, found in table:
        assert step_tasks.stream(text, tasks) == found, text


def test_names_of_files_are_those_of_srun() -> None:
    table = {
        "%x-%j.%J-%A_%a": "a_b-42.42.3-42_4294967294", "%t%n%s-%%-%q-%u": "1703-%-%q-me",
        "%3t.%4j.%12s.%8x": "017.0042.0000000003.     a_b", "%N%": "box%", "100%%t": "100%t", "%": "%",
        "plain": "plain", "%%%t": "%17", "%1234t": "%1234t",
    }  # fmt: skip
    for pattern, name in table.items():
        assert step_tasks.path(pattern, JOB, 3, 17, lambda: "me") == name, pattern
    array = {**JOB, "SLURM_ARRAY_JOB_ID": "40", "SLURM_ARRAY_TASK_ID": "2"}
    assert step_tasks.path("%A_%a", array, 3, 17, lambda: "me") == "40_2"


def test_variables_are_passed_on_as_export_says() -> None:
    kept = {name: value for name, value in JOB.items() if name.startswith("SLURM")}
    table = {
        "": JOB, "--export=ALL": JOB, "--export=ALL,B=2,A=3": {**JOB, "B": "2", "A": "3"}, "--export=NONE": kept,
        "--export=A,C": {**kept, "A": "1"}, "--export=B='1,2',NONE,A": {**kept, "B": "1,2"},
    }  # fmt: skip
    for text, found in table.items():
        assert step_tasks.base_environment(step(text), JOB) == found, text
    with pytest.raises(Refused, match="'a-b' is not the name of a variable"):
        step_tasks.base_environment(step("--export=ALL,a-b=1"), JOB)


def test_a_step_has_slurm_s_variables() -> None:
    found = step_tasks.step_variables(step("-c2 -J n"), Need(3, 2, 6, 1), 4, "box", ["GPU-9"], ["5"])
    assert found["SLURM_STEP_ID"] == found["SLURM_STEPID"] == "4"
    assert found["SLURM_NTASKS"] == found["SLURM_NPROCS"] == found["SLURM_STEP_NUM_TASKS"] == "3"
    assert (found["SLURM_GTIDS"], found["SLURM_CPUS_PER_TASK"], found["SLURM_CPUS_ON_NODE"]) == ("0,1,2", "2", "6")
    assert (found["SLURM_STEP_GPUS"], found["CUDA_VISIBLE_DEVICES"]) == ("5", "GPU-9")
    assert (found["SLURM_STEP_NODELIST"], found["SLURM_JOB_NAME"]) == ("box", "n")
    bare = step_tasks.step_variables(step(""), Need(1, 1, 1, 0), 0, "box", [], [])
    assert bare["CUDA_VISIBLE_DEVICES"] == ""
    assert {"SLURM_STEP_GPUS", "SLURM_CPUS_PER_TASK", "SLURM_JOB_NAME"}.isdisjoint(bare)


def test_each_task_sees_the_gpus_that_it_is_bound_to() -> None:
    table = {
        "": [(0, 1, 2)] * 3, "--gpus-per-task=1": [(0,), (1,), (2,)],
        "--gpus-per-task=1 --gpu-bind=none": [(0, 1, 2)] * 3,
        "--gpu-bind=closest": [(0, 1, 2)] * 3, "--gpu-bind=verbose,single:2": [(0,), (0,), (1,)],
        "--gpu-bind=map_gpu:2,0": [(2,), (0,), (2,)], "--gpu-bind=mask_gpu:0x3,4": [(0, 1), (2,), (0, 1)],
        "--gpu-bind=per_task:1": [(0,), (1,), (2,)], "--gpu-bind=map_gpu:1*3": [(1,)] * 3,
    }  # fmt: skip
    for text, found in table.items():
        assert [step_tasks.gpus_of_task(step(text), range(3), task) for task in range(3)] == found, text
    assert step_tasks.gpus_of_task(step("--gpu-bind=single:1"), (), 0) == ()
    for bind in ("map_gpu:x", "map_gpu:-1", "mask_gpu:-1", "single:x", "single:-1", "per_task:x", "strange:1"):
        with pytest.raises(Refused, match=f"--gpu-bind={bind}: "):
            step_tasks.gpus_of_task(step(f"--gpu-bind={bind}"), range(3), 0)


def test_several_programs_come_from_a_file() -> None:
    text = "# who does what\n0 master --n='a b' %o\n1,3-4 \\\n worker %t %o\n* rest %o\n"
    assert step_tasks.programs(text, 5) == [
        ("master", "--n=a b", "0"), ("worker", "1", "0"), ("rest", "2"), ("worker", "3", "1"), ("worker", "4", "2"),
    ]  # fmt: skip
    for wrong, said in (("0 x", "no record for task id 1"), ("0-1", "line 1 .* no program"), ("a x", "'a' names no"),
                        ("0-b x", "names no tasks"), ("0 echo 'a", "line 1 .* a quote is not closed")):  # fmt: skip
        with pytest.raises(Refused, match=said):
            step_tasks.programs(wrong, 2)
    assert step_tasks.programs("7 y\n0-9999999999999 x", 2) == [("x",)] * 2


def test_the_greatest_end_of_a_task_is_the_step_s() -> None:
    for ends, status in (([], 0), ([0, 3, 1], 3), ([0, -9, 5], 137), ([-15, -9], 143)):
        assert step_tasks.status(ends) == status
    assert step_tasks.named([2, 0, 1, 5]) == "tasks 0-2,5"
    assert step_tasks.named([3]) == "task 3"
    assert (step_tasks.label(3, 10), step_tasks.label(3, 11)) == (b"3: ", b" 3: ")
