"""Many jobs from lines of JSON: all or none."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowctl import main
from gflowctl.submit import json_lines
from gflowd.core.errors import Refused

if TYPE_CHECKING:
    from support.ctl import Ctl


def lines(*jobs: Any) -> str:
    return "".join(f"{job if isinstance(job, str) else json.dumps(job)}\n" for job in jobs)


def test_each_line_is_a_job(ctl: Ctl) -> None:
    jobs = lines(
        {"command": ["echo", "a b"], "gpus": 1, "time": "2h", "name": "x", "cpus-per-task": 3, "hold": True},
        {"command": "echo $HOME | wc", "nice": -5, "depends_on": None, "append": False},
        {"wrap": "true", "memory": 512, "retry-on": ["oom", 3], "max_retries": 2},
    )
    assert ctl.ok("submit", "--from", "-", input=jobs) == "Submitted batch jobs 1-3\n"
    one, two, three = map(ctl.spec, (1, 2, 3))
    assert (one.command, one.gpus, one.time_limit, one.name, one.cpus) == (("echo", "a b"), 1, 7200, "x", 3)
    assert (two.command, two.name, two.priority) == (("sh", "-c", "echo $HOME | wc"), "wrap", 15)
    assert (three.memory_mb, three.retry.on, one.submitted_at) == (512, ("oom", 3), three.submitted_at)
    assert [job["state"] for job in ctl.jobs()] == ["held", "queued", "queued"]


def test_a_file_is_read_as_well(ctl: Ctl) -> None:
    (ctl.home / "jobs").write_text(lines({"command": ["true"]}, "", "  ", {"command": ["true"]}).rstrip("\n"))
    assert ctl.ok("submit", "--from", "jobs", "--parsable") == "1-2\n"
    assert [job["id"] for job in json.loads(ctl.ok("submit", "--from", "jobs", "--json"))] == [3, 4]
    assert "jobs: line 1: " in ctl.fails(1, "submit", "--from", "jobs", "--project", "x" * 70)


def test_options_of_the_command_line_are_for_lines_that_say_nothing_else(ctl: Ctl) -> None:
    jobs = lines({"command": ["true"]}, {"command": ["false"], "project": "own", "gpus": 0, "hold": False})
    ctl.ok("submit", "--from", "-", "-P", "all", "-g", "1", "--hold", input=jobs)
    assert [(job["project"], job["gpus"], job["state"]) for job in ctl.jobs()] == [
        ("all", 1, "held"),
        ("own", 0, "queued"),
    ]


def test_a_line_may_be_an_array_or_a_sweep(ctl: Ctl) -> None:
    jobs = lines(
        {"command": ["true"], "array": "1-3%2"},
        {"command": ["false"]},
        {"command": ["echo", "{lr}"], "param": {"lr": [0.1, 0.01], "seed": "1:2"}},
        {"command": ["true"], "param": ["x=1,2"]},
        {"command": ["true"], "array": [4, 9]},
    )
    assert ctl.ok("submit", "--from", "-", "--parsable", input=jobs) == "1-12\n"
    found = ctl.jobs()
    assert [job["array_id"] for job in found] == [1, 1, 1, None, 5, 5, 5, 5, 9, 9, 11, 11]
    assert found[4]["params"] == {"lr": "0.1", "seed": "1"}
    assert [job["array_index"] for job in found[-2:]] == [4, 9]


def test_a_line_may_wait_for_jobs_that_are_there(ctl: Ctl) -> None:
    ctl.submit("true")
    jobs = lines({"command": ["true"], "depends_on": 1}, {"command": ["false"], "depends-on-any": [1, "@"]})
    ctl.ok("submit", "--from", "-", input=jobs)
    assert [ctl.spec(job_id).needs.ids for job_id in (2, 3)] == [(1,), (1,)]
    jobs = lines({"command": ["true"]}, {"command": ["false"], "depends_on": "afterok:4"})
    assert ctl.fails(1, "submit", "--from", "-", input=jobs) == "line 2: no job 4"
    assert len(ctl.jobs()) == 3


def test_a_line_may_be_a_script_with_a_head(ctl: Ctl) -> None:
    (ctl.home / "job.sh").write_text("#!/bin/sh\n#SBATCH --mem-per-cpu=1G --gres=gpu:1\n# GFLOW --name=head --hold\n")
    (ctl.home / "bad.sh").write_text("#!/bin/sh\n# GFLOW --gpus=many\n")
    jobs = lines({"command": ["job.sh", "1"], "cpus": 4}, {"command": ["job.sh"], "name": "own", "hold": False})
    ctl.ok("submit", "--from", "-", "-c", "2", input=jobs)
    one, two = ctl.spec(1), ctl.spec(2)
    assert (one.name, one.memory_mb, one.gpus, one.slurm, two.name, two.memory_mb) == (
        "head", 4096, 1, True, "own", 2048,
    )  # fmt: skip
    assert one.script == two.script
    assert [job["state"] for job in ctl.jobs()] == ["held", "queued"]
    said = ctl.fails(1, "submit", "--from", "-", input=lines({"command": ["bad.sh"]}))
    assert said.startswith("line 1: bad.sh: line 2: -g/--gpus")


def test_a_rehearsal_tells_of_the_first(ctl: Ctl) -> None:
    jobs = lines(*({"command": ["echo", str(number)]} for number in range(25)))
    said = ctl.ok("submit", "--from", "-", "--dry-run", input=jobs).splitlines()
    assert said[0] == "Would submit echo: no GPU, 1 CPU; echo 0"
    assert said[20:] == ["... and 5 more"]
    assert not Path(ctl.state.snapshot).exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON: "),
        ("true", "not a JSON object"),
        ('["echo"]', "not a JSON object"),
        ("[" * 100_000, "JSON is nested too deeply"),
        ("{}", "command is missing"),
        ({"command": []}, "command is missing"),
        ({"command": ["a", 1]}, "command is missing"),
        ({"command": 7}, "command is missing"),
        ({"command": "a", "wrap": "b"}, "either command or wrap"),
        ({"command": "  "}, "--wrap: the text is empty"),
        ({"command": [""]}, "the command is empty"),
        ({"command": ["-x"]}, "begins with a dash"),
        ({"command": ["--"]}, "the command is empty"),
        ({"command": ["a"], "gpu": 1}, "no option 'gpu' (did you mean gpus?)"),
        ({"command": ["a"], "": 1}, "no option ''"),
        ({"command": ["a"], "gpus": "many"}, "gpus: 'many' is not a number"),
        ({"command": ["a"], "gpus": "9" * 100_000}, "gpus: '999"),
        ({"command": ["a"], "gpus": -1}, "gpus: '-1' is not a number"),
        ({"command": ["a"], "gpus": True}, "gpus is a string or a number"),
        ({"command": ["a"], "gpus": {}}, "gpus is a string or a number"),
        ({"command": ["a"], "array": [[1]]}, "array is a string or a number"),
        ({"command": ["a"], "param": 5}, "--param: "),
        ({"command": ["a"], "hold": "yes"}, "hold is true or false"),
        ({"command": ["a"], "hold": 1}, "hold is true or false"),
        ({"command": ["a"], "executor": "screen"}, "executor: 'screen' is none of tmux, process"),
        ({"command": ["a"], "json": True}, "json applies to all jobs together"),
        ({"command": ["a"], "from": "x"}, "from applies to all jobs together"),
        ({"command": ["a"], "state-dir": "x"}, "state-dir applies to all jobs together"),
        ({"command": ["a"], "name": "a\0b"}, "contains a NUL character"),
        ({"command": ["a\0b"]}, "contains a NUL character"),
        ({"command": ["a", "\ud800"]}, "is not valid UTF-8"),
        ({"command": ["a", "x" * 200_000]}, "the limit is 131071"),
        ({"command": ["a", *["x" * 100_000] * 21]}, "the limit is 2000000"),
        ({"command": ["a"], "time": "soon"}, "time: "),
        ({"command": ["a"], "begin": "never"}, "--begin: "),
        ({"command": ["a"], "output": "/dev/null/x"}, "--output /dev/null/x: /dev/null is not a directory"),
        ({"command": ["a"], "depends-on": "9"}, "no job 9"),
        ({"command": ["a"], "follow": True}, "follow applies to all jobs together"),
        ({"command": ["a"], "comment": "x", "retry-on": "oom"}, "--retry-on and --retry-delay need --max-retries"),
    ],
)
def test_one_wrong_line_is_named_and_nothing_is_queued(ctl: Ctl, line: Any, said: str) -> None:
    jobs = lines({"command": ["a"]}, "", line, {"command": ["b"]})
    found = ctl.fails(1, "submit", "--from", "-", input=jobs)
    assert found.startswith("line 3: ")
    assert said in found
    assert len(found) < 1000
    assert not Path(ctl.state.snapshot).exists() or not ctl.jobs()


PARSER = main.parser("submit")
NAMES = sorted(
    name.removeprefix("--")
    for action in PARSER.actions
    for name in action.option_strings  # type: ignore[attr-defined]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["2", "1-3", "4G"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(["command", "wrap", *NAMES]) | st.text(max_size=5), VALUES, max_size=4))
def test_any_object_is_read_or_refused(job: dict[str, Any]) -> None:
    with contextlib.suppress(Refused):
        found = json_lines.Reader(PARSER).options(json.dumps(job).encode())  # type: ignore[arg-type]
        assert ("command" in found) != ("wrap" in found)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(line: bytes) -> None:
    with contextlib.suppress(Refused):
        json_lines.Reader(PARSER).options(line)  # type: ignore[arg-type]


def test_bytes_that_are_no_text_are_named(ctl: Ctl) -> None:
    (ctl.home / "jobs").write_bytes(b'{"command": ["a"]}\n{"command": ["\xff"]}\n')
    assert ctl.fails(1, "submit", "--from", "jobs") == "jobs: line 2: not valid UTF-8"


@pytest.mark.parametrize("name", ["no-such", ".", "a\nb", "/proc/self/mem"])
def test_a_file_that_cannot_be_read_is_named(ctl: Ctl, name: str) -> None:
    assert ctl.fails(1, "submit", "--from", name).startswith("--from ")


def test_a_line_without_end_is_no_trouble(ctl: Ctl) -> None:
    assert ctl.fails(1, "submit", "--from", "/dev/zero") == "/dev/zero: line 1: longer than 16 MiB"


def test_nothing_to_submit_is_said(ctl: Ctl) -> None:
    assert ctl.fails(1, "submit", "--from", "-", input="\n \n") == "--from -: it contains no job"


@pytest.mark.parametrize("words", [["true"], ["--wrap", "x"], ["--follow"], ["--", "true"]])
def test_options_that_do_not_go_together(ctl: Ctl, words: list[str]) -> None:
    ctl.fails(2, "submit", "--from", "-", *words, input=lines({"command": ["a"]}))


def test_ten_thousand_jobs_are_one_commit_and_one_environment(ctl: Ctl) -> None:
    jobs = lines(*({"command": ["echo", str(number)], "name": f"n{number}"} for number in range(10_000)))
    assert ctl.ok("submit", "--from", "-", "--parsable", input=jobs) == "1-10000\n"
    assert len(os.listdir(ctl.state.path("env"))) == 1
    assert ctl.spec(10_000).name == "n9999"


def test_options_of_slurm_are_those_of_a_line_too(ctl: Ctl) -> None:
    line = {"command": ["true"], "gres": "gpu:a100:2", "open-mode": "append", "output": "x", "partition": "p"}
    ctl.ok("submit", "--from", "-", input=json.dumps(line) + '\n{"command": ["true"], "gpus": 3}')
    assert [(ctl.spec(job_id).gpus, ctl.spec(job_id).gpu_type) for job_id in (1, 2)] == [(2, "a100"), (3, None)]
    assert ctl.spec(1).append
    wrong = json.dumps({"command": ["true"], "gres": "nvme:1"})
    assert "line 1: gres: 'nvme:1': gflow supports GPUs" in ctl.fails(1, "submit", "--from", "-", input=wrong)


def test_a_partition_is_said_to_have_no_effect(ctl: Ctl) -> None:
    assert ctl.run("submit", "--dry-run", "--partition", "gpu", "true").stderr == (
        "gflowctl: --partition=gpu has no effect\n"
    )
    assert ctl.ok("submit", "--partition", "gpu", "true")
