"""What update changes of dependencies, retries, arrays and sweeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl


@pytest.fixture
def chain(ctl: Ctl) -> Ctl:
    """1 runs; 2 waits for it, 3 for 2, 4 for nothing."""
    for words in ([], ["-d", "1"], ["-d", "2"], []):
        ctl.submit("-n", "job", *words, "true")
    ctl.run_job(1)
    return ctl


def needs(ctl: Ctl, job_id: int) -> list[tuple[Any, ...]]:
    wanted = ctl.spec(job_id).needs
    return [] if wanted is None else [(each.kind, each.id, each.element) for each in wanted.dependencies]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["-d", "1"], [("afterok", 1, False)]),
        (["--dependency", "afterany:1:2"], [("afterany", 1, False), ("afterany", 2, False)]),
        (["--depends-on-all", "1-2"], [("afterok", 1, False), ("afterok", 2, False)]),
        (["--depends-on-any", "1-2"], [("afterok", 1, False), ("afterok", 2, False)]),
        (["--singleton"], [("singleton", None, False)]),
        (["-d", "3", "--singleton"], [("afterok", 3, False), ("singleton", None, False)]),
    ],
)
def test_what_a_job_waits_for_is_replaced(chain: Ctl, words: list[str], found: list[object]) -> None:
    assert chain.ok("update", "4", *words) == "Updated job 4\n"
    assert needs(chain, 4) == found
    chain.ok("update", "4", "-d", "afternotok:1")
    assert needs(chain, 4) == [("afternotok", 1, False)]


def test_what_a_job_waits_for_is_cleared(chain: Ctl) -> None:
    chain.ok("update", "3", "-d", "1", "--singleton")
    chain.ok("update", "3", "--clear", "singleton")
    assert needs(chain, 3) == [("afterok", 1, False)]
    chain.ok("update", "2,3", "--clear", "depends-on")
    assert (needs(chain, 2), needs(chain, 3)) == ([], [])
    assert chain.jobs("3")[0]["reason"] == "DaemonDown"


def test_whether_a_job_goes_with_what_it_waits_for(chain: Ctl) -> None:
    chain.ok("update", "2-3", "--no-auto-cancel")
    assert not chain.spec(3).needs.auto_cancel
    chain.ok("update", "3", "-d", "1")
    assert (needs(chain, 3), chain.spec(3).needs.auto_cancel) == ([("afterok", 1, False)], False)
    chain.ok("update", "3", "-d", "2", "--auto-cancel")
    chain.ok("update", "2", "--clear", "auto-cancel")
    assert chain.spec(2).needs.auto_cancel
    assert chain.spec(3).needs.auto_cancel
    assert chain.run("update", "4", "--no-auto-cancel").stderr == "gflowctl: job 4 already has these values\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["2", "-d", "2"], "job 2 would wait for itself (2 -> 2)"),
        (["2", "-d", "3"], "job 2 would wait for itself (2 -> 3 -> 2)"),
        (["2", "-d", "4?3"], "job 2 would wait for itself (2 -> 3 -> 2)"),
        (["2,4", "--depends-on-any", "1,3"], "job 2 would wait for itself (2 -> 3 -> 2)"),
        (["3,4", "-d", "4"], "job 4 would wait for itself (4 -> 4)"),
        (["2", "-d", "@"], None),
        (["2", "-d", "1"], None),
        (
            ["1", "-d", "4"],
            "job 1: --depends-on cannot be changed while the job is running; only time, signal, quiet-limit and",
        ),
        (["2", "-d", "99"], "no job 99"),
        (["2", "-d", "x"], "'x' is not a kind of dependency"),
        (["2", "-d", "1", "--clear", "depends-on"], "job 2: --depends-on is both set and cleared"),
    ],
)
def test_a_cycle_is_refused(chain: Ctl, words: list[str], said: str | None) -> None:
    before = chain.store.read().lines
    if said is None:
        chain.run("update", *words)
    else:
        assert said in chain.fails(1, "update", *words)
        assert chain.store.read().lines == before


def test_a_job_that_has_ended_closes_no_cycle(chain: Ctl) -> None:
    chain.end_job(3, "cancelled")
    chain.ok("update", "2", "-d", "afterany:3")
    assert needs(chain, 2) == [("afterany", 3, False)]


def test_cycles_through_arrays_and_elements(ctl: Ctl) -> None:
    ctl.ok("submit", "-a", "1-3", "true")  # ids 1-3
    ctl.submit("-d", "1_2", "true")
    ctl.submit("-d", "4", "true")
    said = "job 1_{} would wait for itself (1_{} -> {})"
    assert ctl.fails(1, "update", "1", "-d", "5") == said.format(2, 2, "5 -> 4 -> 1_2")
    assert ctl.fails(1, "update", "1", "-d", "1_3") == said.format(3, 3, "1_3")
    assert ctl.fails(1, "update", "1", "-d", "1") == said.format(1, 1, "1_1")
    assert ctl.fails(1, "update", "1", "-d", "2-3") == said.format(3, 3, "1_3")
    assert ctl.fails(1, "update", "4", "-d", "aftercorr:5,1") == "job 4 would wait for itself (4 -> 5 -> 4)"
    ctl.end_job(2)
    ctl.ok("update", "1", "-d", "5")
    assert "4" in ctl.fails(1, "update", "4", "-d", "1")


def test_a_cycle_through_a_name_is_refused(chain: Ctl) -> None:
    chain.ok("update", "4", "--singleton")
    assert chain.fails(1, "update", "2", "-d", "4") == "job 2 would wait for itself (2 -> 4 -> 2)"
    chain.submit("-n", "other", "-d", "3", "true")
    assert chain.fails(1, "update", "2-3", "-d", "5", "--singleton") == "job 2 would wait for itself (2 -> 5 -> 3 -> 2)"


def test_a_new_name_closes_no_cycle(ctl: Ctl) -> None:
    """1 waits for 3, which waits for its earlier namesakes."""
    for words in (["-n", "a"], ["-n", "b"], ["-n", "b", "--singleton"]):
        ctl.submit(*words, "true")
    ctl.ok("update", "1", "-d", "3")
    assert ctl.fails(1, "update", "3", "-n", "a") == "job 3 would wait for itself (3 -> 1 -> 3)"
    assert ctl.fails(1, "update", "1", "-n", "b") == "job 1 would wait for itself (1 -> 3 -> 1)"
    assert ctl.fails(1, "update", "1,3", "-n", "c") == "job 1 would wait for itself (1 -> 3 -> 1)"
    ctl.ok("update", "3", "-n", "c")
    ctl.ok("update", "2", "-n", "a")


def test_a_long_cycle_is_told_briefly(ctl: Ctl) -> None:
    ctl.submit("true")
    spec = ctl.store.read().of("spec")[1]
    with ctl.store.commit() as commit:
        commit.allocate(4999)
        for job_id in range(2, 5001):
            commit.put("spec", job_id, {**spec, "needs": {"dependencies": [{"kind": "afterok", "id": job_id - 1}]}})
    said = ctl.fails(1, "update", "1", "-d", "5000")
    assert said == "job 1 would wait for itself (1 -> 5000 -> 4999 -> 4998 -> 4997 -> 4996 -> ... -> 1)"


def test_retries(chain: Ctl) -> None:
    chain.ok("update", "4", "--max-retries", "3", "--retry-on", "oom,7", "--retry-delay", "5sx2")
    retry = chain.spec(4).retry
    assert (retry.max_retries, retry.on, retry.delay, retry.factor) == (3, ("oom", 7), 5.0, 2.0)
    chain.ok("update", "4", "--requeue", "--clear", "retry-delay")
    retry = chain.spec(4).retry
    assert (retry.max_retries, retry.on, retry.delay) == (3, ("oom", 7, "zombie"), 0.0)
    chain.ok("update", "4", "--clear", "requeue")
    assert chain.spec(4).retry.on == ("oom", 7)
    chain.ok("update", "4", "--max-retries", "0")
    assert chain.spec(4).retry is None
    assert "need --max-retries" in chain.fails(2, "update", "4", "--retry-on", "oom")
    chain.fails(1, "update", "1", "--max-retries", "2")


@pytest.fixture
def sweep(ctl: Ctl) -> Ctl:
    """1 to 4, of which the first runs and the second has ended; 5 is an array, 6 a job."""
    ctl.ok("submit", "--param", "lr=1:4", "--param", "x=a", "--name-template", "{name}-{lr}", "-n", "n", "echo", "{lr}")
    ctl.ok("submit", "-a", "1-1", "true")
    ctl.submit("true")
    ctl.run_job(1)
    ctl.end_job(2)
    return ctl


def params(ctl: Ctl) -> list[str]:
    return [job["params"]["lr"] for job in ctl.jobs("1")]


def test_one_element_gets_another_value(sweep: Ctl) -> None:
    assert sweep.ok("update", "1_2", "--param", "lr=0.5,1") == "Updated job 1_2\n"
    assert params(sweep) == ["1", "2", "0.5,1", "4"]
    job = sweep.jobs("3")[0]
    assert (job["command"], job["name"], job["params"]) == (["echo", "0.5,1"], "n-0.5,1", {"lr": "0.5,1", "x": "a"})
    assert sweep.run("update", "1_2", "--param", "lr=0.5,1").stderr == "gflowctl: job 1 already has these values\n"
    sweep.ok("redo", "1_2,1_3")
    assert [job["params"]["lr"] for job in sweep.jobs("7")] == ["0.5,1", "4"]
    sweep.ok("redo", "1")
    assert [job["params"]["lr"] for job in sweep.jobs("9")] == ["1", "2", "0.5,1", "4"]


def test_of_a_whole_sweep_those_that_wait_get_another_value(sweep: Ctl) -> None:
    sweep.ok("update", "1", "--param", "lr=9", "--param", "x=b", "-p", "20")
    assert params(sweep) == ["1", "2", "9", "9"]
    assert {job["params"]["x"] for job in sweep.jobs("3-4")} == {"b"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["1_0", "--param", "lr=1"], "job 1: --param cannot be changed: 1_0 is running"),
        (["1_[0-2]", "--param", "lr=1"], "job 1: --param cannot be changed: 1_0 is running"),
        (["1_1", "--param", "lr=1"], "job 1: --param cannot be changed: 1_1 is finished"),
        (["1_2", "--param", "lr"], "--param: 'lr' is not a parameter with its value (e.g. lr=0.1)"),
        (["1_2", "--param", "lr=1", "--param", "lr=2"], "--param: lr is given twice"),
        (["1_2", "--param", "seed=1"], "'seed' is not one of its parameters (lr, x)"),
        (["1_2", "--param", f"lr={'y' * 255}"], "the job's name is longer than 255 bytes"),
        (["1_2", "--param", "lr=1", "-g", "1"], "the elements of an array are changed together, except with --param"),
        (["5", "--param", "lr=1"], "job 5: --param is for sweeps"),
        (["6", "--param", "lr=1"], "job 6: --param is for arrays and sweeps"),
        (["6", "--max-failures", "1"], "job 6: --max-failures is for arrays and sweeps"),
        (["5", "--max-concurrent", "0"], "a limit of 0 concurrent jobs is not possible"),
        (["1", "--command", "echo {x}{x}", "--param", f"x={'y' * 70000}"], "is 140000 bytes long"),
    ],
)
def test_what_cannot_be_is_refused(sweep: Ctl, words: list[str], said: str) -> None:
    before = sweep.store.read().lines
    assert said in sweep.fails(1, "update", *words)
    assert sweep.store.read().lines == before


def test_the_limits_of_an_array_are_changed_and_cleared(sweep: Ctl) -> None:
    sweep.ok("limit", "1", "3")
    sweep.ok("update", "1", "--max-concurrent", "2", "--max-failures", "5")
    assert sweep.jobs("1")[0]["max_concurrent"] == 2
    assert sweep.store.read().of("limit") == {}
    assert sweep.spec(1).family.max_failures == 5
    sweep.ok("limit", "1", "4")
    sweep.ok("update", "1", "--clear", "max-concurrent,max-failures")
    assert sweep.jobs("1")[0]["max_concurrent"] is None
    assert sweep.spec(1).family.max_failures is None


def test_the_conda_environment(chain: Ctl) -> None:
    chain.ok("update", "4", "--conda-env", "ml")
    assert chain.jobs("4")[0]["conda_env"] == "ml"
    chain.ok("update", "4", "--clear", "conda-env")
    assert chain.jobs("4")[0]["conda_env"] is None
