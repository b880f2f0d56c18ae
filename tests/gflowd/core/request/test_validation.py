from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.specs import SPEC

from gflowd.core.errors import Refused
from gflowd.core.job.model import EarlySignal, Spec, Tasks
from gflowd.core.request import deadlines, gpu_match, validation
from gflowd.core.request.validation import Limits

if TYPE_CHECKING:
    from typing import Any


def spec(**changes: Any) -> Spec:
    given = {"command": ("true",), "name": "true", "user": "ada", "cwd": "/", "env": "", "submitted_at": 0.0, **changes}
    return Spec(**given)


def test_a_sound_request_is_left_as_it_is() -> None:
    assert validation.checked(spec(gpus=8, memory_mb=1 << 30), Limits()) == spec(gpus=8, memory_mb=1 << 30)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"command": ()}, "empty"),
        ({"command": ("",)}, "empty"),
        ({"command": ("-x",)}, "begins with a dash"),
        ({"command": ("a", "b\0c")}, "NUL"),
        ({"command": ("a", "b\udcff")}, "not valid UTF-8"),
        ({"name": "a\ud800"}, "not valid UTF-8"),
        ({"cwd": "/\udcff"}, "not valid UTF-8"),
        ({"comment": "\0"}, "NUL"),
        ({"project": "\0"}, "NUL"),
        ({"name": "  "}, "cannot be empty"),
        ({"name": "é" * 128}, "longer than 255 bytes"),
    ],
)
def test_what_cannot_be_run_or_kept_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said):
        validation.checked(spec(**changes), Limits())


@pytest.mark.parametrize(
    ("changes", "limits", "said"),
    [
        ({"gpus": 5}, {"gpus": 4}, "5 GPUs asked for, but this machine has 4"),
        ({"gpus": 1}, {"gpus": 0}, "1 GPU asked for, but this machine has none"),
        ({"cpus": 3}, {"cpus": 2}, "3 CPUs asked for, but this machine gives 2"),
        ({"memory_mb": 2048}, {"memory_mb": 1024}, "2G of memory asked for, but this machine gives 1G"),
    ],
)
def test_what_can_never_be_met_is_refused(changes: dict[str, Any], limits: Any, said: str) -> None:
    with pytest.raises(Refused, match=said):
        validation.checked(spec(**changes), Limits(**limits))


def test_the_whole_machine_may_be_asked_for() -> None:
    whole = {"gpus": 4, "cpus": 8, "memory_mb": 1024}
    assert validation.checked(spec(**whole), Limits(**whole)) == spec(**whole)
    assert validation.checked(spec(), Limits(**whole)) == spec()


def test_a_project_is_trimmed() -> None:
    assert validation.checked(spec(project=" ml "), Limits()).project == "ml"
    assert validation.checked(spec(project="  "), Limits()).project is None
    assert validation.checked(spec(project="ml"), Limits(known_projects=("ml",), require_project=True)).project == "ml"


@pytest.mark.parametrize(
    ("project", "limits", "said"),
    [
        (None, Limits(require_project=True), "a project is required; give --project CODE$"),
        (" ", Limits(require_project=True, known_projects=("ml", "bio")), r"\(one of ml, bio\)"),
        ("x" * 65, Limits(), "longer than 64"),
        ("art", Limits(known_projects=("ml", "bio")), "'art' is not a known project"),
    ],
)
def test_a_project_that_the_rules_forbid_is_refused(project: str | None, limits: Any, said: str) -> None:
    with pytest.raises(Refused, match=said):
        validation.checked(spec(project=project), limits)


def test_the_longest_string_is_the_kernel_s() -> None:
    validation.check_size(["x" * 131071], [b"A=" + b"x" * 131069])
    with pytest.raises(Refused, match="131072 bytes long; the limit is 131071"):
        validation.check_size(["true", "x" * 131072], [])
    with pytest.raises(Refused, match="variable A is 131072"):
        validation.check_size(["true"], [b"A=" + b"x" * 131070])


def test_all_strings_together_have_a_limit() -> None:
    validation.check_size(["true"], [b"A%d=%b" % (number, b"x" * 100_000) for number in range(19)])
    with pytest.raises(Refused, match="the limit is 2000000"):
        validation.check_size(["true"], [b"A%d=%b" % (number, b"x" * 100_000) for number in range(20)])


def test_a_warning_leaves_some_time_before_it() -> None:
    early = EarlySignal(number=10, before=60.0)
    warned = spec(early_signal=early, time_limit=61.0)
    assert validation.checked(warned, Limits()) == warned
    assert validation.checked(warned.replace(time_limit=None), Limits()).early_signal == early
    with pytest.raises(Refused, match="as it starts"):
        validation.checked(warned.replace(time_limit=60.0), Limits())


MODELS = (("NVIDIA A100-SXM4-40GB", 40960), ("NVIDIA A100-SXM4-80GB", 81920), ("Tesla V100", 16384))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gpus": 1, "gpu_type": "h100"}, "no GPU of this machine is of type 'h100' .they are NVIDIA A100-SXM4-40GB, "),
        ({"gpus": 3, "gpu_type": "A100"}, "3 GPUs of type 'A100' asked for, but this machine has 2"),
        ({"gpus": 1, "gpu_memory_mb": 90000}, "1 GPU with 90000M .the largest has 80G. asked for, .* has none"),
        ({"gpus": 2, "gpu_memory_mb": 50000, "gpu_type": "a100"}, "2 GPUs of type 'a100' with 50000M .* has 1"),
    ],
)
def test_gpus_that_no_machine_has_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said):
        validation.checked(spec(**changes), Limits(gpus=3, gpu_models=MODELS))


@pytest.mark.parametrize(
    "changes",
    [
        {"gpus": 3},
        {"gpus": 2, "gpu_type": "a100", "gpu_memory_mb": 40960},
        {"gpus": 1, "gpu_type": "tesla v", "gpu_memory_mb": 16384, "shared": True},
        {"gpus": 0, "gpu_type": "h100"},
    ],
)
def test_gpus_that_are_there_may_be_asked_for(changes: dict[str, Any]) -> None:
    assert validation.checked(spec(**changes), Limits(gpus=3, gpu_models=MODELS)) == spec(**changes)


def test_what_gpus_there_are_need_not_be_known() -> None:
    assert validation.checked(spec(gpus=1, gpu_type="h100"), Limits()).gpu_type == "h100"


def test_who_shares_a_gpu_says_how_much_of_it() -> None:
    with pytest.raises(Refused, match="--gpu-memory MEM"):
        validation.checked(spec(gpus=1, shared=True), Limits())


def test_what_was_measured_before_counts() -> None:
    taken = validation.check_size(["true"], [b"A=1"])
    assert taken == validation.check_size(["true"], [], validation.check_size([], [b"A=1"]))
    with pytest.raises(Refused, match="the limit is 2000000"):
        validation.check_size(["true"], [], 2_000_000)


CUT_UP = (("NVIDIA H100", 81920), *[("NVIDIA H100 MIG 1g.10gb", 9728)] * 2, ("NVIDIA H100 MIG 3g.40gb", 40192))


@pytest.mark.parametrize(
    ("changes", "fitting"),
    [
        ({"gpus": 1}, 4),
        ({"gpus": 1, "gpu_type": "h100"}, 4),
        ({"gpus": 1, "gpu_type": "1G"}, 2),
        ({"gpus": 1, "gpu_memory_mb": 20000}, 2),
        ({"gpus": 2}, 1),
        ({"gpus": 2, "gpu_type": "h100"}, 1),
        ({"gpus": 2, "gpu_type": "1g.10gb"}, 2),
        ({"gpus": 2, "gpu_type": "mig"}, 3),
        ({"gpus": 2, "gpu_type": "h100 mig"}, 3),
    ],
)
def test_a_job_of_several_gpus_gets_mig_devices_only_by_name(changes: dict[str, Any], fitting: int) -> None:
    asked = spec(**changes)
    assert sum(gpu_match.suits(asked, *each) for each in CUT_UP) == fitting
    limits = Limits(gpus=4, gpu_models=CUT_UP)
    if fitting >= asked.gpus:
        assert validation.checked(asked, limits) == asked
        return
    with pytest.raises(Refused, match=r"^2 GPUs.* asked for, but this machine has 1; .* --gpu-type names them"):
        validation.checked(asked, limits)


@pytest.mark.parametrize(
    ("asked", "model", "suited"),
    [
        ("geforce_rtx_4090", "NVIDIA GeForce RTX 4090", True),
        ("RTX4090", "NVIDIA GeForce RTX 4090", True),
        ("rtx-4090", "NVIDIA GeForce RTX 4090", True),
        ("nvidia_h100_80gb_hbm3", "NVIDIA H100 80GB HBM3", True),
        ("H100-80GB", "NVIDIA H100 80GB HBM3", True),
        ("a100_40", "NVIDIA A100-PCIE-40GB", False),
        ("a100-pcie_40gb", "NVIDIA A100-PCIE-40GB", True),
        ("3090", "NVIDIA GeForce RTX 4090", False),
        ("1g.10gb", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", True),
    ],
)
def test_types_are_written_as_people_and_slurm_write_them(asked: str, model: str, suited: bool) -> None:
    spec = SPEC.replace(submitted_at=0.0, gpus=1, gpu_type=asked)
    assert gpu_match.suits(spec, model, 81920) is suited


def test_why_a_file_is_no_script() -> None:
    assert validation.why_no_script(b"ech") == validation.why_no_script(b"") == "its first line does not begin with #!"
    assert validation.why_no_script(b"\xef\xbb\xbf") == "its first line begins with a byte order mark, not #!"


@pytest.mark.parametrize(
    ("asked", "gpus"),
    [((None, None, None, False), 0), ((None, "L4", None, False), 1), ((None, None, 1, False), 1),
     ((None, None, 0, False), 0), ((None, None, None, True), 1), ((2, "L4", 1, True), 2)],
)  # fmt: skip
def test_asking_for_a_kind_of_gpu_asks_for_one(asked: tuple[Any, ...], gpus: int) -> None:
    number, kind, memory_mb, shared = asked
    found = validation.gpu_request(number, kind, memory_mb, shared=shared)
    assert found == {
        "gpus": gpus, "gpu_type": kind, "gpu_memory_mb": memory_mb or None, "gpu_prefer": (), "shared": shared,
    }  # fmt: skip
    assert validation.gpu_request(number, kind, memory_mb, shared=shared, prefer=("1",))["gpus"] == (gpus or 1)


def test_who_wants_no_gpu_wants_no_kind_of_them() -> None:
    nothing = {"gpus": 0, "gpu_type": None, "gpu_memory_mb": None, "gpu_prefer": (), "shared": False}
    assert validation.gpu_request(0, "L4", 1, shared=True, prefer=("1",)) == nothing
    assert validation.with_gpus(spec(gpus=0, gpu_type="L4"), said=True) == spec()
    assert validation.with_gpus(spec(gpus=0, gpu_type="L4"), said=False) == spec(gpus=1, gpu_type="L4")
    assert validation.with_gpus(spec(gpus=2, gpu_type="L4"), said=False) == spec(gpus=2, gpu_type="L4")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, None),
        ({"deadline": 101.0}, None),
        ({"deadline": 160.0, "time_limit": 60.0}, None),
        ({"deadline": 260.0, "time_limit": 60.0, "begin_at": 200.0}, None),
        ({"deadline": 100.0}, "the deadline has passed"),
        ({"deadline": 159.0, "time_limit": 60.0}, "the deadline is 0:59 after now, but the time limit is 1:00"),
        ({"deadline": 150.0, "begin_at": 160.0}, "the deadline is before the begin time"),
        ({"deadline": 250.0, "begin_at": 200.0, "time_limit": 60.0},
         "the deadline is 0:50 after it begins, but the time limit is 1:00"),
        ({"deadline": 150.0, "begin_at": 20.0, "time_limit": 60.0},
         "the deadline is 0:50 after now, but the time limit is 1:00"),
    ],
)  # fmt: skip
def test_a_deadline_must_be_within_reach(fields: dict[str, float], why: str | None) -> None:
    if why is None:
        deadlines.check(spec(**fields), 100.0)
        return
    with pytest.raises(Refused, match=f"^{why}$"):
        deadlines.check(spec(**fields), 100.0)


def test_tasks_that_new_cpus_do_not_fit_are_forgotten() -> None:
    tasks = Tasks(count=4, cpus=2)
    asked = spec(cpus=8, tasks=tasks, exclusive=True, all_memory=True, memory_mb=5)
    assert validation.with_amounts(asked, ("time_limit",)) == asked
    assert validation.with_amounts(asked, ("memory_mb",)) == asked.replace(all_memory=False)
    assert validation.with_amounts(asked, ("cpus",)) == asked.replace(exclusive=False)
    found = [validation.with_amounts(asked.replace(cpus=cpus), ("cpus",)).tasks for cpus in (12, 9, 0)]
    assert found == [tasks.replace(cpus=3), None, None]
    assert validation.with_amounts(spec(cpus=3), ("cpus",)).tasks is None


def test_the_words_of_a_constraint_that_name_gpus() -> None:
    models = ("Tesla V100-SXM2-16GB", "NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-40GB")
    said = {
        "v100": ["v100"], "v100|a100": ["a100", "v100"], "skylake&A100*2": ["A100"], "h100": [], "": [], "100": [],
        "[rack1|a100_sxm4]": ["a100_sxm4"],
    }  # fmt: skip
    assert {constraint: gpu_match.named_by(constraint, models) for constraint in said} == said


def test_who_is_told_without_saying_of_what_is_told_of_the_end() -> None:
    def on(**changes: Any) -> tuple[str, ...]:
        return validation.checked(spec(**changes), Limits()).notify_on

    assert on() == ()
    assert on(notify_email="a@b") == on(notify=("https://a",)) == on(notify=("https://a",), slurm=True) == ("end",)
    assert on(notify_email="a@b", slurm=True) == ()  # as in Slurm
    assert on(notify_email="a@b", notify_on=("none",)) == ("none",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"uid": 1000}, "for all users"),
        ({"relay": "a"}, "gflowctl run"),
        ({"gpus": 1, "shared": True, "gpu_memory_mb": 9}, "whole GPUs"),
        ({"gpus": 1, "gpu_memory_mb": 9, "cluster": "auto"}, "whole GPUs"),
        ({"exclusive": True}, "this machine"),
        ({"all_memory": True, "cluster": "auto"}, "this machine"),
        ({"quiet_limit": 60.0}, "--quiet-limit"),
        ({"executor": "tmux"}, "--executor and --gpu-prefer"),
        ({"gpus": 1, "gpu_prefer": ("0",)}, "--executor and --gpu-prefer"),
    ],
)
def test_what_no_cluster_can_have_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said):
        validation.checked(spec(**{"cluster": "hpc", **changes}), Limits())


@pytest.mark.parametrize("changes", [{"cluster": "hpc"}, {"cluster": "auto", "executor": "tmux", "gpu_prefer": ("0",)}])
def test_a_job_for_a_cluster_is_not_held_against_what_this_machine_has(changes: dict[str, Any]) -> None:
    wanted = spec(gpus=8, cpus=64, **changes)
    assert validation.checked(wanted, Limits(gpus=0, cpus=2, memory_mb=1)) == wanted
