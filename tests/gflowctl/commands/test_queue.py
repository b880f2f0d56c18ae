from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from support import elapsed

from gflowctl.output import render

if TYPE_CHECKING:
    from support.ctl import Ctl

FIELDS = [
    "id", "array_id", "array_index", "name", "user", "project", "comment", "state", "reason", "command", "script",
    "cwd", "params", "gpus", "gpu_ids", "gpu_memory_mb", "shared", "cpus", "memory_mb", "time_limit", "time_left",
    "priority", "dependencies", "dependency_mode", "begin_at", "submitted_at", "started_at", "ended_at",
    "expected_start", "exit_code", "signal", "attempt",
    "max_retries", "redone_from", "group", "max_concurrent", "session", "pid",
    "output", "error", "gpu_type", "gpu_prefer", "deadline", "quiet_limit", "conda_env",
    "early_signal", "suspended_at", "suspended_seconds",
    "rank", "score", "promised_start", "estimated_start", "git", "repeat", "log", "executor", "grace", "retry_on",
    "retry_delay", "retry_factor", "auto_cancel", "input", "append", "submit_dir", "environment", "umask",
    "max_failures", "name_template", "notify_email", "notify_on", "notify", "tasks", "exclusive",
    "cancelled_by", "used", "progress", "progress_text", "progress_at", "progress_source", "expected_end",
    "cluster", "cluster_id", "node",
]  # fmt: skip
SUBMITTED = FIELDS[FIELDS.index("log") : FIELDS.index("progress")]


def ids(ctl: Ctl, *words: str) -> list[int]:
    return [job["id"] for job in ctl.jobs(*words)]


def test_an_empty_queue_is_a_header_and_makes_nothing(ctl: Ctl) -> None:
    assert ctl.ok("queue") == "JOBID  NAME  USER  ST  TIME  GPUS  NODELIST(REASON)\n"
    assert ctl.jobs() == []
    assert not os.path.exists(ctl.state.root)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], [1, 2, 3]),
        (["--all"], [1, 2, 3, 4, 5, 6]),
        (["-c"], [4, 5, 6]),
        (["4,1"], [1, 4]),
        (["1-2", "5"], [1, 2, 5]),
        (["@"], [6]),
        (["@~2"], [4]),
        (["-c", "1-4"], [4]),
        (["-s", "running,PD"], [1, 3]),
        (["-s", "failed"], [5]),
        (["-s", "completed,CANCELED"], [4, 6]),
        (["-n", "a,c,d"], [1, 3]),
        (["-P", "ml"], [2]),
        (["-u", "nobody-here"], []),
        (["--me"], [1, 2, 3]),
        (["-r"], [1, 2, 3]),
        (["-a", "-l", "2"], [1, 2]),
        (["-a", "-l", "-2"], [5, 6]),
        (["-a", "--sort", "-JOBID"], [6, 5, 4, 3, 2, 1]),
        (["--sort", "priority,-jobid"], [1, 3, 2]),
        (["--sort=-GPUS"], [3, 1, 2]),
        (["-a", "--since", "now-1h"], [1, 2, 3, 4, 5, 6]),
        (["-a", "--since", "1h"], [1, 2, 3, 4, 5, 6]),
        (["-a", "--since", "7d"], [1, 2, 3, 4, 5, 6]),
        (["-a", "--since", "now+1h"], []),
    ],
)
def test_which_jobs_are_listed(mixed: Ctl, words: list[str], found: list[int]) -> None:
    assert ids(mixed, *words) == found


def test_a_summary_counts_the_jobs_of_each_state(ctl: Ctl) -> None:
    ctl.submit("-n", "x", "-c", "3", "true")
    ctl.run_job(1)
    ctl.ok("submit", "-a", "1-5", "-g", "2", "true")
    ctl.submit("--hold", "true")
    ctl.submit("true")
    ctl.end_job(8, "failed", reason="DependencyFailed:3")
    ctl.observe(reasons={"2": "Resources"})
    shown = [line.split(maxsplit=4) for line in ctl.ok("queue", "--summary").splitlines()]
    assert [line[:4] for line in shown] == [
        ["STATE", "JOBS", "GPUS", "CPUS"], ["running", "1", "0", "3"], ["queued", "5", "10", "5"],
        ["held", "1", "0", "1"],
    ]  # fmt: skip
    assert shown[3][4] == "JobHeldUser 1"
    assert ctl.ok("queue", "-g") == ctl.ok("queue", "--summary")
    assert ctl.ok("queue", "-g", "2").count("\n") == 2, "a group is chosen as ever"
    sums = json.loads(ctl.ok("queue", "--summary", "-a", "--json"))
    assert [(one["state"], one["jobs"]) for one in sums] == [("running", 1), ("queued", 5), ("held", 1), ("failed", 1)]
    assert sums[-1]["reasons"] == {"DependencyFailed": 1}
    assert ctl.ok("queue", "--summary", "-n", "nobody's").splitlines()[1:] == []


def test_the_json_has_every_field_in_order(mixed: Ctl) -> None:
    for job in mixed.jobs("-a"):
        assert list(job) == FIELDS


def test_the_json_has_what_was_submitted(ctl: Ctl) -> None:
    plain = ["submit", "true"]
    full = [
        "submit", "--grace", "30s", "--executor", "process", "--max-retries", "3", "--retry-on", "timeout,7",
        "--retry-delay", "30sx2", "-i", "in", "--append", "-o", "%j.out", "--array", "1-2", "--max-failures", "1",
        "--name-template", "n{index}", "--no-auto-cancel", "-d", "1", "--notify-email", "a@b", "--notify-on", "end",
        "true",
    ]  # fmt: skip
    (ctl.home / "in").touch()
    for words in (plain, full):
        ctl.ok(*words, umask=0o027)
    usual, job = ctl.jobs("1,2_1")
    assert {name: usual[name] for name in SUBMITTED} == {
        "log": None, "executor": None, "grace": None, "retry_on": [], "retry_delay": None, "retry_factor": None,
        "auto_cancel": None, "input": None, "append": False, "submit_dir": str(ctl.home), "umask": "0027",
        "environment": ctl.state.environment(ctl.spec(1).env), "max_failures": None, "name_template": None,
        "notify_email": None, "notify_on": [], "notify": [], "tasks": None, "exclusive": False, "cancelled_by": None,
        "used": None,
    }  # fmt: skip
    assert os.path.exists(usual["environment"])
    assert {name: job[name] for name in SUBMITTED if name not in ("environment", "umask")} == {
        "log": f"{ctl.home}/2.out", "executor": "process", "grace": 30.0, "retry_on": ["timeout", 7],
        "retry_delay": 30.0, "retry_factor": 2.0, "auto_cancel": False, "input": f"{ctl.home}/in", "append": True,
        "submit_dir": str(ctl.home), "max_failures": 1, "name_template": "n{index}", "notify_email": "a@b",
        "notify_on": ["end"], "notify": [], "tasks": None, "exclusive": False, "cancelled_by": None, "used": None,
    }  # fmt: skip


def test_the_json_names_the_log_of_the_present_attempt(ctl: Ctl) -> None:
    ctl.submit("true")
    log = ctl.run_job(1)
    assert (ctl.jobs("1")[0]["log"], ctl.jobs("1")[0]["executor"]) == (str(log), "process")


def test_the_json_of_a_running_job(mixed: Ctl) -> None:
    asked = time.time()
    job = mixed.jobs("3")[0]
    ends = datetime.fromisoformat(job["started_at"]).timestamp() + 3600
    assert ends - time.time() - 1 <= job["time_left"] <= ends - asked + 1
    assert (job["state"], job["reason"], job["gpus"], job["gpu_ids"]) == ("running", None, 2, [0, 1])
    assert job["time_limit"] == 3600
    assert (job["session"], job["pid"], job["attempt"]) == ("gflow-3", 4242, 1)
    for field in ("submitted_at", "started_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", job[field])
    assert job["command"] == ["true"]


def test_states_and_reasons(mixed: Ctl) -> None:
    found = {job["id"]: (job["state"], job["reason"]) for job in mixed.jobs("-a")}
    assert found == {
        1: ("queued", "DaemonDown"), 2: ("held", "JobHeldUser"), 3: ("running", None), 4: ("finished", None),
        5: ("failed", "Signaled:SIGKILL"), 6: ("cancelled", "CancelledByUser"),
    }  # fmt: skip


def test_the_table(mixed: Ctl) -> None:
    user = mixed.jobs("1")[0]["user"]
    began, asked = datetime.fromisoformat(mixed.jobs("3")[0]["started_at"]).timestamp(), time.time()
    lines = mixed.ok("queue", "-a").splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["JOBID", "NAME", "USER", "ST", "TIME", "GPUS", "NODELIST(REASON)"],
        ["1", "a", user, "PD", "0:00", "0", "(DaemonDown)"],
        ["2", "b", user, "H", "0:00", "0", "(JobHeldUser)"],
        ["3", "c", user, "R", lines[3].split()[4], "2", "0,1"],
    ]
    assert elapsed.is_told(lines[3].split()[4], since=began, asked=asked)
    assert lines[5].endswith("(Signaled:SIGKILL)")


def test_every_field_can_be_shown_and_sorted_by(mixed: Ctl) -> None:
    fields = [
        "JOBID",
        "NAME",
        "USER",
        "PROJECT",
        "ST",
        "STATE",
        "TIME",
        "TIMELEFT",
        "TIMELIMIT",
        "SUBMIT",
        "START",
        "END",
        "NODES",
        "GPUS",
        "CPUS",
        "MEMORY",
        "PRIORITY",
        "REASON",
        "NODELIST(REASON)",
        "PROGRESS",
        "EXIT",
        "REPEAT",
        "COMMAND",
    ]
    header = mixed.ok("queue", "-a", "-f", ",".join(fields).lower()).splitlines()[0]
    assert header.split() == fields
    for field in fields:
        assert sorted(ids(mixed, "-a", "--sort", field)) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["-f", "NONSENSE"], 2, "unknown field 'NONSENSE'"),
        (["-f", ","], 2, "no field given"),
        (["--sort", "x"], 2, "unknown field 'X'"),
        (["--sort", ""], 2, "no field given"),
        (["-s", "sleeping"], 2, "unknown state 'sleeping'"),
        (["--since", "x"], 2, "not an instant"),
        (["-l", "x"], 2, "not a number"),
        (["x"], 2, "not a list of jobs"),
        (["--interval", "0"], 2, "not an interval"),
        (["-w", "--json"], 2, "either --watch or --json"),
        (["--csv", "--json"], 2, "either --json or --csv"),
        (["--csv", "-t"], 2, "either --tree or --csv"),
        (["-g", "-f", "JOBID"], 2, "either --summary or --format"),
        (["--summary", "--csv"], 2, "either --summary or --csv"),
        (["--summary", "-l", "3"], 2, "either --summary or --limit"),
        (["1,42,50-51"], 1, "no job 42, 50-51"),
    ],
)
def test_what_cannot_be_listed(mixed: Ctl, words: list[str], status: int, said: str) -> None:
    assert said in mixed.fails(status, "queue", *words)


def test_control_characters_never_reach_the_terminal(ctl: Ctl) -> None:
    ctl.submit("-n", "a\x1b[31m\n\u202eb", "true")
    shown = ctl.ok("queue")
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 2
    assert r"a\x1b[31m\n\u202eb" in shown
    assert ctl.jobs()[0]["name"] == "a\x1b[31m\n\u202eb"


def test_a_terminal_gets_colour_and_lines_that_fit(ctl: Ctl) -> None:
    ctl.submit("true")
    ctl.run_job(1)
    ctl.submit("-n", "a-very-long-name-" * 10, "true")
    shown, status = ctl.on_a_terminal("queue")
    assert status == 0
    assert "\x1b[32mR\x1b[0m" in shown
    plain = re.sub(r"\x1b\[\d*m", "", shown)
    assert max(map(len, plain.splitlines())) <= 60
    assert re.search(r"a-very-[-a-z]*\+  ", plain)
    assert "NODELIST(REASON)" in plain


def test_colour_can_be_refused_and_asked_for(mixed: Ctl) -> None:
    assert "\x1b" not in mixed.on_a_terminal("queue", env={"NO_COLOR": "1"})[0]
    assert "\x1b" not in mixed.on_a_terminal("queue", "--color", "never")[0]
    assert "\x1b[32mR\x1b[0m" in mixed.ok("queue", "--color", "always")


def test_watching_shows_it_again_until_interrupted(mixed: Ctl) -> None:
    shown, status = mixed.on_a_terminal("queue", "-w", "--interval", "0.1", enough=(b"JOBID", 2))
    assert status == 130
    assert shown.count("JOBID") >= 2
    assert "Traceback" not in shown


def test_what_the_daemon_said_is_shown(ctl: Ctl) -> None:
    ctl.submit("true")
    ctl.observe(reasons={"1": "Resources"})
    assert ctl.jobs()[0]["reason"] == "DaemonDown"  # an old look of a daemon that is gone
    ctl.submit("--begin", "now+1h", "true")
    assert ctl.jobs("2")[0]["reason"] == "BeginTime"


def test_a_thousand_jobs_and_a_closed_pipe(ctl: Ctl) -> None:
    ctl.submit("true")
    spec = ctl.store.read().of("spec")[1]
    with ctl.store.commit() as commit:
        for job_id in range(2, 3000):
            commit.allocate()
            commit.put("spec", job_id, spec)
    assert len(ids(ctl)) == 2999
    done = subprocess.run(f"{sys.executable} -m gflowctl queue | head -1; exit ${{PIPESTATUS[0]}}", shell=True,
                          executable="/bin/bash", env=ctl.env, capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("JOBID")


def test_closed_and_full_streams(mixed: Ctl) -> None:
    def shell(line: str) -> tuple[int, str]:
        command = f"exec {sys.executable} -m gflowctl {line}"
        done = subprocess.run(command, shell=True, env=mixed.env, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    assert shell("queue >&-") == (0, "")
    assert shell("queue <&- >&- 2>&-") == (0, "")
    assert shell("--help >&-") == (0, "")
    full = (3, "gflowctl: standard output: No space left on device\n")
    for line in ("queue", "queue --json", "--help", "queue --help", "--version", "show 1"):
        assert shell(f"{line} >/dev/full") == full, line
    assert shell("cancel 99 2>/dev/full")[0] == 1


def test_json_is_one_document_in_any_locale(ctl: Ctl) -> None:
    ctl.submit("-n", "näme", "true")
    ctl.env["LC_ALL"] = "C"
    ctl.env["PYTHONCOERCECLOCALE"] = "0"
    assert json.loads(ctl.ok("queue", "--json"))[0]["name"] == "näme"
    ctl.env["PYTHONIOENCODING"] = "ascii"
    assert "n\\xe4me" in ctl.ok("queue")


def plain(shown: str) -> list[str]:
    return re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", shown).splitlines()


def test_a_terminal_gets_the_numbers_of_jobs_by_state_and_a_pipe_does_not(mixed: Ctl) -> None:
    shown = plain(mixed.on_a_terminal("queue")[0])
    assert shown[-2:] == ["", "1 running, 1 queued, 1 held; gflowd is not running"]
    shown = plain(mixed.on_a_terminal("queue", "-a", "-l", "1", columns=100)[0])
    assert shown[-1].startswith("1 running, 1 queued, 1 held, 1 finished, 1 failed, 1 cancelled; ")
    assert plain(mixed.on_a_terminal("queue", "-u", "nobody-here")[0])[-1] == "no jobs; gflowd is not running"
    assert "running" not in mixed.ok("queue")


def test_elements_that_share_a_line_count_each(ctl: Ctl) -> None:
    ctl.ok("submit", "--array", "1-200", "true")
    ctl.run_job(3)
    assert plain(ctl.on_a_terminal("queue")[0])[-1].startswith("1 running, 199 queued; ")
    assert plain(ctl.on_a_terminal("queue", "-r")[0])[-1].startswith("1 running, 199 queued; ")


def test_csv_is_for_programs(mixed: Ctl) -> None:
    words = [
        "queue",
        "--csv",
        "-a",
        "-f",
        "jobid,state,time,timelimit,timeleft,start,end,memory,reason,project,command",
    ]
    head, *lines = mixed.ok(*words).splitlines()
    assert head == "JOBID,STATE,TIME,TIMELIMIT,TIMELEFT,START,END,MEMORY,REASON,PROJECT,COMMAND"
    found = {line.split(",")[0]: line.split(",") for line in lines}
    assert found["1"][1:] == ["queued", "0.0", "", "", "", "", "", "DaemonDown", "", "true"]
    assert found["2"][9] == "ml"
    running = mixed.jobs("3")[0]
    assert (found["3"][3], found["3"][5]) == ("3600.0", running["started_at"])
    assert 0 < float(found["3"][2]) < 3600
    assert found["4"][6] == mixed.jobs("4")[0]["ended_at"]


def test_csv_has_a_line_for_each_element_and_quotes_what_it_must(ctl: Ctl) -> None:
    ctl.ok("submit", "--array", "1-3", "-n", 'a,"b\nc', "-m", "2G", "true")
    assert ctl.ok("queue", "--csv", "-f", "jobid,name,memory") == "JOBID,NAME,MEMORY\n" + "".join(
        f'1_{index},"a,""b\nc",2048\n' for index in (1, 2, 3)
    )


def test_watching_never_scrolls_the_head_away(ctl: Ctl) -> None:
    for _ in range(3):
        ctl.ok("submit", "--array", "1-30", "-n", "long\u4e2d\u6587" * 9, "true")
    for columns in (60, 40):
        shown = ctl.on_a_terminal(
            "queue", "-r", "-w", "--interval", "0.1", columns=columns, rows=15, enough=(b"JOBID", 3)
        )[0]
        for frame in shown.split("\x1b[H")[1:3]:
            lines = plain(frame)
            assert lines[0].startswith("every 0.1 s, now ")
            assert lines[1].startswith("90 queued; ")
            assert lines[3].lstrip().startswith("JOBID")
            assert len(lines) <= 14
            assert lines[13] == "... 81 more lines"
            assert max(map(render.width, lines)) <= columns


def test_a_long_name_of_elements_is_cut_where_a_line_would_not_fit_and_ids_are_not(ctl: Ctl) -> None:
    ctl.ok("submit", "--array", "1-400", "-n", "x" * 30, "true")
    ctl.ok("hold", "1_[1-399:2]")
    ctl.run_job(400)
    lines = plain(ctl.on_a_terminal("queue", columns=70)[0])
    assert max(map(len, lines)) <= 70
    assert lines[1].lstrip().startswith("1_[1,3,5")
    assert "+" in lines[1].split()[0]
    assert lines[3].split()[0] == "1_400"
    assert "+" not in ctl.ok("queue").split("\n", 1)[1]


def test_a_terminal_gets_short_times_and_a_pipe_whole_ones(mixed: Ctl) -> None:
    fields = ["queue", "3-4", "-f", "JOBID,SUBMIT,START,END"]
    today = r"(\d\d:\d\d:\d\d|\d{4}-\d\d-\d\d \d\d:\d\d)"  # or just before midnight
    lines = plain(mixed.on_a_terminal(*fields)[0])
    assert re.fullmatch(rf" +3  {today}  {today}  N/A", lines[1])
    assert re.fullmatch(rf" +4  {today}  {today}  {today}", lines[2])
    assert len(re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", mixed.ok(*fields))) == 5
