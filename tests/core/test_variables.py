from gflowd.core.model import Job, Queued, Run, Spec, Wish
from gflowd.core.variables import variables

SPEC = Spec(command=("x",), name="a b", user="u", cwd="/w", env="e", submitted_at=1.0, cpus=3, gpus=2)
RUN = Run(executor="tmux", launched_at=1.0, attempt=2, gpu_ids=(0, 3))


def found(term: str | None = None, run: Run = RUN, **fields: object) -> dict[str, str]:
    return variables(Job(42, SPEC.replace(**fields), Wish(), Queued()), run, "/state", term)


def test_a_job_finds_who_it_is() -> None:
    assert found() == {
        "GFLOW_JOB_ID": "42", "GFLOW_JOB_NAME": "a b", "GFLOW_ATTEMPT": "2", "GFLOW_SUBMIT_DIR": "/w",
        "GFLOW_STATE_DIR": "/state", "SLURM_JOB_ID": "42", "SLURM_JOB_NAME": "a b", "SLURM_CPUS_PER_TASK": "3",
        "SLURM_CPUS_ON_NODE": "3", "SLURM_SUBMIT_DIR": "/w", "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "0,3", "PWD": "/w",
    }  # fmt: skip


def test_without_gpus_none_is_visible() -> None:
    assert found(run=RUN.replace(gpu_ids=()))["CUDA_VISIBLE_DEVICES"] == ""


def test_the_submit_directory_need_not_be_the_working_directory() -> None:
    names = found(submit_dir="/home/u")
    assert (names["GFLOW_SUBMIT_DIR"], names["SLURM_SUBMIT_DIR"], names["PWD"]) == ("/home/u", "/home/u", "/w")


def test_only_a_job_in_a_terminal_is_told_which() -> None:
    assert "TERM" not in found()
    assert found(term="screen")["TERM"] == "screen"
