"""Scripts that come through standard input, a descriptor or a pipe; and commands, which leave all of these alone."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl

SCRIPT = b"#!/bin/sh\n# GFLOW --gpus=2 --time=2h\n#SBATCH --comment=kept\necho \xff $1\n"
SHELL = "exec 2>&1; gflowctl() { " + f"{sys.executable} -m gflowctl" + ' "$@"; }; '
NOTHING = "nothing to run: give a command, a script"


def kept(ctl: Ctl, job_id: int) -> bytes:
    return Path(ctl.state.script(ctl.spec(job_id).script)).read_bytes()


def shell(ctl: Ctl, text: str, program: str = "bash") -> str:
    """What a line of shell prints, in which gflowctl is there."""
    done = subprocess.run([program, "-c", SHELL + text], cwd=ctl.home, env=ctl.env, stdout=subprocess.PIPE, check=False,
                          text=True, timeout=120)  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("words", [(), ("-",), ("/dev/stdin",), ("/dev/fd/0",), ("/proc/self/fd/0",)])
@pytest.mark.parametrize("through", ["file", "pipe", "socket"])
def test_a_script_on_standard_input_is_kept_with_its_head(ctl: Ctl, words: tuple[str, ...], through: str) -> None:
    (ctl.home / "s.sh").write_bytes(SCRIPT)
    by = {"file": "gflowctl submit @ <s.sh", "pipe": "cat s.sh | gflowctl submit @", "socket": ""}[through]
    if through == "socket":
        import socket

        ours, theirs = socket.socketpair()
        ours.sendall(SCRIPT)
        ours.close()
        with theirs:
            done = subprocess.run([sys.executable, "-m", "gflowctl", "submit", *words], cwd=ctl.home, env=ctl.env,
                                  stdin=theirs, capture_output=True, text=True, check=False, timeout=60)  # fmt: skip
        assert (done.stdout, done.stderr) == ("Submitted batch job 1\n", "")
    else:
        assert shell(ctl, by.replace("@", " ".join(words))) == "Submitted batch job 1\n"
    spec = ctl.spec(1)
    assert (spec.gpus, spec.time_limit, spec.comment, spec.slurm) == (2, 7200, "kept", True)
    assert kept(ctl, 1) == SCRIPT
    assert spec.name == ("script" if words and "fd" in words[0] else "stdin")


def test_what_follows_goes_to_the_script(ctl: Ctl) -> None:
    ctl.ok("submit", "--name", "mine", "-", "a b", "--gpus=9", input="#!/bin/sh\n# GFLOW --gpus=2 --name=no\n")
    spec = ctl.spec(1)
    assert (spec.name, spec.gpus, spec.command[1:]) == ("mine", 2, ("a b", "--gpus=9"))


@pytest.mark.parametrize("program", ["sh", "bash"])
def test_here_documents(ctl: Ctl, program: str) -> None:
    text = "gflowctl submit --parsable -c 3 <<'EOF'\n#!/bin/sh\n# GFLOW --name=here\ntrue\nEOF\n"
    assert shell(ctl, text, program) == "1\n"
    assert (ctl.spec(1).name, ctl.spec(1).cpus, kept(ctl, 1)) == ("here", 3, b"#!/bin/sh\n# GFLOW --name=here\ntrue\n")


def test_the_output_of_a_program_as_a_file(ctl: Ctl) -> None:
    (ctl.home / "s.sh").write_bytes(SCRIPT)
    assert shell(ctl, "gflowctl submit --parsable <(cat s.sh) x </dev/null") == "1\n"
    assert (ctl.spec(1).name, ctl.spec(1).gpus, ctl.spec(1).command[1:]) == ("script", 2, ("x",))
    assert kept(ctl, 1) == SCRIPT
    shell(ctl, "mkfifo pipe; cat s.sh >pipe & gflowctl submit pipe; wait")
    assert (ctl.spec(2).name, kept(ctl, 2)) == ("pipe", SCRIPT)
    assert shell(ctl, "exec 7<s.sh; gflowctl submit --parsable /dev/fd/7") == "3\n"
    assert kept(ctl, 3) == SCRIPT


def test_many_jobs_of_one_script(ctl: Ctl) -> None:
    (ctl.home / "s.sh").write_bytes(SCRIPT)
    assert shell(ctl, "gflowctl submit --parsable --array=1-3 <s.sh") == "1-3\n"
    assert shell(ctl, "cat s.sh | gflowctl submit --parsable --param=x=1,2 - {x}") == "4-5\n"
    assert [job["command"][1:] for job in ctl.jobs("4-5")] == [["1"], ["2"]]


def test_a_dry_run_keeps_nothing(ctl: Ctl) -> None:
    (ctl.home / "s.sh").write_bytes(SCRIPT)
    assert shell(ctl, "gflowctl submit --dry-run <s.sh").startswith("Would submit stdin: 2 GPUs, 1 CPU, 2:00:00")
    assert not Path(ctl.state.path("scripts")).exists()


@pytest.mark.parametrize("command", ["true", "--wrap=true", "./s.sh", "-- true", "''", "-", "--array=1-2 true"])
def test_a_loop_over_lines_goes_on(ctl: Ctl, command: str) -> None:
    """A submission that has a command never touches standard input."""
    (ctl.home / "s.sh").write_bytes(SCRIPT)
    (ctl.home / "list").write_text("a\nb\nc\n")
    text = f"while read -r line; do gflowctl submit --hold {command} >/dev/null 2>&1; echo $line; done <list"
    assert shell(ctl, text).split() == (["a"] if command == "-" else ["a", "b", "c"])
    assert shell(ctl, text.replace("<list", "") + " < <(cat list)").split() == (["a"] if command == "-" else [*"abc"])


def bare(ctl: Ctl, *words: str, **settings: Any) -> str:
    return ctl.fails(2, "submit", *words, **settings)


@pytest.mark.parametrize("words", [(), ("--gpus=1",), ("--array=1-3",), ("--dry-run",)])
def test_a_bare_submission_is_wrong_usage(ctl: Ctl, words: tuple[str, ...]) -> None:
    assert NOTHING in bare(ctl, *words, stdin=subprocess.DEVNULL)
    assert NOTHING in bare(ctl, *words, input="")
    assert shell(ctl, f"gflowctl submit {' '.join(words)} <&-").startswith(f"gflowctl: {NOTHING}")
    with (ctl.home / "empty").open("w+b") as empty:
        assert NOTHING in bare(ctl, *words, stdin=empty)
    with open("/dev/zero", "rb") as zeros:
        assert NOTHING in bare(ctl, *words, stdin=zeros)
    leader, follower = pty.openpty()
    os.write(leader, b"#!/bin/sh\n")
    assert NOTHING in bare(ctl, *words, stdin=follower)
    os.close(leader)
    os.close(follower)
    assert not Path(ctl.state.snapshot).exists()


def test_two_dashes_without_a_command_are_wrong_usage_whatever_is_there(ctl: Ctl) -> None:
    assert NOTHING in bare(ctl, "--", input=SCRIPT.decode("latin-1"))


def test_a_pipe_in_which_nothing_ever_comes_does_not_hold_a_bare_submission_for_ever(ctl: Ctl) -> None:
    read, write = os.pipe()
    said = bare(ctl, stdin=read)
    os.close(read)
    os.close(write)
    assert said.startswith("nothing came on standard input within 10 s; submit - waits for it")


@pytest.mark.parametrize("words", [(), ("-",), ("/dev/stdin",)])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("echo no\n", "standard input is not a script: its first line does not begin with #!"),
        ("\n#!/bin/sh\n", "standard input is not a script: its first line does not begin with #!"),
        ("\ufeff#!/bin/sh\n", "standard input is not a script: its first line begins with a byte order mark, not #!"),
        ("#!/bin/sh\r\ntrue\r\n", "/dev/stdin: line 1 ends in CR LF"),
        ("#!/bin/sh\n# GFLOW --gpus=many\n", "/dev/stdin: line 2: "),
        ("#!/bin/sh\n#SBATCH -J a\0b\n", "/dev/stdin: line 2: the directive holds a control character"),
        ("#!/bin/sh\n" + "#" * (16 << 20), "standard input is larger than 16 MiB"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_script_is_refused(ctl: Ctl, words: tuple[str, ...], content: str, said: str) -> None:
    assert ctl.fails(1, "submit", *words, input=content).startswith(said)
    assert not Path(ctl.state.snapshot).exists()


@pytest.mark.parametrize("word", ["-", "/dev/stdin", "/dev/fd/0"])
def test_an_empty_script_that_was_asked_for_is_refused(ctl: Ctl, word: str) -> None:
    assert ctl.fails(1, "submit", word, stdin=subprocess.DEVNULL) == "standard input is empty"
    assert ctl.fails(1, "submit", word, input="") == "standard input is empty"
    assert shell(ctl, f"gflowctl submit {word} <&-") == "gflowctl: standard input is empty\n"


def test_a_descriptor_that_is_not_there_and_what_is_no_command(ctl: Ctl) -> None:
    assert ctl.fails(1, "submit", "/dev/fd/77") == "/dev/fd/77: there is no such file"
    assert ctl.fails(1, "submit", "/dev/zero") == "/dev/zero is a device, not a command"
    os.mkfifo(ctl.home / "pipe")
    assert ctl.fails(1, "submit", "--", "./pipe") == "./pipe is a pipe, not a command"


def test_lines_of_jobs_name_no_stream(ctl: Ctl) -> None:
    """The jobs may themselves come through it."""
    for word in ("-", "/dev/stdin", "/dev/fd/0"):
        said = ctl.fails(1, "submit", "--from", "-", input=json.dumps({"command": [word]}))
        assert said == "line 1: a job of --from cannot have its script on standard input or another descriptor"
    assert not Path(ctl.state.snapshot).exists()


def test_another_script_for_a_job_that_waits(ctl: Ctl) -> None:
    (ctl.home / "old.sh").write_text("#!/bin/sh\ntrue\n")
    (ctl.home / "s.sh").write_bytes(SCRIPT)
    ctl.submit("old.sh", "a")
    for number, text in enumerate(("--script - 1 <s.sh", "--script <(cat s.sh) 1", "--script /dev/stdin 1 <s.sh")):
        (ctl.home / "s.sh").write_bytes(b"%b# %d\n" % (SCRIPT, number))
        assert shell(ctl, f"gflowctl update {text}") == "Updated job 1\n"
        assert (kept(ctl, 1), ctl.spec(1).command[1:]) == (b"%b# %d\n" % (SCRIPT, number), ("a",))
    assert ctl.fails(1, "update", "--script", "-", "1", input="echo\n").startswith("--script: standard input is not")


def test_a_job_is_no_child_of_the_script_that_submits_it(ctl: Ctl) -> None:
    env = {**ctl.env, "GFLOW_SCRIPT": "/a/b", "GFLOW_SCRIPT_DIR": "/a"}
    ctl.ok("submit", "true", env=env)
    assert b"GFLOW_SCRIPT" not in Path(ctl.state.environment(ctl.spec(1).env)).read_bytes()
