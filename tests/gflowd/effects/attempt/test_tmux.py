from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import descriptors
from support.waiting import eventually

from gflowd.effects.attempt import tmux as module
from gflowd.effects.attempt.tmux import Session, Tmux, TmuxFailed

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux")
CALL_TIMEOUT = module.CALL_TIMEOUT  # as it is when no test changes it
LIMIT = 60.0  # seconds: patience with a busy machine, no promise
ODD = 'it\'s $HOME `x` #{pid} #S %H %% ; \\ "q" ~ grüße ☃'


def is_gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].startswith(b"Z")
    except OSError:
        return True


def stop(pid: int) -> None:
    """Stops a process, and waits until it is stopped."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].startswith(b"T"))


class Place:
    """A server of our own, and what its sessions run and write."""

    def __init__(self, run: Path, jobs: Path) -> None:
        self.run = run
        self.jobs = jobs
        self.tmux = Tmux(str(run / "tmux.sock"), str(run))

    def session(self, name: str, text: str) -> Session:
        script = self.jobs / f"{name}.sh"
        # tmux 3.3 may lose what is written in the very instant in which several panes end, on a busy machine.
        script.write_text(f"{text}\nsleep 0.1\n")
        return Session(
            name=name,
            script=str(script),
            log=str(self.jobs / f"{name}.log"),
            log_end=str(self.jobs / f"{name}.end"),
            bell=str(self.run / "bell"),
        )

    def start(self, name: str, text: str) -> Session:
        session = self.session(name, text)
        assert self.tmux.start([session]) == []
        return session

    def server(self) -> int:
        """Its pid."""
        words = ["tmux", "-S", self.tmux.socket, "display-message", "-p", "#{pid}"]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=LIMIT)
        return int(done.stdout)

    def end(self) -> None:
        with contextlib.suppress(TmuxFailed):
            pid = self.server() if self.tmux.is_running() else 0
            if pid:
                self.tmux._call("kill-server")
                eventually(lambda: is_gone(pid))


@pytest.fixture
def place(runtime_dir: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(module, "CALL_TIMEOUT", LIMIT)
    made = Place(Path(runtime_dir), tmp_path)
    yield made
    made.end()


def log(session: Session) -> str:
    """The whole log, once it has ended; terminal line ends as plain ones."""
    eventually(lambda: os.path.exists(session.log_end))
    return Path(session.log).read_bytes().decode().replace("\r\n", "\n")


def test_without_a_server_there_is_no_session(place: Place) -> None:
    assert place.tmux.sessions() == set()
    assert not place.tmux.is_running()
    place.tmux.stop_when_empty()
    assert not os.path.exists(place.tmux.socket)


def test_the_first_session_starts_the_server(place: Place) -> None:
    session = place.start("gflow-1", "echo hello; exec sleep 60")
    assert place.tmux.is_running()
    assert place.tmux.sessions() == {"gflow-1"}
    eventually(lambda: os.path.exists(session.log) and "hello\n" in Path(session.log).read_text())
    assert not os.path.exists(session.log_end)
    place.tmux.kill(["gflow-1"])
    assert log(session) == "hello\n"
    assert place.tmux.sessions() == set()


def test_nothing_is_written_through_a_link_that_a_job_has_put_in_the_place_of_its_log(place: Place) -> None:
    session = place.session("gflow-1", "echo hello")
    precious = place.jobs / "precious"
    precious.write_text("mine\n")
    for path in (session.log, session.log_end):
        Path(path).symlink_to(precious)
    os.mkfifo(session.bell)
    bell = os.open(session.bell, os.O_RDWR | os.O_NONBLOCK)
    try:
        assert place.tmux.start([session]) == []
        eventually(lambda: bool(select.select([bell], [], [], 0)[0]))  # the log's writer is done
    finally:
        os.close(bell)
    assert precious.read_text() == "mine\n"


@pytest.mark.parametrize("whole_directory", [True, False])
def test_a_server_whose_socket_was_deleted_is_found_again(place: Place, whole_directory: bool) -> None:
    place.start("gflow-1", "exec sleep 60")
    pid = place.server()
    if whole_directory:
        shutil.rmtree(place.run)
        place.run.mkdir(mode=0o700)
    else:
        os.unlink(place.tmux.socket)
    place.start("gflow-2", "exec sleep 60")
    assert place.server() == pid
    assert place.tmux.sessions() == {"gflow-1", "gflow-2"}
    place.tmux.kill(["gflow-1", "gflow-2"])
    os.unlink(place.tmux.socket)
    place.tmux.stop_when_empty()
    eventually(lambda: is_gone(pid))


def test_fifty_sessions_start_in_one_call_and_each_log_is_whole(place: Place) -> None:
    batch = [place.session(f"gflow-{i}", f"echo begin {i}; echo end {i}") for i in range(50)]
    assert place.tmux.start(batch) == []
    assert [log(session) for session in batch] == [f"begin {i}\nend {i}\n" for i in range(50)]


def test_a_session_that_is_there_already_does_not_cost_the_others(place: Place) -> None:
    first = place.start("gflow-2", "echo begun; exec sleep 60")
    eventually(lambda: os.path.exists(first.log) and "begun" in Path(first.log).read_text())
    batch = [place.session(f"gflow-{i}", f"echo {i} >>{place.jobs}/ran; exec sleep 60") for i in (1, 2, 3)]
    complaints = place.tmux.start(batch)
    assert any("duplicate session" in line and "gflow-2" in line for line in complaints)
    assert place.tmux.sessions() == {"gflow-1", "gflow-2", "gflow-3"}
    eventually(lambda: (place.jobs / "ran").exists() and len((place.jobs / "ran").read_text().split()) == 2)
    assert set((place.jobs / "ran").read_text().split()) == {"1", "3"}


def test_names_are_exact_and_not_prefixes(place: Place) -> None:
    names = ["gflow-1", "gflow-10", "gflow-1-2", "gflow-11"]
    for name in names:
        place.start(name, "exec sleep 60")
    place.tmux.kill(["gflow-1"])
    assert place.tmux.sessions() == set(names) - {"gflow-1"}
    place.tmux.kill(["gflow-1"])
    assert place.tmux.sessions() == set(names) - {"gflow-1"}, "gone, and nobody else in its stead"
    place.tmux.kill(["gflow-10", "gflow-11", "not-there"])
    place.tmux.kill(["gflow-1", "gflow"])
    assert place.tmux.sessions() == {"gflow-1-2"}, "the only one whose name begins so"


def test_output_goes_to_the_log_of_its_own_session(place: Place) -> None:
    batch = [place.session(name, f"echo {name}") for name in ("gflow-10", "gflow-1", "gflow-100")]
    assert place.tmux.start(batch) == []
    assert [log(session) for session in batch] == ["gflow-10\n", "gflow-1\n", "gflow-100\n"]


@pytest.mark.parametrize("odd", [ODD, "a\nb", " ", "%if", "#", "-x", "'", "}{", "$(touch x)"])
def test_paths_may_hold_anything(runtime_dir: str, tmp_path: Path, odd: str) -> None:
    jobs = tmp_path / odd / "jobs"
    jobs.mkdir(parents=True)
    place = Place(Path(runtime_dir), jobs)
    try:
        assert log(place.start("gflow-1", "echo hi")) == "hi\n"
        assert sorted(os.listdir(jobs)) == ["gflow-1.end", "gflow-1.log", "gflow-1.sh"]
    finally:
        place.end()


@pytest.mark.parametrize("odd", ["a b'$#%;ü", "back\\slash", "{a,b}*?[x]", "colon:ed", "~", "[!a]"])
def test_the_servers_own_directory_may_be_called_anything_too(runtime_dir: str, tmp_path: Path, odd: str) -> None:
    run = Path(runtime_dir, odd)
    run.mkdir()
    os.mkfifo(run / "bell")
    bell = os.open(run / "bell", os.O_RDWR | os.O_NONBLOCK)
    place = Place(run, tmp_path)
    try:
        log(place.start("gflow-1", "echo hi"))
        eventually(lambda: _read(bell) == b"e")
    finally:
        os.close(bell)
        place.end()


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 99)
    except BlockingIOError:
        return b""


def test_a_burst_of_ten_megabytes_is_in_the_log_to_the_last_byte(place: Place) -> None:
    line = "0123456789abcdef" * 8
    count = 10_000_000 // (len(line) + 1)
    session = place.start("gflow-1", f"yes {line} | head -n {count}; printf last")
    text = log(session)
    assert len(text) == count * (len(line) + 1) + len("last")
    assert text == f"{line}\n" * count + "last"


def test_a_jobs_environment_has_nothing_of_ours(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_OURS", "x")
    names = {line.partition("=")[0] for line in log(place.start("gflow-1", "env")).splitlines()}
    # What job.sh unsets, but for PWD and `_`, which are the shell's own.
    assert names <= {
        "LC_CTYPE", "OLDPWD", "PATH", "PWD", "SHELL", "SHLVL", "TERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "TMUX",
        "TMUX_PANE", "_",
    }  # fmt: skip


def test_a_later_clients_environment_does_not_reach_jobs_either(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.start("gflow-1", "exec sleep 60")
    for name in ("SECRET_OF_OURS", "DISPLAY", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(name, "x")
    found = log(place.start("gflow-2", "env"))
    assert "SECRET_OF_OURS" not in found
    assert "DISPLAY" not in found
    assert "SSH_AUTH_SOCK" not in found


def test_a_job_has_a_terminal_and_plain_signals(place: Place) -> None:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
    try:
        found = log(place.start("gflow-1", "tty; stty size; umask; grep -E 'Sig(Blk|Ign)' /proc/self/status"))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    terminal, size, umask, *masks = found.splitlines()
    assert terminal.startswith("/dev/pts/")
    assert size == "50 200"
    assert umask == "0077"
    blocked, ignored = (int(line.split()[1], 16) for line in masks)
    ours = set(signal.valid_signals()) - {signal.SIGTTIN, signal.SIGTTOU}  # these two tmux itself ignores
    assert not blocked
    assert not [number for number in ours if ignored >> (number - 1) & 1]


def test_the_server_is_nobodys_child_and_outlives_who_started_it(place: Place) -> None:
    pid = os.fork()
    if not pid:
        place.start("gflow-1", "exec sleep 60")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert place.tmux.sessions() == {"gflow-1"}
    with open(f"/proc/{place.server()}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    assert int(fields[1]) not in (pid, os.getpid())
    assert int(fields[3]) != os.getsid(0)


def test_the_server_holds_no_descriptor_of_ours(place: Place, tmp_path: Path) -> None:
    (tmp_path / "ours").touch()
    held = os.open(tmp_path / "ours", os.O_RDONLY)
    os.set_inheritable(held, True)
    place.start("gflow-1", "exec sleep 60")
    os.close(held)
    found = descriptors.opened(place.server())
    assert found
    assert not [name for name in found if "ours" in name]


def test_the_server_stays_when_its_last_session_ends_until_it_is_told(place: Place) -> None:
    log(place.start("gflow-1", "true"))
    eventually(lambda: not place.tmux.sessions())
    assert place.tmux.is_running()
    place.tmux.stop_when_empty()
    eventually(lambda: not place.tmux.is_running())


def test_a_server_with_a_session_is_not_stopped(place: Place) -> None:
    place.start("gflow-1", "exec sleep 60")
    place.tmux.stop_when_empty()
    assert place.tmux.sessions() == {"gflow-1"}


def test_a_server_that_was_left_with_a_session_ends_with_it(place: Place) -> None:
    place.start("gflow-1", "exec sleep 60")
    pid = place.server()
    place.tmux.stop_when_empty()
    place.tmux.kill(["gflow-1"])
    eventually(lambda: is_gone(pid))


def test_a_server_that_was_left_stays_again_for_who_goes_on_with_it(place: Place) -> None:
    place.start("gflow-1", "exec sleep 60")
    place.tmux.stop_when_empty()
    place.start("gflow-2", "exec sleep 60")
    place.tmux.kill(["gflow-1", "gflow-2"])
    eventually(lambda: not place.tmux.sessions())
    assert place.tmux.is_running()


def test_an_empty_server_whose_directory_is_gone_is_ended(place: Place) -> None:
    log(place.start("gflow-1", "true"))
    eventually(lambda: not place.tmux.sessions())
    pid = place.server()
    shutil.rmtree(place.run)
    place.tmux.stop_when_empty()
    eventually(lambda: is_gone(pid))


@pytest.mark.parametrize("noise", ["ERROR: ld.so: object 'x.so' cannot be preloaded", "no server running"])
def test_what_else_is_said_on_stderr_is_no_failure(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise: str
) -> None:
    real, bin_dir = shutil.which("tmux"), tmp_path / "bin"
    bin_dir.mkdir()
    (bin_dir / "tmux").write_text(f'#!/bin/sh\necho "{noise}" >&2\nexec {real} "$@"\n')
    (bin_dir / "tmux").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_dir}:{os.environ['PATH']}")
    assert log(place.start("gflow-1", "echo hi")) == "hi\n"
    assert log(place.start("gflow-2", "echo ho")) == "ho\n"
    assert place.tmux.is_running()
    eventually(lambda: not place.tmux.sessions())
    place.tmux.stop_when_empty()
    assert not place.tmux.is_running()


def test_a_killed_server_is_followed_by_a_new_one(place: Place) -> None:
    place.start("gflow-1", "exec sleep 60")
    pid = place.server()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: is_gone(pid))
    assert os.path.exists(place.tmux.socket)
    assert not place.tmux.is_running()
    assert place.tmux.sessions() == set()
    assert log(place.start("gflow-2", "echo hi")) == "hi\n"


def test_the_users_own_configuration_is_not_read(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".tmux.conf").write_text("set -g default-terminal dumb\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert log(place.start("gflow-1", "echo $TERM")) == f"{module.TERM}\n"


def test_a_server_that_does_not_answer_is_given_up_after_a_while(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.start("gflow-1", "exec sleep 60")
    assert CALL_TIMEOUT == 5.0
    server = place.server()
    stop(server)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(module, "CALL_TIMEOUT", 0.3)
            late = place.session("gflow-2", "true")
            for call in (lambda: place.tmux.kill(["gflow-1"]), lambda: place.tmux.start([late])):
                began = time.monotonic()
                with pytest.raises(TmuxFailed, match="did not answer within"):
                    call()
                assert time.monotonic() - began < LIMIT, "a server that is stopped would never answer"
            assert place.tmux.sessions() == set()
            assert not place.tmux.is_running()
            place.tmux.stop_when_empty()
            with pytest.raises(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
    finally:
        os.kill(server, signal.SIGCONT)
    assert place.tmux.is_running(), "it answers again"


def test_a_client_whose_time_is_over_when_it_is_just_being_made_is_not_left_behind(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.start("gflow-1", "exec sleep 60")
    server, fork = place.server(), subprocess._fork_exec  # type: ignore[attr-defined]
    stop(server)

    def late(*words: object) -> int:
        pid: int = fork(*words)
        signal.raise_signal(signal.SIGALRM)
        return pid

    try:
        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "_fork_exec", late)
            with pytest.raises(TmuxFailed, match="did not answer within"):
                place.tmux.listed()
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
    finally:
        os.kill(server, signal.SIGCONT)
    assert place.tmux.sessions() == {"gflow-1"}, "it answers again"


def test_a_server_whose_sessions_cannot_be_listed_is_not_stopped(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.start("gflow-1", "exec sleep 60")
    server = place.server()
    answers = place.tmux.is_running

    def answer_and_hang() -> bool:
        answered = answers()
        stop(server)
        patch.setattr(module, "CALL_TIMEOUT", 0.3)  # not before: a server that is only slow is to answer
        return answered

    try:
        with monkeypatch.context() as patch:
            patch.setattr(place.tmux, "is_running", answer_and_hang)
            with pytest.raises(TmuxFailed):
                place.tmux.stop_when_empty()
    finally:
        os.kill(server, signal.SIGCONT)
    assert place.tmux.sessions() == {"gflow-1"}


def test_the_alarm_of_a_call_leaves_ours_alone(place: Place) -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: rung.append(number))
    try:
        place.tmux.sessions()
        signal.raise_signal(signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert rung == [signal.SIGALRM]


def test_a_place_that_cannot_be_written_to_is_a_failure_of_tmux(tmp_path: Path) -> None:
    gone = Place(tmp_path / "no" / "such", tmp_path)
    with pytest.raises(TmuxFailed, match="No such file"):
        gone.start("gflow-1", "true")


def test_without_tmux_that_is_said(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.is_installed()
    monkeypatch.setenv("PATH", "/no/such/place")
    assert not module.is_installed()
    with pytest.raises(TmuxFailed, match="tmux"):
        place.tmux.start([place.session("gflow-1", "true")])
