from support import specs

from gflowd.core.execution.job_environment import variables
from gflowd.core.job.arrays import Axis, Family
from gflowd.core.job.model import Job, Queued, Run, Wish, is_lent, is_own

SPEC = specs.SPEC.replace(name="a b", cwd="/w", cpus=3, gpus=2)
RUN = Run(executor="tmux", launched_at=1.0, attempt=2, gpu_ids=(0, 3))


def found(term: str | None = None, run: Run = RUN, **fields: object) -> dict[str, str]:
    return variables(Job(42, SPEC.replace(**fields), Wish(), Queued()), run, "/state", term)


def test_a_job_finds_who_it_is() -> None:
    assert found() == {
        "GFLOW_JOB_ID": "42", "GFLOW_JOB_NAME": "a b", "GFLOW_ATTEMPT": "2", "GFLOW_SUBMIT_DIR": "/w",
        "GFLOW_STATE_DIR": "/state", "GFLOW_JOB_CPUS": "3", "GFLOW_JOB_GPUS": "0,3", "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "0,3", "PWD": "/w",
    }  # fmt: skip


def test_without_gpus_none_is_visible() -> None:
    assert found(run=RUN.replace(gpu_ids=()))["CUDA_VISIBLE_DEVICES"] == ""


def test_gpus_are_named_by_uuid_where_their_indices_cannot_be_trusted() -> None:
    run = RUN.replace(gpu_uuids=("GPU-a", "GPU-d"))
    assert found(run=run)["CUDA_VISIBLE_DEVICES"] == "0,3"
    assert found(run=run.replace(by_uuid=True))["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-d"
    assert found(run=run.replace(cuda_ids=(0, 2)))["CUDA_VISIBLE_DEVICES"] == "0,2"


def test_the_submit_directory_need_not_be_the_working_directory() -> None:
    names = found(submit_dir="/home/u")
    assert (names["GFLOW_SUBMIT_DIR"], names["PWD"]) == ("/home/u", "/w")


def test_an_element_of_an_array_finds_its_place_in_it() -> None:
    family = Family(ranges=((2, 8, 2), (20, 20, 1)))
    names = variables(Job(43, SPEC.replace(family=family), Wish(), Queued(), 42), RUN, "/state", None)
    assert {name: value for name, value in names.items() if "ARRAY" in name or "JOB_ID" in name} == {
        "GFLOW_JOB_ID": "43", "GFLOW_ARRAY_JOB_ID": "42", "GFLOW_ARRAY_TASK_ID": "4",
        "SLURM_ARRAY_JOB_ID": "42", "SLURM_ARRAY_TASK_ID": "4",
        "SLURM_ARRAY_TASK_COUNT": "5", "SLURM_ARRAY_TASK_MIN": "2", "SLURM_ARRAY_TASK_MAX": "20",
        "SLURM_ARRAY_TASK_STEP": "1",
    }  # fmt: skip
    alone = Family(ranges=((2, 8, 2),))
    names = variables(Job(42, SPEC.replace(family=alone), Wish(), Queued(), 42), RUN, "/state", None)
    assert (names["SLURM_ARRAY_TASK_ID"], names["SLURM_ARRAY_TASK_STEP"]) == ("2", "2")


def test_a_job_of_a_sweep_finds_its_parameters_and_its_own_name() -> None:
    family = Family(axes=(Axis(names=("lr",), rows=(("0.1",), ("0.01",))), Axis(names=("seed",), rows=(("7",),))))
    spec = SPEC.replace(family=family, name_template="{name}-{lr}-{index}")
    names = variables(Job(43, spec, Wish(), Queued(), 42), RUN, "/state", None)
    assert (names["GFLOW_PARAM_lr"], names["GFLOW_PARAM_seed"]) == ("0.01", "7")
    assert names["GFLOW_JOB_NAME"] == "a b-0.01-1"
    assert (names["GFLOW_ARRAY_TASK_ID"], names["SLURM_ARRAY_TASK_COUNT"]) == ("1", "2")


def test_a_job_in_no_array_finds_nothing_of_one() -> None:
    assert not [name for name in found() if "ARRAY" in name or "PARAM" in name]


def test_only_a_job_in_a_terminal_is_told_which() -> None:
    assert "TERM" not in found()
    assert found(term="screen")["TERM"] == "screen"


def test_a_script_finds_where_it_was_submitted_from() -> None:
    made = SPEC.replace(script="abc", command=("../run.sh",), cwd="/data", submit_dir="/home/ada/work")
    found = variables(Job(1, made, Wish(), Queued()), RUN, "/s", None)
    assert (found["GFLOW_SCRIPT"], found["GFLOW_SCRIPT_DIR"]) == ("/home/ada/run.sh", "/home/ada")
    read = made.replace(command=("/dev/stdin", "x"))
    found = variables(Job(1, read, Wish(), Queued()), RUN, "/s", None)
    assert (found["GFLOW_SCRIPT_DIR"], "GFLOW_SCRIPT" in found) == ("/home/ada/work", False)
    plain = variables(Job(1, SPEC, Wish(), Queued()), RUN, "/s", None)
    assert not {"GFLOW_SCRIPT", "GFLOW_SCRIPT_DIR"} & plain.keys()


def test_all_that_gflow_sets_is_a_job_s_own_but_for_what_holds_in_any() -> None:
    """What a job is told of itself does not reach the jobs that it submits."""
    family = Family(axes=(Axis(names=("lr",), rows=(("1",), ("2",))),))
    spec = SPEC.replace(family=family, script="s", slurm=True, memory_mb=7)
    names = variables(Job(43, spec, Wish(), Queued(), 42), RUN, "/state", "screen")
    assert {name for name in names if not is_own(name)} == {
        "GFLOW_STATE_DIR", "CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "PWD", "TERM",
    }  # fmt: skip


def test_a_tmpdir_is_lent_where_it_ends_with_the_job_around() -> None:
    assert [is_lent(each, "/tmp/g/1") for each in ("/tmp/g/1", "/tmp/g/1/x", "/tmp/g/12", "/tmp", "")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert not is_lent("", ""), "there is no job around"
    assert not is_lent("/tmp", "")
