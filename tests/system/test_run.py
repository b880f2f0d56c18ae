"""`gflowctl run`: a job on the user's own terminal or in their pipeline, which ends with it, whatever ends that."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import termios
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from support.machine import GATE, Machine, kill
from support.waiting import eventually

from gflowctl import main

if TYPE_CHECKING:
    from collections.abc import Iterator

SH = ["sh", "-c"]
ALL_CPUS = ["--cpus", "8"]
CATCHES = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done"


def take_terminal() -> None:
    """The terminal controls the new session."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Seat:
    """A user at a terminal, who has typed `gflowctl run`, or with `shell` sits at a prompt."""

    def __init__(self, machine: Machine, *words: str, size: tuple[int, int] = (30, 90), shell: bool = False) -> None:
        self._machine = machine
        self.keys, follower = os.openpty()
        termios.tcsetwinsize(self.keys, size)
        self.before = termios.tcgetattr(follower)
        self.process = subprocess.Popen(
            ["bash", "--norc", "-i"] if shell else [str(machine.bin / "gflowctl"), "run", *words],
            cwd=machine.work,
            env={**machine.env, "TERM": "xterm", "PAGER": "less"},
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
            preexec_fn=take_terminal,  # noqa: PLW1509 -- no threads here
        )
        self.follower = follower
        os.set_blocking(self.keys, False)
        self.shown = b""

    def sees(self, text: str) -> bool:
        """Whether that stands on the screen by now."""
        try:
            while part := os.read(self.keys, 65536):
                self.shown += part
        except OSError:
            pass
        return text.encode() in self.shown

    def until(self, text: str) -> None:
        """Waits until that is shown."""
        try:
            eventually(lambda: self.sees(text))
        except AssertionError:
            raise AssertionError(f"never {text!r}: {self.shown!r}") from None

    def type(self, text: str) -> None:
        os.write(self.keys, text.encode())

    def leaves(self) -> int:
        """The status with which it ends, all output read."""
        eventually(lambda: self.sees("\0") or self.process.poll() is not None)
        self.sees("")
        return self.process.wait()

    def loses_terminal(self) -> None:
        """As when a window is closed or a connection breaks."""
        for fd in (self.keys, self.follower):
            if fd >= 0:
                os.close(fd)
        self.keys = self.follower = -1


@contextmanager
def seat(machine: Machine, *words: str, size: tuple[int, int] = (30, 90), shell: bool = False) -> Iterator[Seat]:
    found = Seat(machine, *words, size=size, shell=shell)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            found.process.kill()
            found.process.wait()
        found.loses_terminal()


def is_cooked(at: Seat) -> bool:
    """Whether no `gflowctl run` takes every key of that terminal."""
    return bool(termios.tcgetattr(at.follower)[1] & termios.OPOST)


def the_job(machine: Machine) -> int:
    """The last job, once it is there."""
    return max(eventually(machine.jobs))


def relays(machine: Machine) -> set[str]:
    """What connects runs and their jobs; a killed run leaves it for a while."""
    place = Path(machine.state.path("relays"))
    return {path.name for path in place.iterdir()} if place.exists() else set()


# without a terminal


def test_output_errors_and_status_are_the_jobs_own(up: Machine) -> None:
    before = relays(up)
    done = up.ctl("run", "--", *SH, "echo out; echo err >&2; exit 7", check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)
    job = up.job(the_job(up))
    assert (job["state"], job["exit_code"], job["name"]) == ("failed", 7, "sh")
    assert sorted(up.log(job["id"]).split()) == [b"err", b"out"]
    assert not relays(up) - before


def test_a_pipeline_passes_every_byte_through_it(up: Machine) -> None:
    data = os.urandom(3_000_000)
    program = str(up.bin / "gflowctl")
    done = subprocess.run([program, "run", "--", "cat"], input=data, env=up.env, cwd=up.work, stdout=-1, check=True)
    assert done.stdout == data
    assert up.log(the_job(up)) == data


def test_input_that_is_there_before_the_job_starts_is_not_lost(up: Machine) -> None:
    with up_to_the_gate(up), begun(up, *ALL_CPUS, "--", "cat", stdin=subprocess.PIPE) as waiting:
        assert waiting.stdin is not None
        waiting.stdin.write(b"early\n")
        waiting.stdin.close()
        eventually(lambda: len(up.jobs()) > 1 and up.job(the_job(up))["state"] == "queued")
        up.open_gate()
        assert rest(waiting.stdout) == b"early\n"
        assert waiting.wait() == 0


@contextmanager
def up_to_the_gate(machine: Machine) -> Iterator[int]:
    """A job has all CPUs until the gate is opened."""
    job_id = machine.submit(*ALL_CPUS, "--wrap", GATE)
    machine.until(job_id, "running")
    try:
        yield job_id
    finally:
        machine.open_gate()
        machine.wait(job_id)


@contextmanager
def begun(machine: Machine, *words: str, **settings: Any) -> Iterator[subprocess.Popen[bytes]]:
    """`gflowctl run` in a pipeline, which does not outlive the test."""
    with machine.begin("run", *words, **{"stdin": subprocess.DEVNULL, **settings}) as found:
        try:
            yield found
        finally:
            found.kill()


def line(stream: IO[bytes] | None) -> bytes:
    assert stream is not None
    return stream.readline()


def rest(stream: IO[bytes] | None) -> bytes:
    assert stream is not None
    return stream.read()


def test_who_reads_no_more_ends_the_job_as_in_any_pipeline(up: Machine) -> None:
    with begun(up, "--", "yes") as running:
        assert running.stdout.read(2) == b"y\n"
        running.stdout.close()
        assert running.wait() == 128 + signal.SIGPIPE
        assert up.job(the_job(up))["reason"] == "Signaled:SIGPIPE"


def test_the_job_is_what_a_submitted_one_is(up: Machine) -> None:
    text = "echo $GFLOW_JOB_ID $CUDA_VISIBLE_DEVICES; pwd; umask; ulimit -S -n; echo $MINE"
    env = {**up.env, "MINE": "my own"}
    done = up.run("sh", "-c", 'umask 27; ulimit -S -n 100; gflowctl run -n mine -- sh -c "$0"', text, env=env)
    job_id = the_job(up)
    assert done.stdout == f"{job_id}\n{up.work}\n0027\n100\nmy own\n", done
    assert up.job(job_id)["name"] == "mine"
    assert "mine" in up.ctl("show", str(job_id)).stdout
    again = up.ctl("redo", "--parsable", str(job_id)).stdout
    assert up.wait(int(again)) == 0
    assert up.log(int(again)).decode().startswith(f"{int(again)}\n")


def test_limits_end_it_and_why_is_said(up: Machine) -> None:
    done = up.ctl("run", "-t", "1s", "--", "sleep", "1000", check=False)
    assert done.returncode == 124
    assert "TimeLimit" in done.stderr
    assert f"job {the_job(up)} timeout" in done.stderr


def test_what_cannot_be_launched_says_so(up: Machine) -> None:
    place = up.work / "gone"
    place.mkdir()
    with up_to_the_gate(up), begun(up, *ALL_CPUS, "-D", str(place), "--", "true") as waiting:
        eventually(lambda: up.job(the_job(up))["state"] == "queued")
        place.rmdir()
        up.open_gate()
        assert b"cannot enter" in rest(waiting.stderr)
        assert waiting.wait() == 1


def test_while_it_waits_it_says_for_what_once(up: Machine) -> None:
    with up_to_the_gate(up), begun(up, *ALL_CPUS, "--", "echo", "now") as waiting:
        job_id = eventually(lambda: next((i for i, job in up.jobs().items() if job["reason"] == "Resources"), None))
        assert job_id is not None
        first = line(waiting.stderr)
        assert re.fullmatch(rb"gflowctl: job %d waits: Resources \(waits for 8 CPUs, 0 free\)\n" % job_id, first)
        up.ctl("hold", str(job_id))
        assert b"JobHeldUser" in line(waiting.stderr)
        up.ctl("release", str(job_id))
        assert b"Resources" in line(waiting.stderr)
        up.open_gate()
        assert rest(waiting.stderr) == b"gflowctl: job %d starts\n" % job_id
        assert waiting.wait() == 0


def test_an_interrupt_while_it_waits_cancels_it(up: Machine) -> None:
    with up_to_the_gate(up), begun(up, *ALL_CPUS, "--", "true") as waiting:
        assert b"waits" in line(waiting.stderr)
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait() == 130
        assert up.job(the_job(up))["state"] == "cancelled"


def test_an_interrupt_reaches_the_job(up: Machine) -> None:
    with begun(up, "--", *SH, CATCHES) as running:
        assert line(running.stdout) == b"ready\n"
        running.send_signal(signal.SIGINT)
        assert rest(running.stdout) == b"caught\n"
        assert running.wait() == 9


def test_a_second_interrupt_at_once_cancels_a_deaf_job(up: Machine) -> None:
    deaf = "trap '' INT TERM; echo ready; while :; do sleep 0.05; done"
    with begun(up, "--grace", "1s", "--", *SH, deaf) as running:
        assert line(running.stdout) == b"ready\n"

        def interrupted() -> bool:
            running.send_signal(signal.SIGINT)
            return running.poll() is not None

        eventually(interrupted)
        assert running.wait() == 130
    assert up.ended(the_job(up))["reason"] == "CancelledByUser"


def test_a_second_interrupt_cancels_a_job_whose_start_nobody_records(up: Machine) -> None:
    observer = up.worker("zombie_detector")
    kill(observer, signal.SIGSTOP)
    try:
        with begun(up, "--grace", "1s", "--", *SH, "trap '' INT; echo ready; exec sleep 1000") as running:
            assert line(running.stdout) == b"ready\n"
            job_id = the_job(up)
            assert up.job(job_id)["state"] == "starting"

            def interrupted() -> bool:
                running.send_signal(signal.SIGINT)
                return up.job(job_id)["state"] != "starting"

            eventually(interrupted)
    finally:
        kill(observer, signal.SIGCONT)
    assert up.ended(job_id)["reason"] == "CancelledByUser"


def test_a_detached_job_that_is_hung_up_gets_all_its_input(up: Machine) -> None:
    with begun(up, "--detach", "--", "cat", stdin=subprocess.PIPE) as running:
        running.stdin.write(b"before\n")
        running.stdin.flush()
        assert line(running.stdout) == b"before\n"
        running.send_signal(signal.SIGHUP)
        running.stdin.write(b"after\n")
        running.stdin.close()
        assert rest(running.stdout) == b"after\n"
        assert running.wait() == 0


def test_a_run_that_is_killed_takes_its_job_with_it(up: Machine) -> None:
    with begun(up, "--", *SH, "trap '' HUP; echo ready; exec sleep 1000") as running:
        assert line(running.stdout) == b"ready\n"
        running.kill()
        running.wait()
        job = up.ended(the_job(up))
        assert (job["state"], job["reason"]) == ("cancelled", "TerminalLost")


def test_a_run_that_is_terminated_cancels_its_job(up: Machine) -> None:
    with begun(up, "--", *SH, "echo ready; exec sleep 1000") as running:
        assert line(running.stdout) == b"ready\n"
        running.terminate()
        assert running.wait() == 130
        assert up.job(the_job(up))["reason"] == "CancelledByUser"


def test_a_job_whose_run_was_killed_while_it_waited_does_not_run(up: Machine) -> None:
    with up_to_the_gate(up), begun(up, *ALL_CPUS, "--", "touch", "ran") as waiting:
        assert b"waits" in line(waiting.stderr)
        waiting.kill()
        waiting.wait()
        job_id = the_job(up)
    job = up.ended(job_id)
    assert (job["state"], job["reason"]) == ("failed", "LaunchFailed:its gflowctl run has ended")
    assert not (up.work / "ran").exists()


def test_the_daemon_may_be_killed_and_come_back(own_default: Machine) -> None:
    machine = own_default
    with begun(machine, "--", *SH, f"echo ready; {GATE}; echo done") as running:
        assert line(running.stdout) == b"ready\n"
        kill(machine.status()["pid"])
        machine.open_gate()
        assert line(running.stdout) == b"done\n"
        assert b"gflowd is not running; it will record the end" in line(running.stderr)
        eventually(lambda: machine.status()["running"] is False)
        machine.start()
        assert running.wait() == 0


def test_a_run_that_is_killed_while_the_daemon_is_down_ends_its_job_when_it_is_back(own_default: Machine) -> None:
    machine = own_default
    with begun(machine, "--", *SH, "echo ready; exec sleep 1000") as running:
        assert line(running.stdout) == b"ready\n"
        machine.stop()
        running.kill()
        running.wait()
        machine.start()
        job = machine.ended(the_job(machine))
        assert (job["state"], job["reason"]) == ("cancelled", "TerminalLost")


def test_without_a_daemon_it_says_so_and_an_interrupt_cancels_it(machine: Machine) -> None:
    with begun(machine, "--", "touch", "ran") as waiting:
        assert b"gflowd is not running" in line(waiting.stderr)
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait() == 130
        machine.start()
        assert machine.job(1)["state"] == "cancelled"
        assert not (machine.work / "ran").exists()


def test_it_has_every_option_of_a_submission_or_says_what_it_has_instead() -> None:
    of_submit, of_run = (vars(main.parser(name).parse_args(["true"])) for name in ("submit", "run"))
    assert of_submit.keys() <= of_run.keys()


def test_what_makes_no_sense_is_refused(up: Machine) -> None:
    before = relays(up)
    assert "nothing to run" in up.refused(2, "run")
    assert "not both" in up.refused(2, "run", "--wrap", "true", "--", "true")
    assert "not a directory" in up.refused(1, "run", "-D", "missing", "--", "true")
    assert not relays(up) - before


# on a terminal


def test_the_job_has_a_terminal_like_mine(up: Machine) -> None:
    before = relays(up)
    with seat(up, "--", *SH, "tty >&2; stty size; echo $TERM $PAGER; ps -o tpgid= -p $$ | grep -v -- -1 >&2") as at:
        assert at.leaves() == 0
        assert "/dev/pts/" in at.shown.decode()
        assert at.sees("30 90")
        assert at.sees("xterm less")
        assert termios.tcgetattr(at.follower) == at.before
    assert b"30 90\n" in up.log(the_job(up))
    assert not relays(up) - before


def test_python_listens_to_keys_and_ends_with_its_own_status(up: Machine) -> None:
    with seat(up, "--", sys.executable, "-q") as at:
        at.until(">>>")
        at.type("import time; print('sum', 40 + 2); time.sleep(1000)\n")
        at.until("sum 42")
        at.type("\x03")
        at.until("KeyboardInterrupt")
        at.type("import os; os._exit(5)\n")  # what SystemExit holds, some releases of Python forget after a ^C
        assert at.leaves() == 5
        assert termios.tcgetattr(at.follower) == at.before
    assert up.job(the_job(up))["exit_code"] == 5
    assert b"sum 42\n" in up.log(the_job(up))


def test_a_shell_has_job_control_and_hears_of_a_new_size(up: Machine) -> None:
    with seat(up, "--pty", "--", "bash", "--norc", "-i") as at:
        at.type("PS1='$ '; sleep 1000\n")
        eventually(lambda: any(words.startswith("sleep 1000") for words in up.of_job(the_job(up)).values()))
        at.type("\x1a")
        at.until("Stopped")
        termios.tcsetwinsize(at.keys, (11, 77))
        at.type("kill %1; while [ \"$(stty size)\" = '30 90' ]; do sleep 0.1; done; stty size\n")
        at.until("11 77")
        at.type("exit 3\n")
        assert at.leaves() == 3


def test_a_window_that_is_closed_ends_the_job(up: Machine) -> None:
    with seat(up, "--", *SH, "trap '' HUP; echo ready; exec sleep 1000") as at:
        at.until("ready")
        at.loses_terminal()
        assert at.process.wait() in (130, 129)
    job = up.ended(the_job(up))
    assert (job["state"], job["reason"]) == ("cancelled", "CancelledByUser")


def test_a_killed_run_hangs_up_its_terminal(up: Machine) -> None:
    with seat(up, "--", *SH, "echo ready; exec sleep 1000") as at:
        at.until("ready")
        at.process.kill()
        at.process.wait()
        job = up.ended(the_job(up))
        assert job["reason"] in ("Signaled:SIGHUP", "TerminalLost")


def test_a_detached_job_outlives_its_window(up: Machine) -> None:
    with seat(up, "--detach", "--", *SH, f"echo ready; {GATE}; echo done") as at:
        at.until("ready")
        at.loses_terminal()
        up.open_gate()
        assert at.process.wait() == 0
    assert up.job(the_job(up))["state"] == "finished"
    assert up.log(the_job(up)) == b"ready\ndone\n"


def test_without_a_terminal_of_its_own_its_input_ends_with_the_window(up: Machine) -> None:
    with seat(up, "--detach", "--no-pty", "--", *SH, "echo ready; cat; echo done") as at:
        at.until("ready")
        at.loses_terminal()
        assert at.process.wait() == 0
    assert up.log(the_job(up)) == b"ready\ndone\n"


def test_in_the_background_it_shows_output_and_in_the_foreground_takes_keys(up: Machine) -> None:
    with seat(up, shell=True) as at:
        at.type("gflowctl run sh -c 'echo begun; stty raw; head -c 1 >/dev/null; echo got $((6 * 7))' &\n")
        at.until("begun\r")
        assert not at.sees("Stopped")
        at.type("fg\n")
        eventually(lambda: not is_cooked(at))
        at.type("x")
        at.until("got 42")
        eventually(lambda: is_cooked(at))
        at.type("exit\n")
        assert at.leaves() == 0


def test_an_interrupt_while_it_waits_for_a_terminal_cancels_it(up: Machine) -> None:
    with up_to_the_gate(up), seat(up, *ALL_CPUS, "--", "true") as at:
        at.until("waits: Resources")
        at.type("\x03")
        assert at.leaves() == 130
        assert termios.tcgetattr(at.follower) == at.before
        assert up.job(the_job(up))["state"] == "cancelled"


def test_a_terminal_without_a_user_gets_what_is_piped(up: Machine) -> None:
    done = up.ctl("run", "--pty", "--", "bash", "--norc", input="stty size; exit 4\n", check=False)
    assert done.returncode == 4
    assert "24 80" in done.stdout
    ended = up.ctl("run", "--pty", "--", "cat", input="a line\n", check=False)
    assert ended.returncode == 0
    assert "a line" in ended.stdout
    begun_line = up.ctl("run", "--pty", "--", "cat", input="a line\nand no end", check=False)
    assert begun_line.returncode == 0
    assert "and no end" in begun_line.stdout


def test_in_the_background_it_does_not_read_the_terminal(up: Machine) -> None:
    with seat(up, "--no-pty", "--", *SH, "echo out; read x; echo got $x") as at:
        at.until("out")
        at.type("words\n")
        at.until("got words")
        assert at.leaves() == 0
