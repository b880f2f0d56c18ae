from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.waiting import eventually

if TYPE_CHECKING:
    from support.ctl import Ctl


def environment(ctl: Ctl, job_id: int) -> dict[bytes, bytes]:
    content = Path(ctl.state.environment(ctl.spec(job_id).env)).read_bytes()
    return dict(variable.split(b"=", 1) for variable in content.split(b"\0")[:-1])


def test_ids_are_printed_as_scripts_expect(ctl: Ctl) -> None:
    assert ctl.ok("submit", "true") == "Submitted batch job 1\n"
    assert ctl.ok("batch", "--parsable", "true") == "2\n"
    assert [job["id"] for job in json.loads(ctl.ok("submit", "--json", "true"))] == [3]


def test_a_job_is_what_was_asked_for(ctl: Ctl) -> None:
    begun = time.time()
    job_id = ctl.submit(
        "-g", "2", "-c", "3", "-m", "1.5G", "-t", "1-12", "--grace", "90s", "-n", "näme", "-p", "200", "-P", " ml ",
        "--comment", "first", "--executor", "process", "--auto-close", "--begin", "now+1h",
        "python3", "train.py", "-g", "1", "--", "x",
    )  # fmt: skip
    spec = ctl.spec(job_id)
    assert spec.command == ("python3", "train.py", "-g", "1", "--", "x")
    assert (spec.gpus, spec.cpus, spec.memory_mb, spec.time_limit, spec.grace) == (2, 3, 1536, 129600, 90)
    assert (spec.name, spec.priority, spec.project, spec.comment) == ("näme", 200, "ml", "first")
    assert spec.executor == "process"
    assert begun + 3600 - 1 <= spec.begin_at <= time.time() + 3600
    assert spec.cwd == str(ctl.home)
    assert begun <= spec.submitted_at <= time.time()


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["--gres", "gpu:2"], "gpus", 2),
        (["--gres=gpu"], "gpus", 1),
        (["--gres=gpu:a100:2"], "gpus", 2),
        (["--gres=gpu:a100:2"], "gpu_type", "a100"),
        (["-G", "2"], "gpus", 2),
        (["-G", "a100:2"], "gpu_type", "a100"),
        (["--gpus-per-node", "a100:3"], "gpus", 3),
        (["-g", "gpu:2"], "gpus", 2),
        (["--open-mode=append", "-o", "x"], "append", True),
        (["--append", "--open-mode=truncate", "-o", "x"], "append", False),
        (["--cpus-per-task", "0"], "cpus", 0),
        (["--mem", "512"], "memory_mb", 512),
        (["--max-mem", "1G"], "memory_mb", 1024),
        (["--max-memory", "1G"], "memory_mb", 1024),
        (["--time-limit", "30"], "time_limit", 1800),
        (["--timelimit", "90s"], "time_limit", 90),
        (["--time", "0"], "time_limit", None),
        (["-J", "a"], "name", "a"),
        (["--job-name", "a"], "name", "a"),
        (["-A", "ml"], "project", "ml"),
        (["--account", "ml"], "project", "ml"),
        ([], "name", "true"),
        ([], "cpus", 1),
        ([], "priority", 10),
    ],
)
def test_other_spellings_and_defaults(ctl: Ctl, words: list[str], field: str, value: object) -> None:
    assert getattr(ctl.spec(ctl.submit(*words, "/bin/true")), field) == value


def test_a_line_of_shell(ctl: Ctl) -> None:
    spec = ctl.spec(ctl.submit("--wrap", "echo hi | wc"))
    assert (spec.command, spec.name) == (("sh", "-c", "echo hi | wc"), "wrap")


def test_a_script_is_kept_as_it_was(ctl: Ctl) -> None:
    script = ctl.home / "train.sh"
    script.write_bytes(b"#!/bin/sh\necho \xff\n")
    spec = ctl.spec(ctl.submit("train.sh", "arg"))
    script.unlink()
    kept = Path(ctl.state.script(spec.script))
    assert kept.read_bytes() == b"#!/bin/sh\necho \xff\n"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert (spec.command, spec.name) == (("train.sh", "arg"), "train.sh")


def test_after_two_dashes_a_script_is_a_command(ctl: Ctl) -> None:
    (ctl.home / "train.sh").write_text("#!/bin/sh\n")
    assert ctl.spec(ctl.submit("--", "./train.sh")).script is None


def test_a_file_that_nothing_can_run_is_refused(ctl: Ctl) -> None:
    (ctl.home / "notes").write_text("hello")
    assert "neither executable nor a script" in ctl.fails(1, "submit", "./notes")
    assert "neither executable nor a script" in ctl.fails(1, "submit", "notes")


def test_an_unknown_command_is_queued_since_the_job_may_find_it(ctl: Ctl) -> None:
    done = ctl.run("submit", "no-such-command")
    assert (done.returncode, done.stdout) == (0, "Submitted batch job 1\n")
    assert "no-such-command: not found on the job's PATH" in done.stderr


def test_a_path_to_nothing_is_refused_unless_it_may_come(ctl: Ctl) -> None:
    assert "./gone: there is no such file" in ctl.fails(1, "submit", "./gone", "1")
    ctl.submit("true")
    for words in (("--depends-on", "1"), ("--hold",), ("--begin", "now+1h")):
        done = ctl.run("submit", *words, "./gone")
        assert done.returncode == 0
        assert "./gone: there is no such file yet" in done.stderr
    (ctl.home / "place").mkdir()
    for name in ("./place", str(ctl.home)):
        assert f"{name} is a directory" in ctl.fails(1, "submit", name)
        assert f"{name} is a directory" in ctl.fails(1, "submit", "--hold", name)


@pytest.mark.parametrize(
    "line", ["echo a", "make && ./run", "ls|wc", "a;b", "echo hi >file", "python train.py --lr 0.1"]
)
def test_a_line_of_shell_in_one_word_is_refused_with_what_to_write(ctl: Ctl, line: str) -> None:
    assert f"--wrap '{line}'" in ctl.fails(1, "submit", line)
    assert f"--wrap '{line}'" in ctl.fails(1, "submit", "--", line)
    ctl.ok("submit", "--wrap", line)


def test_a_program_whose_name_has_blanks_is_one(ctl: Ctl) -> None:
    program = ctl.home / "my tool"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    ctl.ok("submit", "./my tool")


def test_the_environment_is_the_submitter_s(ctl: Ctl) -> None:
    handler = "BASH_FUNC_command_not_found_handle%%"
    ctl.env |= {"A": "1\n2", "GFLOW_JOB_ID": "7", "GFLOW_ARRAY_JOB_ID": "7", "GFLOW_ATTEMPT": "2", "SLURM_JOB_ID": "7",
                "TMUX": "x", "TMUX_PANE": "x", "GFLOW_PARAM_X": "1", "GFLOW_SUBMIT_DIR": "/", "GFLOW_SCRIPT": "/x",
                "GFLOW_SCRIPT_DIR": "/", "GFLOW_JOB_TMPDIR": "/tmp/g/7", "TMPDIR": "/tmp/g/7",
                "ENVIRONMENT": "BATCH", handler: f"() {{ exec '{ctl.state.root}/bin'/\"$1\"; }}",
                "BASH_FUNC_mine%%": "() { echo; }"}  # fmt: skip
    path = ctl.env["PATH"]
    ctl.env["PATH"] = f"{ctl.state.root}/bin:{path}"
    raw = {os.fsencode(name): os.fsencode(value) for name, value in ctl.env.items()} | {b"RAW": b"\xff\xfe"}
    ctl.env = raw
    found = environment(ctl, ctl.submit("true"))
    assert found[b"A"] == b"1\n2"
    assert found[b"RAW"] == b"\xff\xfe"
    lent = {b"TMPDIR", b"ENVIRONMENT", os.fsencode(handler)}
    assert not lent & found.keys(), "they are the submitting job's alone"
    assert (found[b"PATH"], found[b"BASH_FUNC_mine%%"]) == (path.encode(), b"() { echo; }")
    assert found[b"GFLOW_STATE_DIR"] == raw[b"GFLOW_STATE_DIR"]
    assert not [
        name
        for name in found
        if name.startswith((b"GFLOW_JOB", b"GFLOW_ARR", b"GFLOW_P", b"GFLOW_ATT", b"SLURM", b"TMUX", b"GFLOW_S"))
        and name != b"GFLOW_STATE_DIR"
    ]


def test_equal_environments_are_stored_once_and_private(ctl: Ctl) -> None:
    assert ctl.spec(ctl.submit("true")).env == ctl.spec(ctl.submit("true")).env
    kept = Path(ctl.state.environment(ctl.spec(1).env))
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_exports(ctl: Ctl) -> None:
    ctl.env["A"] = "1"
    login = {b"HOME", b"PATH", b"PAGER", b"GIT_PAGER", b"MANPAGER", b"SYSTEMD_PAGER"}
    none = environment(ctl, ctl.submit("--export", "NONE", "true"))
    assert (login <= set(none), b"A" in none, b"PYTHONPATH" in none) == (True, False, False)
    named = environment(ctl, ctl.submit("--export=A,B=2,MISSING", "true"))
    assert (named[b"A"], named[b"B"]) == (b"1", b"2")
    assert b"MISSING" not in named
    assert b"PYTHONPATH" not in named
    both = environment(ctl, ctl.submit("--export=ALL,A=3", "true"))
    assert both[b"A"] == b"3"
    assert b"PYTHONPATH" in both


def test_the_umask_is_the_submitter_s(ctl: Ctl) -> None:
    ctl.ok("submit", "true", umask=0o027)
    assert ctl.spec(1).umask == 0o027


def test_links_in_the_working_directory_keep_their_names(ctl: Ctl) -> None:
    (ctl.home / "real").mkdir()
    (ctl.home / "link").symlink_to("real")
    ctl.env["PWD"] = str(ctl.home / "link")
    ctl.ok("submit", "true", cwd=ctl.home / "link")
    assert ctl.spec(1).cwd == str(ctl.home / "link")
    ctl.ok("submit", "-D", "../real", "true", cwd=ctl.home / "link")
    assert ctl.spec(2).cwd == str(ctl.home / "real")
    ctl.env["PWD"] = "/"
    ctl.ok("submit", "true", cwd=ctl.home / "link")
    assert ctl.spec(3).cwd == str(ctl.home / "real")


def test_output_files_are_absolute_patterns(ctl: Ctl) -> None:
    work = ctl.home / "50%"
    work.mkdir()
    (work / "in").write_text("x")
    job_id = ctl.submit("-D", "50%", "-o", "%x-%j.out", "-e", "/tmp/%u.err", "-i", "in", "--append", "true")
    spec = ctl.spec(job_id)
    assert spec.output == f"{ctl.home}/50%%/%x-%j.out"
    assert (spec.error, spec.input, spec.append) == ("/tmp/%u.err", f"{work}/in", True)
    assert ctl.jobs()[0]["output"] == f"{work}/true-1.out"


def test_a_held_job_is_held_from_the_first_moment(ctl: Ctl) -> None:
    ctl.submit("--hold", "true")
    assert [(job["state"], job["reason"]) for job in ctl.jobs()] == [("held", "JobHeldUser")]


def test_a_dry_run_changes_nothing(ctl: Ctl) -> None:
    assert ctl.ok("submit", "--dry-run", "-g", "1", "echo", "a b") == "Would submit echo: 1 GPU, 1 CPU; echo 'a b'\n"
    assert json.loads(ctl.ok("submit", "--dry-run", "--json", "echo"))[0]["id"] is None
    assert not Path(ctl.state.root).exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["submit"], "nothing to run"),
        (["submit", "--"], "nothing to run"),
        (["submit", "--wrap", "x", "true"], "either --wrap or a command"),
        (["submit", "--gpus", "x", "true"], "-g/--gpus/-G/--gpus-per-node/--gres: 'x' is not a number"),
        (["submit", "--gres", "nvme:1", "true"], "'nvme:1': gflow supports GPUs of one type"),
        (["submit", "-G", "a100:x", "true"], "'a100:x': gflow supports GPUs of one type"),
        (["submit", "--open-mode", "x", "true"], "--open-mode: 'x' is neither append nor truncate"),
        (["submit", "--gpus", "-1", "true"], "is not a number"),
        (["submit", "--cpus", "99999999999999999999", "true"], "is not a number"),
        (["submit", "--memory", "lots", "true"], "not an amount of memory"),
        (["submit", "--time", "soon", "true"], "not a duration"),
        (["submit", "--priority", "256", "true"], "not a priority"),
        (["submit", "--begin", "later", "true"], "--begin: 'later' is not an instant"),
        (["submit", "--executor", "docker", "true"], "invalid choice"),
        (["submit", "--tim", "1", "true"], "unrecognized arguments: --tim"),
        (["submit", "--name"], "expected one argument"),
        (["submit", "--json", "--parsable", "true"], "either --parsable or --json"),
    ],
)
def test_wrong_usage_is_one_line_and_changes_nothing(ctl: Ctl, words: list[str], said: str) -> None:
    assert said in ctl.fails(2, *words)
    assert not Path(ctl.state.snapshot).exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--", "-x"], "begins with a dash"),
        ([""], "empty"),
        (["--wrap", " "], "empty"),
        (["--name", "", "true"], "name cannot be empty"),
        (["--chdir", "missing", "true"], "--chdir: missing is not a directory"),
        (["--output", "/dev/null/x/%j", "true"], "/dev/null is not a directory"),
        (["--output", "..", "true"], "is a directory"),
        (["--error", "%q", "true"], "%q is not a pattern"),
        (["--output", "", "true"], "does not name a file"),
        (["--input", "missing", "true"], "no such file"),
        (["--input", ".", "true"], "is a directory"),
        (["--export", "=1", "true"], "is not a variable name"),
        ([b"\xff"], "not valid UTF-8"),
        (["--name", b"\xff", "true"], "not valid UTF-8"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(ctl: Ctl, words: list[str | bytes], said: str) -> None:
    assert said in ctl.fails(1, "submit", *words)
    assert not Path(ctl.state.snapshot).exists()


def test_the_longest_string_that_the_kernel_takes_is_taken(ctl: Ctl) -> None:
    assert ctl.submit("--export=NONE", "true", "x" * 131071) == 1


def test_an_environment_too_large_to_start_is_refused(ctl: Ctl) -> None:
    ctl.env |= {f"V{number}": "x" * 100_000 for number in range(19)}
    ctl.submit("--export=NONE", "true")
    assert "the limit is 2000000" in ctl.fails(1, "submit", "true", "x" * 100_000)


def test_a_directory_that_is_gone(ctl: Ctl) -> None:
    gone = ctl.home / "gone"
    gone.mkdir()
    words = ["sh", "-c", 'cd "$0" && rmdir "$0" && exec "$@"', str(gone)]
    words += [sys.executable, "-m", "gflowctl", "submit", "true"]
    done = subprocess.run(words, env=ctl.env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the current directory is gone" in done.stderr


def test_capacity_is_what_the_daemon_last_saw(ctl: Ctl) -> None:
    ctl.submit("--gpus", "64", "true")
    ctl.observe()
    assert ctl.submit("--gpus", "2", "true") == 2
    assert ctl.fails(1, "submit", "--gpus", "3", "true") == "3 GPUs asked for, but this machine has 2"
    assert "5 CPUs" in ctl.fails(1, "submit", "--cpus", "5", "true")
    assert "9G" in ctl.fails(1, "submit", "--memory", "9G", "true")


def test_projects_are_checked_against_the_daemon_s_configuration(ctl: Ctl) -> None:
    ctl.observe(config={"known_projects": ["ml"], "require_project": True})
    assert "a project is required" in ctl.fails(1, "submit", "true")
    assert "not a known project" in ctl.fails(1, "submit", "-P", "art", "true")
    assert ctl.submit("-P", "ml", "true") == 1


def test_a_configuration_newer_than_the_daemon_s_counts(ctl: Ctl) -> None:
    ctl.observe()
    config = ctl.home / ".config/gflow/gflow.toml"
    config.parent.mkdir(parents=True)
    config.write_text("[projects]\nrequire_project = true\n")
    assert "a project is required" in ctl.fails(1, "submit", "true")
    ctl.env["GFLOW_PROJECTS__REQUIRE_PROJECT"] = "false"
    assert ctl.submit("true") == 1


def test_a_named_configuration_must_exist(ctl: Ctl) -> None:
    assert "missing.toml" in ctl.fails(1, "submit", "--config", "missing.toml", "true")


def test_waiting_ends_with_the_job_s_status(ctl: Ctl) -> None:
    waiting = ctl.start("submit", "--wait", "true")
    eventually(lambda: ctl.store.read().of("spec"))
    ctl.end_job(1, "failed", exit_code=7, reason="NonZeroExit")
    out, err = waiting.communicate(timeout=60)
    assert (waiting.returncode, out) == (7, b"Submitted batch job 1\n")
    said = b"failed: NonZeroExit (the command ended with exit code 7); gflowctl log 1 shows its output"
    assert err == b"gflowctl: job 1 (true) %b\n" % said


def test_following_shows_the_output_to_the_last_byte(ctl: Ctl) -> None:
    waiting = ctl.start("submit", "--follow", "true")
    eventually(lambda: ctl.store.read().of("spec"))
    log = ctl.run_job(1, executor="tmux")
    log.write_bytes(b"one\r\ntwo\r")
    time.sleep(0.1)
    with log.open("ab") as file:
        file.write(b"\nthree")
    ctl.end_job(1, "cancelled", executor="tmux")
    out, _ = waiting.communicate(timeout=60)
    assert (waiting.returncode, out) == (130, b"Submitted batch job 1\none\ntwo\nthree")


def test_a_state_directory_open_to_others_is_refused(ctl: Ctl) -> None:
    Path(ctl.state.root).mkdir(mode=0o755)
    assert "chmod 700" in ctl.fails(1, "submit", "true")
    assert "chmod 700" in ctl.fails(1, "queue")


def test_a_store_of_environments_open_to_others_is_refused_even_where_nothing_is_to_be_added(ctl: Ctl) -> None:
    ctl.run("submit", "true")
    env = Path(ctl.state.path("env"))
    env.chmod(0o750)
    assert f"chmod 700 {env}" in ctl.fails(1, "submit", "true")
    env.chmod(0o700)
    ctl.run("submit", "true")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_stdout_does_not_hide_that_the_job_is_queued(ctl: Ctl) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "gflowctl", "submit", "true"], env=ctl.env, stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False)  # fmt: skip
    assert done.returncode == 3
    assert done.stderr == "gflowctl: job 1 is queued, but standard output: No space left on device\n"


def variables(ctl: Ctl, *words: str, env: dict[str, str]) -> dict[bytes, bytes]:
    """What a job finds of GFLOW's and of those set for the submission."""
    job_id = int(ctl.ok("submit", "--parsable", *words, "true", env=ctl.env | env).splitlines()[-1])
    pairs = Path(ctl.state.environment(ctl.spec(job_id).env)).read_bytes().split(b"\0")
    return dict(pair.split(b"=", 1) for pair in pairs if pair)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("export", "found"),
    [
        ("ALL,LIST='a,b'", {b"LIST": b"a,b", b"MINE": b"1"}),
        ('LIST="a,b",OTHER=c', {b"LIST": b"a,b", b"OTHER": b"c"}),
        ("LIST='it''s'", {b"LIST": b"'it''s'"}),  # no quotes around a value, and no comma either
        ("NAME=it's", {b"NAME": b"it's"}),
        ("all", {b"MINE": b"1"}),
        ("All,A=all", {b"MINE": b"1", b"A": b"all"}),
        ("none", {}),
        ("MINE, A=1 ", {b"MINE": b"1", b"A": b"1"}),
        ("A='',B=", {b"A": b"", b"B": b""}),
    ],
)
def test_what_is_exported(ctl: Ctl, export: str, found: dict[bytes, bytes]) -> None:
    there = variables(ctl, "--export", export, env={"MINE": "1"})
    assert {
        name: value for name, value in there.items() if name in (b"MINE", b"LIST", b"NAME", b"A", b"B", b"OTHER")
    } == found


def test_a_variable_that_is_set_nowhere_is_told(ctl: Ctl) -> None:
    done = ctl.run("submit", "--dry-run", "--export", "ALL,NO_SUCH_VARIABLE,B=", "true")
    assert done.returncode == 0
    assert "--export: NO_SUCH_VARIABLE is not set" in done.stderr
    for wrong in ("1A=2", "a b=c", "ALL,/x"):
        assert "is not a variable name" in ctl.fails(1, "submit", "--export", wrong, "true")


def test_a_shell_script_from_windows_is_refused_whichever_line_tells(ctl: Ctl) -> None:
    script = ctl.home / "job.sh"
    for text, line in (("#!/bin/bash\n\necho hi\r\n", 3), ("#!/usr/bin/env bash\n# x\r\necho hi\r\necho ho\r\n", 3)):
        script.write_bytes(text.encode())
        assert f"line {line} ends in CR LF" in ctl.fails(1, "submit", str(script))
    script.write_bytes(b"#!/bin/bash\necho hi\ncat <<END\na\r\nEND\n")
    done = ctl.run("submit", "--dry-run", str(script))
    assert done.returncode == 0
    assert "line 4 ends in CR LF" in done.stderr
    script.write_bytes(b"#!/usr/bin/env python3\nprint(1)\r\n")
    ctl.ok("submit", str(script))


def test_a_link_in_place_of_the_state_directory_is_refused_with_the_directory_to_name(ctl: Ctl) -> None:
    place = ctl.home / "place"
    place.mkdir(mode=0o700)
    link = ctl.home / "link"
    link.symlink_to(place)
    env = {**ctl.env, "GFLOW_STATE_DIR": str(link)}
    for words in (("submit", "true"), ("queue",)):
        assert f"GFLOW_STATE_DIR={place}" in ctl.fails(1, *words, env=env)


def test_a_configuration_without_what_gflowctl_needs_is_not_even_parsed(ctl: Ctl) -> None:
    config = ctl.home / "my.toml"
    config.write_text("[executor]\ngrace = 5\n")
    env = {**ctl.env, "GFLOW_CONFIG": str(config)}
    code = "import sys; from gflowctl.main import main; main(['submit', 'true']); print('tomllib' in sys.modules)"
    words = [sys.executable, "-c", code]
    for text, parsed in (("[executor]\ngrace = 5\n", False), ("[projects]\nknown = ['ml']\n", True)):
        config.write_text(text)
        done = subprocess.run(words, env=env, cwd=ctl.home, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == str(parsed)
