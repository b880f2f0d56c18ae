"""One job from its submission to its end: what it finds, what it prints, how it ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import time
from contextlib import suppress
from pathlib import Path

import pytest
from support import depth
from support.machine import GATE, Machine
from support.waiting import eventually


def test_a_job_runs_and_its_output_is_the_log_and_nothing_else(either: Machine) -> None:
    assert either.result("--", "printf", "one\\ntwo\\nthree") == "one\ntwo\nthree"


def test_a_silent_job_has_an_empty_log(either: Machine) -> None:
    assert either.result("true") == ""


@pytest.mark.parametrize(
    ("text", "status", "state", "reason"),
    [
        ("exit 0", 0, "finished", None),
        ("exit 1", 1, "failed", "NonZeroExit"),
        ("exit 3", 3, "failed", "NonZeroExit"),
        ("exit 127", 127, "failed", "NonZeroExit"),
        ("kill -9 $$", 137, "failed", "Signaled:SIGKILL"),
        ("kill -TERM $$", 143, "failed", "Signaled:SIGTERM"),
        ("kill -SEGV $$", 139, "failed", "Signaled:SIGSEGV"),
        ("kill -HUP $$", 129, "failed", "Signaled:SIGHUP"),
    ],
)
def test_wait_ends_with_the_jobs_own_status(either: Machine, text: str, status: int, state: str, reason: str) -> None:
    done = either.ctl("submit", "--wait", "--parsable", "--wrap", text, check=False)
    assert done.returncode == status
    job = either.job(int(done.stdout))
    assert (job["state"], job["reason"]) == (state, reason)
    code, number = (None, status - 128) if status > 128 else (status, None)
    assert (job["exit_code"], job["signal"]) == (code, number)
    assert either.wait(job["id"]) == status


def test_wait_ends_with_the_greatest_status_and_any_with_the_first(up: Machine) -> None:
    first = up.submit("--wrap", "exit 3")
    second = up.submit("--wrap", f"{GATE}; exit 7")
    assert up.ctl("wait", "--any", f"{first},{second}", check=False).returncode == 3
    assert up.refused(75, "wait", "--timeout", "1s", str(second))
    up.open_gate()
    assert up.wait(first, second) == 7


def test_a_command_that_is_not_there_says_so_in_the_log(either: Machine) -> None:
    job_id = either.submit("no-such-program-at-all")
    assert either.ended(job_id)["exit_code"] == 127
    assert b"no-such-program-at-all" in either.log(job_id)


def test_a_command_that_is_no_program_fails_with_126(either: Machine) -> None:
    (either.work / "data").write_text("no program")
    job_id = either.submit("--", "./data")
    assert either.ended(job_id)["exit_code"] == 126


def test_show_and_queue_tell_how_it_ended(up: Machine) -> None:
    before = time.time()
    job_id = up.submit(
        "-n", "my job", "--comment", "the comment", "-c", "2", "-m", "100M", "--wrap", "sleep 0.2; exit 3"
    )
    up.wait(job_id)
    shown = up.ctl("show", str(job_id)).stdout
    for word in ("my job", "the comment", "failed", "NonZeroExit", "sleep 0.2; exit 3", "2 CPUs", str(up.work)):
        assert word in shown
    (job,) = json.loads(up.ctl("show", "--json", str(job_id)).stdout)
    assert job == {**up.job(job_id), "attempts": [], "cause": None, "last_lines": []}  # no earlier ones, no output
    assert (job["cpus"], job["memory_mb"], job["name"]) == (2, 100, "my job")
    assert job["submitted_at"] < job["started_at"] < job["ended_at"]
    assert "my job" in up.ctl("queue", "-a").stdout
    assert "my job" not in up.ctl("queue").stdout
    assert before <= _epoch(job["submitted_at"]) <= _epoch(job["ended_at"]) <= time.time()


ODD = {
    "EMPTY": "",
    "SPACES": "  two  words ",
    "QUOTES": 'it\'s "quoted" `now` $HOME ${X} \\n',
    "LINES": "one\ntwo\n\n",
    "UNICODE": "naïve 東京 🙂",
    "ESCAPE": "\033[31m\a\t\r",
    "EQUALS": "a=b=c",
    "BASH_FUNC_greet%%": "() {  echo hello from a function\n}",
    "with-dash.and.dot": "kept",
    "IFS": ":",
    "LINENO": "7",
}


def test_the_environment_is_the_submitters_whatever_its_values(either: Machine) -> None:
    given = {**either.env, **ODD}
    raw = {os.fsencode(name): os.fsencode(value) for name, value in given.items()} | {b"NOT_UTF8": b"\xff\xfe"}
    job_id = either.submit("--", "cat", "/proc/self/environ", env=raw)
    assert either.wait(job_id) == 0
    log = either.log(job_id) if either.config["executor"]["type"] == "process" else None
    out = either.submit("-o", "environ", "--", "cat", "/proc/self/environ", env=raw)
    assert either.wait(out) == 0
    found = dict(entry.split(b"=", 1) for entry in (either.work / "environ").read_bytes().split(b"\0") if entry)
    assert log is None or b"NOT_UTF8=\xff\xfe" in log
    for name, value in raw.items():
        assert found[name] == value, name
    extra = {name for name in found if name not in raw and not name.startswith((b"GFLOW_", b"SLURM_", b"CUDA_"))}
    assert extra <= {b"PWD", b"TERM", b"TMPDIR", b"PAGER", b"GIT_PAGER", b"MANPAGER", b"SYSTEMD_PAGER"}


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_a_function_that_bash_exported_can_be_called(either: Machine) -> None:
    assert either.result("--", "bash", "-c", "greet", env={**either.env, **ODD}) == "hello from a function\n"


def test_what_a_surrounding_job_or_terminal_set_does_not_get_in(up: Machine) -> None:
    outside = {"GFLOW_JOB_ID": "77", "SLURM_JOB_ID": "78", "SLURM_NTASKS": "4", "TMUX": "x", "TMUX_PANE": "%1"}
    seen = up.result("--", "env", env={**up.env, **outside, "TERM": "dumb"})
    assert "JOB_ID=77" not in seen
    assert "SLURM_JOB_ID=78" not in seen
    ours = {line.partition("=")[2] for line in seen.splitlines() if "JOB_ID=" in line}
    assert len(ours) == 1
    assert "SLURM_NTASKS" not in seen
    assert "TMUX" not in seen


def test_a_job_may_submit_jobs(either: Machine) -> None:
    job_id = either.submit("--wrap", "gflowctl submit --parsable -- sh -c 'echo inner $GFLOW_JOB_ID'")
    assert either.wait(job_id) == 0
    inner = int(either.log(job_id))
    assert either.wait(inner) == 0
    assert either.log(inner) == f"inner {inner}\n".encode()


def test_umask_and_directory_are_the_submitters(either: Machine) -> None:
    place = either.work / "a dir with 'quotes' and $dollars"
    place.mkdir()
    done = either.run("sh", "-c", "umask 027; gflowctl submit --wait -- sh -c 'umask; pwd; : >made'", cwd=place)
    assert done.returncode == 0, done
    assert either.log(int(done.stdout.split()[-1])).decode() == f"0027\n{place}\n"
    assert (place / "made").stat().st_mode & 0o777 == 0o640


def test_chdir_is_relative_to_where_submit_ran(up: Machine) -> None:
    (up.work / "sub").mkdir()
    assert up.result("--chdir", "sub", "pwd") == f"{up.work}/sub\n"


def test_arguments_arrive_byte_for_byte(either: Machine) -> None:
    words = ["a b", "", "it's", '"', "$HOME", "`id`", "*", "a\nb", "\\n", "-n", "%d", "#{x}", "東京", "{name}", "\t"]
    either.result("-o", "out", "--", "sh", "-c", 'printf "%s\\0" "$@"', "sh", *words)
    assert (either.work / "out").read_bytes().decode().split("\0")[:-1] == words


def test_a_scripts_content_is_frozen_at_submission(either: Machine) -> None:
    script = either.work / "job.sh"
    script.write_text("#!/bin/sh\necho first $1\n")
    job_id = either.submit("--hold", "./job.sh", "arg")
    script.write_text("#!/bin/sh\necho second\n")
    shown = either.ctl("show", "--script", str(job_id)).stdout
    script.unlink()
    either.ctl("release", str(job_id))
    assert either.wait(job_id) == 0
    assert either.log(job_id) == b"first arg\n"
    assert shown == "#!/bin/sh\necho first $1\n"


def test_wrap_is_shell_text(either: Machine) -> None:
    assert either.result("--wrap", "echo a | tr a b; for i in 1 2; do printf $i; done") == "b\n12"


def test_export_chooses_the_environment(up: Machine) -> None:
    env = {**up.env, "SECRET": "s", "WANTED": "w"}
    none = up.result("--export", "NONE", "env", env=env)
    assert "SECRET" not in none
    assert "/usr/bin" in none.partition("PATH=")[2]
    some = up.result("--export", "WANTED,NEW=n e w", "env", env=env)
    assert "WANTED=w\n" in some
    assert "NEW=n e w\n" in some
    assert "SECRET" not in some
    both = up.result("--export", "ALL,NEW=1", "env", env=env)
    assert {"SECRET=s", "NEW=1"} <= set(both.splitlines())


def test_output_error_and_input_are_files(either: Machine) -> None:
    (either.work / "in").write_text("from the file\n")
    text = "cat; echo problem >&2; echo done"
    job_id = either.submit("-n", "nm", "-o", "%x-%j.out", "-e", "%j.err", "-i", "in", "--wrap", text)
    assert either.wait(job_id) == 0
    assert (either.work / f"nm-{job_id}.out").read_text() == "from the file\ndone\n"
    assert (either.work / f"{job_id}.err").read_text() == "problem\n"
    assert either.log(job_id) == b"from the file\ndone\n"
    assert either.ctl("log", "--error", str(job_id)).stdout == "problem\n"


def test_output_is_emptied_unless_appended_to(either: Machine) -> None:
    (either.work / "out").write_text("old\n")
    either.result("-o", "out", "--append", "echo", "more")
    assert (either.work / "out").read_text() == "old\nmore\n"
    either.result("-o", "out", "--wrap", "echo new; echo err >&2")
    assert (either.work / "out").read_text() == "new\nerr\n"


def test_a_held_job_waits_until_it_is_released(up: Machine) -> None:
    held = up.submit("--hold", "echo", "ran")
    later = up.submit("true")
    up.wait(later)
    job = up.job(held)
    assert (job["state"], job["reason"]) == ("held", "JobHeldUser")
    up.ctl("release", str(held))
    assert up.wait(held) == 0


def test_a_queued_job_can_be_held(up: Machine) -> None:
    blocker = up.submit("-c", "8", "--wrap", GATE)
    up.until(blocker, "running")
    queued = up.submit("true")
    up.ctl("hold", str(queued))
    up.open_gate()
    up.wait(blocker)
    up.wait(up.submit("true"))
    assert up.job(queued)["state"] == "held"
    up.ctl("cancel", str(queued))
    assert up.wait(queued) == 130


def test_no_job_starts_before_its_time(up: Machine) -> None:
    def stamp(begin: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(begin)) + f".{int(begin % 1 * 1e6):06d}Z"

    text, far = "date +%s.%N", stamp(time.time() + 3600)
    at = up.submit("--begin", far, "--wrap", text)
    released = up.submit("--hold", "--wrap", text)
    up.ctl("release", "--at", far, str(released))
    for job_id in (at, released):
        job = up.job(job_id)
        assert (job["state"], job["reason"]) == ("queued", "BeginTime")
    begin = time.time() + 2
    up.ctl("update", str(at), "--begin", stamp(begin))
    up.ctl("release", "--at", stamp(begin), str(released))
    up.wait(at, released)
    for job_id in (at, released):
        assert float(up.log(job_id)) >= begin


def test_higher_priority_goes_first_and_equals_by_submission(up: Machine) -> None:
    blocker = up.submit("-c", "8", "--wrap", GATE)
    up.until(blocker, "running")
    text = "echo $GFLOW_JOB_ID >>order"
    ids = [up.submit("-c", "8", "-p", str(priority), "--wrap", text) for priority in (10, 10, 200, 0)]
    up.open_gate()
    up.wait(*ids)
    assert list(map(int, up.lines("order"))) == [ids[2], ids[0], ids[1], ids[3]]


def test_cpu_slots_and_memory_are_never_given_twice(own_default: Machine) -> None:
    own_default.write_config(scheduler={"memory": "1000M"})
    own_default.gflowd("restart")
    ids = [own_default.submit("-c", "3", "-m", "100M", "--wrap", GATE) for _ in range(3)]
    big = own_default.submit("-c", "0", "-m", "900M", "--wrap", "true")
    none = own_default.submit("-c", "0", "true")
    own_default.wait(none)
    own_default.until(ids[1], "running")
    for waiting in (ids[2], big):
        eventually(lambda waiting=waiting: own_default.job(waiting)["reason"] == "Resources")
        assert own_default.job(waiting)["state"] == "queued"
    own_default.open_gate()
    assert own_default.wait(*ids, big) == 0


def test_many_jobs_of_no_length_each_run_exactly_once(either: Machine) -> None:
    count = depth.number(200, 60) if either.config["executor"]["type"] == "tmux" else 60
    ids = either.submit_all("--", "sh", "-c", "echo $GFLOW_JOB_ID >>ran", count=count)
    assert ids == list(range(ids[0], ids[0] + count))
    assert either.wait(*ids) == 0
    jobs = either.jobs()
    assert {jobs[job_id]["state"] for job_id in ids} == {"finished"}
    either.ran_exactly_once(ids)


def test_a_job_that_removes_its_own_directory_ends_as_it_should(either: Machine) -> None:
    (either.work / "gone").mkdir()
    job_id = either.submit("-D", "gone", "--wrap", 'rm -rf "$PWD"; echo done; exit 4')
    job = either.ended(job_id)
    assert (job["state"], job["exit_code"]) == ("failed", 4)
    assert either.log(job_id).endswith(b"done\n")


def test_a_directory_that_is_gone_at_the_start_is_a_failed_launch(either: Machine) -> None:
    (either.work / "gone").mkdir()
    inside = either.submit("--hold", "-D", "gone", "true")
    output = either.submit("--hold", "-o", "gone/out", "true")
    made = either.submit("--hold", "-n", "x/y", "-o", "new/%x/%5j.out", "echo", "here")
    (either.work / "gone").rmdir()
    (either.work / "gone").touch()
    either.ctl("release", f"{inside},{output},{made}")
    either.wait(inside, output, made)
    assert either.lines(f"new/x_y/{made:05}.out") == ["here"]
    for job_id in (inside, output):
        job = either.job(job_id)
        assert job["state"] == "failed"
        assert job["reason"].startswith("LaunchFailed:")
        assert "gone" in job["reason"]
        assert either.wait(job_id) == 1


def test_times_are_those_of_the_job_itself(either: Machine) -> None:
    before = time.time()
    job_id = either.submit("--wrap", "date +%s.%N; sleep 0.5; date +%s.%N")
    either.wait(job_id)
    after = time.time()
    began, ended = map(float, either.log(job_id).split())
    shown = {name: _epoch(either.job(job_id)[name]) for name in ("started_at", "ended_at")}
    assert before <= shown["started_at"] <= began + 0.02
    assert ended - 0.02 <= shown["ended_at"] <= after


def _epoch(stamp: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(stamp).timestamp()


def test_no_signal_is_blocked_or_ignored(either: Machine) -> None:
    found = dict(map(str.split, either.result("--", "grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status").splitlines()))
    assert int(found["SigBlk:"], 16) == 0
    of_tmux = {signal.SIGTTIN, signal.SIGTTOU}  # tmux ignores them in all its windows
    of_libc = {32, 33}  # which nobody can set (nptl(7)); as whoever runs the tests has them
    ignored = {number for number in range(1, 65) if int(found["SigIgn:"], 16) & 1 << number - 1}
    assert ignored <= of_tmux | of_libc


def test_a_job_inherits_no_descriptor_but_its_alive_lock(either: Machine) -> None:
    found = either.result(
        "--", "sh", "-c", "ls -l /proc/$$/fd; :"
    )  # no pipe: the shell would have it open for a moment
    links = [line.split() for line in found.splitlines() if " -> " in line]
    assert [Path(where).name for *_, fd, _, where in links if int(fd) > 2] == ["alive"], found


def test_state_of_the_user_is_private(up: Machine) -> None:
    up.result("true", env={**up.env, "TOKEN": "very-secret-token"})
    seen = 0
    for place, directories, files in os.walk(up.state.root):
        for name in (*directories, *files):
            with suppress(FileNotFoundError):  # the daemon is at work
                found = os.lstat(os.path.join(place, name))
                assert stat.S_ISLNK(found.st_mode) or found.st_mode & 0o077 == 0, name
                seen += 1
    assert seen > 5
    assert "very-secret-token" not in Path(up.state.snapshot).read_text()
    for pid in up.processes():
        with suppress(OSError):  # it has ended
            assert b"very-secret-token" not in Path(f"/proc/{pid}/cmdline").read_bytes()
