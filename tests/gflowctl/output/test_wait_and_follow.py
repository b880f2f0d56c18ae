from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from typing import Any

    from support.ctl import Ctl


def eventually_ends(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize(
    ("state", "how", "status"),
    [
        ("finished", {"exit_code": 0}, 0),
        ("failed", {"exit_code": 3, "reason": "NonZeroExit"}, 3),
        ("failed", {"signal": 9, "reason": "Signaled:SIGKILL"}, 137),
        ("failed", {"signal": 15, "reason": "OutOfMemory"}, 137),
        ("failed", {"reason": "Zombie"}, 1),
        ("cancelled", {"signal": 2, "reason": "CancelledByUser"}, 130),
        ("timeout", {"signal": 15, "reason": "TimeLimit"}, 124),
    ],
)
def test_the_status_is_the_job_s(ctl: Ctl, state: str, how: dict[str, Any], status: int) -> None:
    ctl.submit("true")
    ctl.end_job(1, state, **how)
    done = ctl.run("wait", "1")
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


def test_a_job_cancelled_in_the_queue_is_over(ctl: Ctl) -> None:
    ctl.submit("true")
    ctl.ok("cancel", "1")
    assert ctl.run("wait", "@").returncode == 130


def test_all_are_waited_for_and_the_greatest_status_counts(ctl: Ctl) -> None:
    for _ in range(3):
        ctl.submit("true")
    waiting = ctl.start("wait", "1-3")
    ctl.end_job(1, "failed", exit_code=9)
    ctl.end_job(3)
    time.sleep(0.3)
    assert waiting.poll() is None
    ctl.end_job(2, "failed", exit_code=4)
    assert eventually_ends(waiting) == (9, "", "")


@pytest.mark.parametrize("words", [("wait", "1-2"), ("wait", "--any", "1,3"), ("log", "--follow", "1")])
def test_what_the_history_forgets_before_its_end_was_seen_is_waited_for_no_longer(
    ctl: Ctl, words: tuple[str, ...]
) -> None:
    for _ in range(3):
        ctl.submit("true")
    waiting = ctl.start(*words)
    ctl.waits(waiting)
    waiting.send_signal(signal.SIGSTOP)
    ctl.end_job(2)
    with ctl.store.commit() as commit:  # as a scheduler that has archived it, and removed it from there
        commit.put("spec", 1, None)
    waiting.send_signal(signal.SIGCONT)
    told = "gflowctl: job 1 ended and left the history ([history] keep) meanwhile; its end cannot be told any more\n"
    assert eventually_ends(waiting) == (1, "", told)


def test_any_takes_the_first(ctl: Ctl) -> None:
    ctl.submit("true")
    ctl.submit("true")
    waiting = ctl.start("wait", "1-2", "--any")
    ctl.waits(waiting)
    ctl.end_job(2, "failed", exit_code=5)
    assert eventually_ends(waiting) == (5, "", "")


def test_waiting_survives_a_rewritten_snapshot(ctl: Ctl) -> None:
    ctl.submit("true")
    waiting = ctl.start("wait", "1")
    ctl.waits(waiting)
    with ctl.store.commit() as commit:
        commit.rewrite(commit.fold())
    ctl.end_job(1, "failed", exit_code=6)
    assert eventually_ends(waiting)[0] == 6


def test_its_own_timeout(ctl: Ctl) -> None:
    ctl.submit("true")
    begun = time.monotonic()
    assert ctl.fails(75, "wait", "1", "--timeout", "0.3s") == "job 1 did not end within 0.3 s"
    assert 0.3 <= time.monotonic() - begun < 60, "nobody would have ended it"


def test_an_interrupt_is_quiet(ctl: Ctl) -> None:
    ctl.submit("true")
    waiting = ctl.start("wait", "1")
    ctl.waits(waiting)
    waiting.send_signal(2)
    assert eventually_ends(waiting) == (130, "", "")


@pytest.fixture
def logged(ctl: Ctl) -> Ctl:
    ctl.submit("true")
    log = ctl.run_job(1, executor="tmux")
    log.write_bytes(b"".join(b"line %d\r\n" % number for number in range(1, 20001)) + b"raw \xff end")
    return ctl


def lines(first: int, last: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(first, last + 1))


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], lines(1, 20000) + b"raw \xff end"),
        (["--first", "2"], lines(1, 2)),
        (["--first", "0"], b""),
        (["--last", "1"], b"raw \xff end"),
        (["--last", "2"], b"line 20000\nraw \xff end"),
        (["--last", "15000"], lines(5002, 20000) + b"raw \xff end"),
        (["--last", "999999"], lines(1, 20000) + b"raw \xff end"),
        (["--last", "0"], b""),
        (["--attempt", "1", "--first", "1"], lines(1, 1)),
    ],
)
def test_what_a_log_shows(logged: Ctl, words: list[str], shown: bytes) -> None:
    process = logged.start("log", "1", *words)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert out == shown


def test_the_bytes_of_a_plain_process_are_its_own(ctl: Ctl) -> None:
    ctl.submit("true")
    ctl.run_job(1).write_bytes(b"dos\r\nunix\n")
    process = ctl.start("log", "1")
    assert process.communicate(timeout=60)[0] == b"dos\r\nunix\n"


def test_following_from_the_last_lines_until_the_end(logged: Ctl) -> None:
    process = logged.start("log", "-f", "1", "--last", "2")
    before = process.stdout.read(len(b"line 20000\nraw \xff end"))
    with open(logged.state.job_log(1, 1), "ab") as file:
        file.write(b"\r\nmore\r\n")
    logged.end_job(1, executor="tmux")
    out, _ = process.communicate(timeout=60)
    assert before + out == b"line 20000\nraw \xff end\nmore\n"
    assert process.returncode == 0


def test_following_waits_for_a_queued_job(ctl: Ctl) -> None:
    ctl.submit("true")
    process = ctl.start("log", "-f", "1")
    time.sleep(0.3)
    assert process.poll() is None
    ctl.run_job(1).write_bytes(b"hi")
    ctl.end_job(1, "failed", exit_code=1)
    assert process.communicate(timeout=60)[0] == b"hi"


def test_output_and_error_files(ctl: Ctl) -> None:
    ctl.submit("-o", "%j.out", "-e", "%j.err", "true")
    ctl.run_job(1)
    (ctl.home / "1.out").write_bytes(b"out\r\n")
    (ctl.home / "1.err").write_bytes(b"err\n")
    assert ctl.start("log", "1").communicate(timeout=60)[0] == b"out\r\n"
    assert ctl.ok("log", "1", "--error") == "err\n"


def test_logs_that_are_not_there(ctl: Ctl) -> None:
    ctl.submit("true")
    assert "job 1 has not started (queued, DaemonDown)" in ctl.fails(1, "log", "1")
    ctl.ok("cancel", "1")
    assert "never started (cancelled)" in ctl.fails(1, "log", "1")
    ctl.submit("true")
    ctl.run_job(2)
    assert ctl.ok("log", "2") == ""
    assert "has no separate error file" in ctl.fails(1, "log", "2", "--error")
    assert "has no attempt 2" in ctl.fails(1, "log", "2", "--attempt", "2")
    ctl.end_job(2)
    assert "no longer there" in ctl.fails(1, "log", "2")
    ctl.submit("-o", "/dev/null", "true")
    ctl.run_job(3)
    assert "not a regular file" in ctl.fails(1, "log", "3")
    ctl.fails(2, "log", "2", "--first", "1", "--last", "1")
    ctl.fails(2, "log", "1-2")


def test_attaching_to_what_has_no_terminal(ctl: Ctl) -> None:
    ctl.submit("true")
    assert "job 1 is queued, not running" in ctl.fails(1, "attach", "1")
    ctl.run_job(1)
    assert "has no terminal" in ctl.fails(1, "a", "1")
    ctl.submit("-o", "x", "true")
    ctl.run_job(2, executor="tmux")
    assert "reads or writes files" in ctl.fails(1, "attach", "2")
