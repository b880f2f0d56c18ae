"""Jobs in a terminal that nobody sits at: pagers do not wait for a key, and who waits for input is named."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from support.machine import TMUX, Machine
from support.waiting import eventually

pytestmark = pytest.mark.skipif(TMUX is None, reason="tmux is not installed")

SOCKET = "import socket as s; a, b = s.socketpair(); open('ready-socket', 'w').close(); a.recv(1)"
WAITING = {
    "input": [sys.executable, "-c", "print('name', input('your name? '))"],
    "password": [sys.executable, "-c", "import getpass; print('name', getpass.getpass())"],
    "a shell": ["sh", "-c", "read x; echo name $x"],
    "a child": ["sh", "-c", f"{sys.executable} -c 'input()' | cat; exit 0"],
    "a thread": [sys.executable, "-c", "import threading; threading.Thread(target=input).start()"],
    "keys": ["sh", "-c", f"stty -icanon; exec {sys.executable} -c 'import select; select.select([0], [], [])'"],
}
AT_WORK = {
    "sleep": ["sleep", "1000"],
    "socket": [sys.executable, "-c", SOCKET],
    "poll": [sys.executable, "-c", "import select; select.select([], [], [], 1000)"],
    "not a terminal": ["sh", "-c", "mkfifo never; read x <never"],
    "writes": ["sh", "-c", "(while :; do echo; sleep 0.2; done) & read x"],
}


def test_who_waits_for_input_is_named_and_nobody_else_is(up: Machine) -> None:
    waiting = {up.submit("--cpus", "0", "--", *command): what for what, command in WAITING.items()}
    at_work = {up.submit("--cpus", "0", "--", *command): what for what, command in AT_WORK.items()}
    plain = up.submit("--cpus", "0", "--executor", "process", "-i", "/dev/zero", "--", "sleep", "1000")
    try:
        mine = {**waiting, **at_work, plain: "without a terminal"}
        eventually(lambda: {mine[i] for i, job in up.jobs().items() if i in mine and job["reason"]} == set(WAITING))
        job_id = min(waiting)
        assert "TerminalInput" in up.ctl("show", str(job_id)).stdout
        assert "gflowctl attach" in up.ctl("show", str(job_id)).stdout
        assert "(TerminalInput)" in up.ctl("queue", str(job_id)).stdout
        up.tmux("send-keys", "-t", f"=gflow-{job_id}:", "Ada", "Enter")
        assert up.wait(job_id) == 0
        assert b"name Ada\n" in up.log(job_id)
        assert up.job(job_id)["reason"] is None
    finally:
        up.cancel(*waiting, *at_work, plain)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_shows_a_long_history_and_ends(up: Machine) -> None:
    def git(*words: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@y"]
        subprocess.run(["git", *identity, *words], cwd=up.work, check=True, env=up.env, capture_output=True)

    git("init", "-q")
    git("config", "core.pager", "sleep 1000 #")
    for number in range(80):
        git("commit", "-q", "--allow-empty", "-m", f"commit {number}")
    env = {**up.env, "PAGER": "sleep 1000 #", "GIT_PAGER": "sleep 1000 #"}
    shown = up.result("git", "log", "--oneline", env=env)
    assert len(shown.splitlines()) == 80


def test_pagers_are_cat_unless_the_submission_names_others(up: Machine) -> None:
    env = {**up.env, "PAGER": "less", "BAT_PAGER": "less -R", "MANPAGER": "most"}
    text = 'echo "$PAGER $GIT_PAGER $MANPAGER $SYSTEMD_PAGER $BAT_PAGER"'
    assert up.result("--wrap", text, env=env) == "cat cat cat cat cat\n"
    assert up.result("--export", "NONE", "--wrap", text, env=env) == "cat cat cat cat \n"
    assert up.result("--export", "ALL,PAGER,MANPAGER=more", "--wrap", text, env=env) == "less cat more cat cat\n"


def test_the_answers_of_a_terminal_are_no_output(up: Machine) -> None:
    asked = r"\033[c\033[6n"
    answered = 'stty -icanon; until [ "$(head -c 1)" = R ]; do :; done'  # with which the second one ends
    job_id = up.submit("--wrap", f"echo one; printf '{asked}'; {answered}; echo two; echo '^[[?1;2c is text'")
    assert up.wait(job_id) == 0
    assert up.log(job_id) == b"one\n\x1b[c\x1b[6ntwo\n^[[?1;2c is text\n"
    followed = up.ctl("log", "-f", str(job_id)).stdout.encode()
    assert followed == up.log(job_id)
    assert up.ctl("log", "--last", "2", str(job_id)).stdout.endswith("two\n^[[?1;2c is text\n")


def test_what_is_typed_at_a_terminal_is_still_shown_there(up: Machine) -> None:
    job_id = up.submit("--wrap", "printf '\\033[c'; read x; echo got $x")
    up.until(job_id, "running")  # before, it has no log
    eventually(lambda: b"\x1b[c" in up.log(job_id))
    up.tmux("send-keys", "-t", f"=gflow-{job_id}:", "Ada", "Enter")
    up.wait(job_id)
    assert b"Ada\n" in up.log(job_id)
