from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import elapsed

from gflowctl.main import COMMANDS, GROUPS, parser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ctl import Ctl


def facts(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def test_show_tells_all_about_a_job(ctl: Ctl) -> None:
    ctl.submit(
        "-g",
        "2",
        "-t",
        "1h",
        "-P",
        "ml",
        "--comment",
        "try 1",
        "-o",
        "%j.out",
        "-e",
        "err",
        "-n",
        "x",
        "python3",
        "a b.py",
        "it's",
    )
    ctl.run_job(1, gpu_ids=(0, 1))
    began, asked = datetime.fromisoformat(ctl.jobs("1")[0]["started_at"]).timestamp(), time.time()
    found = {key: value.strip() for key, value in facts(ctl.ok("show", "1")).items()}
    assert found["Command"] == """python3 'a b.py' 'it'"'"'s'"""
    assert found["Resources"] == "2 GPUs, 1 CPU, 1:00:00 at most"
    assert (found["GPU ids"], found["State"], found["Project"], found["Process"]) == ("0,1", "running", "ml", "4242")
    assert elapsed.is_left(found["Time left"], until=began + 3600, asked=asked)
    assert found["Output"] == f"{ctl.home}/1.out"
    ctl.end_job(1, "failed", signal=9, reason="Signaled:SIGKILL")
    found = {key: value.strip() for key, value in facts(ctl.ok("show", "@")).items()}
    assert found["Signal"] == "9 (SIGKILL)"
    assert found["Reason"].startswith("Signaled:SIGKILL (")
    assert found["Elapsed"] == "1:00"


def test_show_aligns_and_separates(ctl: Ctl) -> None:
    ctl.submit("true")
    ctl.submit("--begin", "now+1h", "--hold", "true")
    blocks = ctl.ok("show", "1-2").split("\n\n")
    assert len(blocks) == 2
    for block in blocks:
        keys = [line.split(":")[0] for line in block.splitlines()]
        column = max(map(len, keys)) + 2
        assert all(line[column] != " " and line[column - 1] == " " for line in block.splitlines())


def test_show_as_json_and_script(ctl: Ctl) -> None:
    (ctl.home / "s").write_text("#!/bin/sh\necho hi\n")
    ctl.submit("./s")
    assert ctl.ok("show", "1", "--script") == "#!/bin/sh\necho hi\n"
    more = {"attempts": [], "cause": None, "last_lines": []}
    assert json.loads(ctl.ok("show", "1", "--json")) == [{**ctl.jobs("1")[0], **more}]
    ctl.submit("true")
    assert "not a script" in ctl.fails(1, "show", "2", "--script")
    assert json.loads(ctl.ok("show", "--script", "--json", "1"))[0]["script_text"] == "#!/bin/sh\necho hi\n"
    ctl.fails(2, "show")


PROCESS = {"pid": 77, "user": "bob", "job_id": None, "start": 9, "memory_mb": 5}
GPUS = [
    {"index": 0, "uuid": "GPU-0", "model": "Fake A", "memory_mb": 24576, "used_mb": 12288, "utilisation": 90,
     "temperature": 61, "state": "busy", "simulated": True, "cause": None, "jobs": [1], "processes": [PROCESS]},
    {"index": 1, "uuid": "GPU-1", "model": "Fake A", "memory_mb": 24576, "used_mb": 0, "utilisation": None,
     "temperature": None, "state": "idle", "simulated": True, "cause": None, "jobs": [], "processes": []},
]  # fmt: skip


def test_info_without_a_daemon(ctl: Ctl) -> None:
    assert "has never run here" in ctl.ok("info")
    assert json.loads(ctl.ok("info", "--json"))["gpus"] == []
    asked = time.time()
    ctl.observe(gpus=GPUS, used={"cpus": 1, "memory_mb": 4096}, at=asked - 3600, trouble="disk full")
    shown = ctl.ok("info")
    assert "not running" in shown
    ago = re.search(r"it last saw the machine (\S+) ago", shown)
    assert ago is not None
    assert elapsed.is_told(ago[1], since=asked - 3600, asked=asked)
    assert "disk full" in shown
    lines = shown.splitlines()
    assert lines[1].split() == [
        "0",
        "Fake",
        "A",
        "[########........]",
        "12G/24G",
        "90%",
        "61C",
        "busy",
        "(simulated)",
        *("job", "1,", "pid", "77", "of", "bob"),
    ]
    assert lines[2].split()[4:] == ["0M/24G", "-", "-", "idle", "(simulated)", "-"]
    assert "[####............] 1 of 4 allocated to jobs" in shown
    assert "4G of 8G" in shown
    found = json.loads(ctl.ok("info", "--json"))
    free = {"idle_jobs": [], "reservation": {"now": None, "next": None}}
    assert (found["gpus"], found["cpus"], found["memory"]) == (
        [{**gpu, **free} for gpu in GPUS], {"total": 4, "used": 1}, {"total_mb": 8192, "used_mb": 4096},
    )  # fmt: skip
    assert found["daemon"]["running"] is False


def test_resources_are_explained_by_what_is_short(ctl: Ctl) -> None:
    ctl.submit("-g", "2", "-c", "4", "-m", "8G", "true")
    ctl.observe(gpus=GPUS, used={"cpus": 1, "memory_mb": 4096}, reasons={"1": "Resources"})
    from gflowctl.context import Context
    from gflowctl.machine.explanations import Explainer
    from gflowctl.view.views import View

    context = Context(ctl.env, None, ctl.state.root)
    view = View(context, context.store.read())
    said = Explainer(view).words(view.job(1), "Resources")
    assert said == "Resources (waits for 2 GPUs, 1 idle, 4 CPUs, 3 free, 8G memory, 4G free)"


def test_doctor_fails_where_nothing_can_be_made(ctl: Ctl) -> None:
    (ctl.home / "file").touch()
    place = str(ctl.home / "file" / "deep" / "state")
    done = ctl.run("doctor", "--state-dir", place)
    assert done.returncode == 1
    assert f"{place} cannot be created: {ctl.home / 'file'} is not writable" in done.stdout


def test_doctor_on_nothing_and_on_something(ctl: Ctl) -> None:
    first = ctl.run("doctor")
    assert first.returncode == 0, first
    assert not Path(ctl.state.root).exists()
    ctl.submit("true")
    ctl.observe(gpus=[{**GPUS[0], "state": "faulty", "cause": "lost"}])
    shown = ctl.run("doctor").stdout
    assert "1 submission, read in" in shown
    assert "WARN  gflowd is not running: gflowd start" in shown
    assert "WARN  GPU 0 is faulty: lost" in shown
    found = json.loads(ctl.ok("doctor", "--json"))
    assert {finding["level"] for finding in found} <= {"ok", "WARN"}
    assert set(found[0]) == {"level", "text", "remedy"}


def test_doctor_fails_on_what_must_be_mended(ctl: Ctl) -> None:
    Path(ctl.state.root).mkdir(mode=0o755)
    done = ctl.run("doctor")
    assert done.returncode == 1
    assert "FAIL" in done.stdout
    assert "chmod 700" in done.stdout
    Path(ctl.state.root).chmod(0o700)
    ctl.env["GFLOW_RUNTIME_DIR"] = "/tmp/" + "x" * 100
    assert "too long for a socket" in ctl.run("doctor").stdout


@pytest.fixture
def server(ctl: Ctl) -> Iterator[Ctl]:
    """A tmux server with sessions of the jobs 1 (running), 2 (finished), 3 (failed), and others."""
    if shutil.which("tmux") is None:
        pytest.skip("no tmux")
    for name in ("a", "b", "c"):
        ctl.submit("-n", name, "true")
    ctl.run_job(1, executor="tmux")
    ctl.end_job(2)
    ctl.end_job(3, "failed", exit_code=1)
    ctl.observe()
    Path(ctl.state.default_run()).mkdir(mode=0o700)
    socket = f"{ctl.state.default_run()}/tmux.sock"

    def tmux(*words: str) -> str:
        return subprocess.run(
            ["tmux", "-S", socket, *words], capture_output=True, text=True, check=False, env=ctl.env
        ).stdout

    for name in ("gflow-1", "gflow-2", "gflow-2-2", "gflow-3", "gflow-20", "mine"):
        tmux("-f", "/dev/null", "new-session", "-d", "-s", name, "cat")
    ctl.sessions = lambda: set(tmux("list-sessions", "-F", "#{session_name}").split())
    yield ctl
    tmux("kill-server")


def test_closing_sessions(server: Ctl) -> None:
    assert "not ended" in server.fails(1, "close-sessions", "1")
    assert server.ok("close-sessions", "2") == "Closed the session of job 2\n"
    assert server.sessions() == {"gflow-1", "gflow-3", "gflow-20", "mine"}
    assert server.run("close-sessions", "2").stderr == "gflowctl: no session to close\n"
    assert server.run("close-sessions", "--state", "finished").stdout == ""
    assert server.ok("close-sessions", "--pattern", "^c$") == "Closed the session of job 3\n"
    assert server.ok("close-sessions", "--all") == "Closed the session of job 20\n"
    assert server.sessions() == {"gflow-1", "mine"}


def test_closing_sessions_needs_to_know_which(ctl: Ctl) -> None:
    ctl.fails(2, "close-sessions")
    ctl.fails(2, "close-sessions", "1", "--all")
    ctl.fails(2, "close-sessions", "--pattern", "(")
    assert ctl.run("close-sessions", "--all").returncode == 0


def test_attaching_becomes_tmux_of_that_session(server: Ctl) -> None:
    done = server.run("attach", "1", "--read-only", stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "not a terminal" in done.stderr  # tmux's own words: it was asked, and found the session


def test_completion(ctl: Ctl) -> None:
    done = ctl.run("completion", "bash")
    assert done.returncode == 0 or "not part of this installation" in done.stderr
    assert "invalid choice" in ctl.fails(2, "completion", "tcsh")


def test_the_overview_names_every_command(ctl: Ctl) -> None:
    shown = ctl.ok()
    assert ctl.ok("--help") == shown
    for name, (_, aliases, summary) in COMMANDS.items():
        assert f"  {', '.join((name, *aliases)):<18}{summary}\n" in shown
    assert sorted(name for _, names in GROUPS for name in names) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(ctl: Ctl, name: str) -> None:
    shown = ctl.ok(name, "--help")
    assert shown.startswith("usage: gflowctl")
    assert max(map(len, shown.splitlines())) <= 80
    assert "%" not in "".join(action.help or "" for action in parser(name)._actions)


def test_global_options_stand_before_and_after_the_command(ctl: Ctl) -> None:
    ctl.submit("true")
    other = str(ctl.home / "other")
    before = ctl.ok("--state-dir", other, "submit", "true")
    after = ctl.ok("submit", "--state-dir", other, "true")
    assert (before, after) == ("Submitted batch job 1\n", "Submitted batch job 2\n")
    assert len(json.loads(ctl.ok(f"--state-dir={other}", "queue", "--json"))) == 2
    assert ctl.ok("--version") == ctl.ok("queue", "--version") == "gflowctl 0.1.0\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [(["quueue"], "did you mean queue?"), (["--nonsense"], "unrecognized arguments: --nonsense (see"),
     (["queue", "--states-of", "x", "-z"], "unrecognized arguments: --states-of -z (did you mean --states?)"),
     (["reserve", "list", "--rang", "1d"], "did you mean --range?"), (["queue", "--a-y"], "--a-y (see"),
     (["--state-dir"], "expected one argument")],
)  # fmt: skip
def test_an_unknown_command_or_option(ctl: Ctl, words: list[str], said: str) -> None:
    assert said in ctl.fails(2, *words)


def test_a_word_without_end_does_not_fill_the_screen(ctl: Ctl) -> None:
    assert len(ctl.fails(2, "x" * 100_000)) < 600


def test_a_fault_of_ours_is_one_line(ctl: Ctl) -> None:
    faulty = (
        "import sys, gflowctl.commands.show as show; show.run = None; from gflowctl.main import main; sys.exit(main())"
    )

    def said(**more: str) -> str:
        words = [sys.executable, "-c", faulty, "show", "1"]
        done = subprocess.run(words, env=ctl.env | more, capture_output=True, text=True, check=False)
        assert done.returncode == 3
        return done.stderr

    assert said().startswith("gflowctl: internal error: TypeError")
    assert said().count("\n") == 1
    assert "Traceback" in said(GFLOW_DEBUG="1")
