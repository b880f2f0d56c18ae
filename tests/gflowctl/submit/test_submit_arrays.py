"""Arrays and sweeps from the command line: submitted, named, listed, changed. No daemon runs; the test plays it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.imports import TOO_DEAR_FOR_SUBMIT, imported

from gflowd.core.job.dependencies import Dependency

if TYPE_CHECKING:
    from support.ctl import Ctl

MANY = 100_000


def rows(text: str) -> list[list[str]]:
    """The cells of a table, without its header."""
    return [line.split() for line in text.splitlines()[1:]]


def first_cells(text: str) -> list[str]:
    return [row[0] for row in rows(text)]


def test_an_array_takes_an_id_for_each_element(ctl: Ctl) -> None:
    assert ctl.ok("submit", "--array", "1-10", "true") == "Submitted batch jobs 1-10\n"
    assert ctl.ok("submit", "--parsable", "-a", "0-20:5,30", "true") == "11-16\n"
    assert ctl.ok("submit", "--parsable", "-a", "7", "true") == "17\n"
    assert ctl.submit("true") == 18
    found = ctl.jobs("11")
    assert [(job["id"], job["array_id"], job["array_index"]) for job in found] == [
        (11, 11, 0), (12, 11, 5), (13, 11, 10), (14, 11, 15), (15, 11, 20), (16, 11, 30),
    ]  # fmt: skip
    assert list(ctl.store.read().of("spec")) == [1, 11, 17, 18]


def test_a_sweep_runs_every_combination(ctl: Ctl) -> None:
    words = ("--param", "lr=0:1:0.5", "--param", "seed=3,4", "--name-template", "r{seed}-{lr}-{index}")
    ctl.ok("submit", *words, "--max-concurrent", "2", "--", "echo", "--lr={lr}", "{seed}", "{print}")
    found = ctl.jobs()
    assert [job["params"] for job in found] == [
        {"lr": lr, "seed": seed} for lr in ("0", "0.5", "1") for seed in ("3", "4")
    ]
    assert found[3]["command"] == ["echo", "--lr=0.5", "4", "{print}"]
    assert found[3]["name"] == "r4-0.5-3"
    assert {(job["group"], job["max_concurrent"]) for job in found} == {(1, 2)}


def test_a_table_gives_parameters(ctl: Ctl) -> None:
    (ctl.home / "runs.csv").write_text('lr,what\n0.1,"a, b"\n0.2,c\n')
    ctl.ok("submit", "--param-file", "runs.csv", "--param", "seed=1:2", "echo", "{what}", "{seed}")
    assert [job["command"] for job in ctl.jobs()] == [
        ["echo", "a, b", "1"], ["echo", "c", "1"], ["echo", "a, b", "2"], ["echo", "c", "2"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "words", "said"),
    [
        (1, ("-a", "1-"), "--array: '1-' is not an index or range (such as 1-10, 0-20:5 or 1,4,9)"),
        (1, ("-a", "5-1"), "--array: '5-1' runs backwards; write the smaller index first"),
        (1, ("-a", "1-3%0"), "--array: '0' after % must be a number of elements of at least 1"),
        (1, ("-a", "1,1"), "--array: index 1 is given twice"),
        (1, ("-a", "1-3", "--max-concurrent", "0"), "a limit of 0 concurrent jobs is not possible; the minimum is 1"),
        (1, ("-a", "1-3", "--max-failures", "0"), "a limit of 0 failures is not possible; the minimum is 1"),
        (1, ("-a", "1-3", "--param", "x=1"), "give either an array or parameters, not both"),
        (2, ("-a", "1-3", "--follow"),
         "--follow shows one job; use --wait, and gflowctl log JOB_INDEX for the output of one element"),
        (2, ("-a", "1-3%2", "--max-concurrent", "2"),
         "give either --max-concurrent or a number after % in --array, not both"),
        (2, ("--max-failures", "2"), "--max-failures needs --array, --param or --param-file"),
        (2, ("--name-template", "x"), "--name-template needs --array, --param or --param-file"),
        (1, ("--param", "x"), "--param: 'x' is not a parameter (such as lr=0.1,0.01 or seed=1:10 or lr=0:1:0.1)"),
        (1, ("--param", "x=1", "--param", "x=2"), "the parameter x is given twice"),
        (1, ("--param", "x=1", "--name-template", "{missing}"),
         "the template '{missing}' uses 'missing', which is not a parameter (known: index, name, x)"),
        (1, ("--param", "x=1", "--name-template", "{x"),
         "the template '{x' has a single {; write {{ for a brace"),
        (1, ("--param", f"x={'y' * 251}", "--name-template", "name-{x}"), "the job's name is longer than 255 bytes"),
        (1, ("--param-file", "none.csv"), "--param-file none.csv: No such file or directory"),
        (1, ("--param-file", "headless.csv"),
         "--param-file headless.csv: the header's '1' cannot be a parameter's name; "  # noqa: ISC004 -- one sentence
         "the first line must name the columns"),
        (1, ("--param-file", "ragged.csv"), "--param-file ragged.csv: line 3 has 1 values, the header 2"),
        (1, ("--param-file", "empty.csv"), "--param-file empty.csv: there is no header"),
        (1, ("--param-file", "latin.csv"), "--param-file latin.csv: not valid UTF-8"),
    ],
)  # fmt: skip
def test_a_wrong_array_or_sweep_is_one_clear_line_and_queues_nothing(
    ctl: Ctl, status: int, words: tuple[str, ...], said: str
) -> None:
    for name, content in (
        ("headless.csv", b"1,2\n3,4\n"), ("ragged.csv", b"a,b\n1,2\n3\n"), ("empty.csv", b""),
        ("latin.csv", b"a\n\xe4\n"),
    ):  # fmt: skip
        (ctl.home / name).write_bytes(content)
    assert ctl.fails(status, "submit", *words, "true").removesuffix(" (see gflowctl submit --help)") == said
    assert ctl.jobs() == []


def test_a_value_may_not_make_the_command_impossible(ctl: Ctl) -> None:
    (ctl.home / "empty.csv").write_text('program\necho\n""\n')
    assert ctl.fails(1, "submit", "--param-file", "empty.csv", "--", "{program}") == "the command is empty"
    assert ctl.jobs() == []


def test_a_dry_run_tells_of_the_first_and_counts_the_rest(ctl: Ctl) -> None:
    lines = ctl.ok("submit", "-a", "1-30", "--dry-run", "true").splitlines()
    assert lines[0] == "Would submit true [1]: no GPU, 1 CPU; true"
    assert (len(lines), lines[-1]) == (21, "... and 10 more")
    assert [job["id"] for job in ctl.jobs()] == []


def test_queue_folds_what_waits_and_lists_what_runs(ctl: Ctl) -> None:
    ctl.ok("submit", "-a", "1-9:2%2", "true")
    ctl.run_job(2)
    ctl.end_job(3, exit_code=0)
    assert first_cells(ctl.ok("queue")) == ["1_[1,7-9:2%2]", "1_3"]
    assert first_cells(ctl.ok("queue", "-a")) == ["1_[1,7-9:2%2]", "1_3", "1_5"]
    assert first_cells(ctl.ok("queue", "-r")) == ["1_1", "1_3", "1_7", "1_9"]
    assert first_cells(ctl.ok("queue", "1_[7-9:2]")) == ["1_[7-9:2%2]"]
    assert first_cells(ctl.ok("queue", "-s", "R")) == ["1_3"]
    ctl.ok("hold", "1_9")
    assert [row[:4:3] for row in rows(ctl.ok("queue"))] == [["1_[1,7%2]", "PD"], ["1_3", "R"], ["1_9", "H"]]


def test_what_is_scattered_is_not_named_at_any_length(ctl: Ctl) -> None:
    ctl.ok("submit", "-a", "1-200", "true")
    ctl.ok("hold", f"1_[{','.join(map(str, range(1, 200, 2)))}]")
    labels = first_cells(ctl.ok("queue"))
    assert all(len(label) < 60 and label.endswith(",...]") for label in labels), labels


def test_the_first_waiting_element_tells_the_reason_of_the_others(ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    from gflowctl.context import Context
    from gflowctl.view import reasons, views

    ctl.ok("submit", "-a", "1-5%1", "true")
    ctl.run_job(1)
    ctl.observe(reasons={"2": "Group"})
    context = Context(ctl.env)
    monkeypatch.setattr(type(context), "daemon_runs", True)
    view = views.View(context, ctl.store.read())
    assert [reasons.reason(view, view.job(job_id)) for job_id in (1, 2, 5)] == [None, "Group", "Group"]


def test_elements_are_named_by_their_index(ctl: Ctl) -> None:
    ctl.submit("true")
    ctl.ok("submit", "-a", "1-5", "true")
    assert [job["array_index"] for job in ctl.jobs("2_[2-3],2_5")] == [2, 3, 5]
    assert [job["array_index"] for job in ctl.jobs("@")] == [1, 2, 3, 4, 5]
    assert [job["array_index"] for job in ctl.jobs("3")] == [2]
    assert [job["id"] for job in ctl.jobs("@~1")] == [1]
    assert ctl.fails(1, "cancel", "2_[5-7],1_1,99") == "no job 2_[6-7], 1_1, 99"
    assert ctl.fails(2, "log", "2") == "2 is an array; give one of its elements, e.g. 2_1"
    assert ctl.fails(1, "log", "2_3").startswith("job 2_3 has not started")


def test_an_array_is_held_released_and_cancelled_whole_or_in_part(ctl: Ctl) -> None:
    ctl.ok("submit", "-a", "1-5", "true")
    assert ctl.ok("hold", "1_[2-3]") == "Held jobs 1_[2-3]\n"
    done = ctl.run("hold", "1")
    assert (done.stdout, done.stderr) == ("Held jobs 1_[1,4-5]\n", "gflowctl: each of 1_[2-3] is already held\n")
    ctl.run_job(1)
    done = ctl.run("release", "1")
    assert (done.returncode, done.stdout) == (0, "Released jobs 1_[2-5]\n")
    done = ctl.run("hold", "1")
    assert (done.returncode, done.stdout) == (0, "Held jobs 1_[2-5]\n")
    assert done.stderr == "gflowctl: job 1_1 is running; only queued jobs can be held\n"
    assert ctl.fails(1, "hold", "1_1") == "job 1_1 is running; only queued jobs can be held"
    assert ctl.ok("cancel", "1") == "Cancelled jobs 1_[2-5]\nStopping job 1_1\n"
    assert {job["state"] for job in ctl.jobs("1_[2-5]")} == {"cancelled"}


def test_wait_waits_for_every_element(ctl: Ctl) -> None:
    ctl.ok("submit", "-a", "1-3", "true")
    ctl.end_job(1, exit_code=0)
    waiting = ctl.start("wait", "1")
    ctl.waits(waiting)
    ctl.end_job(3, "failed", exit_code=9)
    ctl.waits(waiting)
    assert waiting.poll() is None
    ctl.end_job(2, "failed", exit_code=4)
    waiting.communicate(timeout=60)
    assert waiting.returncode == 9
    assert ctl.run("wait", "1_2").returncode == 4
    assert ctl.run("wait", "--any", "1_1").returncode == 0


def needs_of(ctl: Ctl, job_id: int) -> Any:
    return ctl.spec(job_id).needs.dependencies


def test_a_dependency_names_an_array_or_an_element(ctl: Ctl) -> None:
    ctl.ok("submit", "-a", "1-3", "true")
    whole, element, corresponding = (
        int(ctl.ok("submit", "--parsable", *words, "true").partition("-")[0])
        for words in (("-d", "1"), ("-d", "1_[1,3]"), ("-a", "2-3", "-d", "aftercorr:1"))
    )
    assert needs_of(ctl, whole) == (Dependency(kind="afterok", id=1),)
    assert needs_of(ctl, element) == tuple(Dependency(kind="afterok", id=each, element=True) for each in (1, 3))
    assert needs_of(ctl, corresponding) == (Dependency(kind="aftercorr", id=1),)
    assert "1 to finish (3 queued)" in ctl.ok("show", str(whole))
    assert "all of 1_1 to finish (queued), 1_3 to finish (queued)" in ctl.ok("show", str(element))
    for job_id in (1, 2):
        ctl.end_job(job_id, exit_code=0)
    reasons = {job["id"]: job["reason"] for job in ctl.jobs()}
    assert reasons[whole] == "Dependency"
    assert reasons[corresponding] == "DaemonDown"
    assert reasons[corresponding + 1] == "Dependency"
    tree = ctl.ok("queue", "--tree")
    assert first_cells(tree)[0] == "1_3"
    assert rows(tree)[1][:2] == ["\\_", str(whole)]


def test_show_sums_up_an_array(ctl: Ctl) -> None:
    ctl.ok("submit", "--param", "x=1:4", "--max-failures", "2", "echo", "{x}")
    ctl.run_job(1)
    ctl.end_job(2, "failed", exit_code=1)
    shown = dict(line.split(":", 1) for line in ctl.ok("show", "1").splitlines())
    shown = {key: value.strip() for key, value in shown.items()}
    assert shown["Array"] == "1"
    assert shown["Elements"] == "1_[0-3], ids 1-4"
    assert shown["States"] == "2 queued, 1 running, 1 failed"
    assert shown["Parameters"] == "x (4 values)"
    assert (shown["Running"], shown["Failed"]) == ("1_0", "1_1")
    one = ctl.ok("show", "1_2")
    assert "1_2 of array 1" in one
    assert "x=3" in one
    assert ctl.ok("show", "3") == one


def test_limit_changes_how_many_run_at_a_time(ctl: Ctl) -> None:
    ctl.ok("submit", "-a", "1-5%2", "true")
    ctl.submit("true")
    assert ctl.ok("limit", "1", "4") == "Limited job 1 to 4 at a time\n"
    assert ctl.store.read().of("limit") == {1: {"max_concurrent": 4}}
    assert first_cells(ctl.ok("queue"))[0] == "1_[1-5%4]"
    assert ctl.run("limit", "1", "4").stderr == "gflowctl: job 1 is already limited to 4 at a time\n"
    assert ctl.fails(1, "limit", "1", "0") == (
        "with a limit of 0, nothing would run; gflowctl hold keeps jobs from starting"
    )
    assert ctl.fails(1, "limit", "6", "2") == "job 6 is not an array or sweep"
    assert ctl.fails(1, "limit", "1_2", "2") == "1_2 is a part of array 1; give the whole array"
    assert ctl.fails(1, "limit", "99", "2") == "no job 99"


def test_an_array_is_updated_as_a_whole(ctl: Ctl) -> None:
    ctl.ok("submit", "-a", "1-3", "true")
    ctl.run_job(1)
    assert ctl.ok("update", "-p", "20", "1") == "Updated jobs 1_[1-3]\n"
    assert list(ctl.store.read().of("spec")) == [1]
    assert {job["priority"] for job in ctl.jobs()} == {20}
    assert "changed together" in ctl.fails(1, "update", "-g", "1", "1_2")


def test_an_array_is_redone_whole_or_in_part(ctl: Ctl) -> None:
    ctl.ok("submit", "--param", "x=a,b,c", "echo", "{x}")
    ctl.ok("submit", "-a", "1-9", "true")
    assert ctl.ok("redo", "1") == "Submitted batch jobs 13-15\n"
    assert ctl.ok("redo", "--parsable", "1_1,1_2") == "16-17\n"
    assert [job["command"][1] for job in ctl.jobs("16")] == ["b", "c"]
    assert ctl.ok("redo", "--parsable", "4_[2-3],4_7") == "18-20\n"
    assert [job["array_index"] for job in ctl.jobs("18")] == [2, 3, 7]


def test_files_carry_array_and_index(ctl: Ctl) -> None:
    ctl.ok("submit", "-a", "4-5", "-o", "%A_%a-%j.out", "true")
    assert [job["output"] for job in ctl.jobs()] == [f"{ctl.home}/1_4-1.out", f"{ctl.home}/1_5-2.out"]


def test_a_large_array_costs_no_more_than_a_job(ctl: Ctl) -> None:
    ctl.submit("--hold", "true")
    job = cpu(ctl, "submit", "--hold", "true"), cpu(ctl, "queue")
    ctl.ok("cancel", "1,2")
    assert cpu(ctl, "submit", "--array", f"1-{MANY}%8", "--", "true") < 8 * job[0]
    assert Path(ctl.state.snapshot).stat().st_size < 4000
    assert first_cells(ctl.ok("queue")) == [f"3_[1-{MANY}%8]"]
    assert cpu(ctl, "queue") < 8 * job[1]
    assert ctl.ok("cancel", "3") == f"Cancelled jobs 3_[1-{MANY}]\n"
    assert ctl.run("wait", "3").returncode == 130


def cpu(ctl: Ctl, *words: str) -> float:
    """Seconds of CPU that gflowctl takes: of those no other process of a busy machine takes any."""
    process = ctl.start(*words)
    process.stdout.read()
    process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    process.stderr.close()
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime


def test_a_plain_submission_imports_nothing_of_arrays(ctl: Ctl) -> None:
    ctl.ok("submit", "-a", "1-3", "true")
    plain = imported(ctl, "submit", "true")
    assert (
        not {
            "gflowd.core.job.arrays",
            "gflowd.core.request.sweep_parameters",
            "gflowctl.submit.sweeps",
            "gflowctl.view.selection",
        }
        & plain
    )
    assert not imported(ctl, "submit", "-a", "1-3%2", "true") & TOO_DEAR_FOR_SUBMIT
    assert not imported(ctl, "submit", "-d", "1_2", "true") & TOO_DEAR_FOR_SUBMIT
