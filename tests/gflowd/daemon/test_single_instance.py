import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import depth, descriptors

from gflowd import paths
from gflowd.config import start_options
from gflowd.core.errors import GflowError, Refused, SystemFailed
from gflowd.core.job.records import HEADER
from gflowd.daemon import daemonize, instance, launch
from gflowd.effects import daemon
from gflowd.paths import State
from gflowd.storage.record_log import FORMAT
from gflowd.storage.store import Store

HOLD = """
import sys, time
from gflowd.daemon import instance as daemon_instance
from gflowd.paths import State
with daemon_instance.single_instance(State(sys.argv[1]), "foreground") as instance:
    instance.sign(7)
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(state: State) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that is the daemon of `state`."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, state.root], stdout=subprocess.PIPE)
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_nothing_runs_and_nothing_is_made_by_asking(tmp_path: Path) -> None:
    state = State(str(tmp_path / "nowhere"))
    assert daemon.running(state) is None
    assert not os.path.exists(state.root)


def test_a_lock_file_that_nobody_holds_is_no_daemon(state: State) -> None:
    Path(state.daemon_lock).touch(mode=0o600)
    assert daemon.running(state) is None


def test_what_may_not_be_seen_is_not_taken_for_down(state: State, holder: subprocess.Popen[bytes]) -> None:
    os.chmod(state.root, 0)
    before = os.geteuid()
    try:
        if before == 0:
            os.seteuid(65534)
        with pytest.raises(Refused, match="Permission denied"):
            daemon.running(state)
    finally:
        os.seteuid(before)
        os.chmod(state.root, 0o700)


def test_the_daemon_is_found_with_what_it_says_of_itself(state: State, holder: subprocess.Popen[bytes]) -> None:
    found = daemon.running(state)
    assert (found.pid, found.pulse_fd, found.hosting) == (holder.pid, 7, "foreground")
    assert found.boot == daemon.boot_id()
    assert str(found) == f"pid {holder.pid} on {os.uname().nodename}"
    assert os.stat(state.daemon_pid).st_mode & 0o777 == 0o600
    assert os.stat(state.daemon_lock).st_mode & 0o777 == 0o600


def test_a_killed_daemon_is_gone_at_once_and_its_file_harmless(state: State, holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    holder.wait()
    assert os.path.exists(state.daemon_pid)
    assert daemon.running(state) is None
    with instance.single_instance(state, "foreground"):
        assert daemon.running(state).pid == os.getpid()


def test_a_clean_end_removes_the_pid_file(state: State) -> None:
    with instance.single_instance(state, "foreground"):
        pass
    assert not os.path.exists(state.daemon_pid)
    assert daemon.running(state) is None


def test_a_second_daemon_is_refused_naming_the_first(state: State, holder: subprocess.Popen[bytes]) -> None:
    with (
        pytest.raises(Refused, match=rf"^already running \(pid {holder.pid} on "),
        instance.single_instance(state, "foreground"),
    ):
        pass


@pytest.mark.parametrize("wrong", [{"pid": os.getpid()}, {"pid": 0}, {"start": 1}, {"boot": "another"}])
def test_a_pid_file_of_another_process_proves_nothing(
    wrong: dict[str, object], state: State, holder: subprocess.Popen[bytes]
) -> None:
    record = json.loads(Path(state.daemon_pid).read_text()) | wrong
    paths.replace_file(state.daemon_pid, json.dumps(record).encode(), durable=False)
    assert daemon.running(state).pid == 0
    with pytest.raises(SystemFailed, match="pid is not known"):
        instance.stop(state, daemon.running(state))
    assert holder.poll() is None


def test_a_garbled_pid_file_is_as_none(state: State, holder: subprocess.Popen[bytes]) -> None:
    for text in (b"", b"{", b"[]", b'{"pid": "x", "start": 1}'):
        paths.replace_file(state.daemon_pid, text, durable=False)
        assert daemon.running(state).pid == 0


def test_a_daemon_on_another_host_is_not_signalled(state: State, holder: subprocess.Popen[bytes]) -> None:
    record = json.loads(Path(state.daemon_pid).read_text()) | {"host": "elsewhere"}
    paths.replace_file(state.daemon_pid, json.dumps(record).encode(), durable=False)
    with pytest.raises(Refused, match=r"^the daemon runs on elsewhere, not here"):
        instance.stop(state, daemon.running(state))
    assert holder.poll() is None


def test_a_forked_child_that_ends_does_not_release_the_lock(state: State) -> None:
    with instance.single_instance(state, "foreground"):
        for ending in (lambda: os._exit(0), lambda: sys.exit(0)):
            child = multiprocessing.get_context("fork").Process(target=ending)
            child.start()
            child.join()
            child.close()
            assert daemon.running(state).pid == os.getpid()


def test_a_forked_child_that_outlives_the_daemon_does_not_keep_the_lock(state: State) -> None:
    with instance.single_instance(state, "foreground"):
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
    assert daemon.running(state) is None
    child.kill()
    child.join()
    child.close()


def test_of_many_that_start_at_once_exactly_one_wins(state: State) -> None:
    many = depth.number(20, 6)
    script = HOLD.replace("time.sleep(60)", "sys.stdin.read()")
    script = script.replace("with daemon_instance", "sys.stdin.readline()\nwith daemon_instance", 1)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    racers = [subprocess.Popen([sys.executable, "-c", script, state.root], **pipes) for _ in range(many)]
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    ended = []
    deadline = time.monotonic() + 120
    while len(ended) < many - 1 and time.monotonic() < deadline:
        ended = [racer for racer in racers if racer.poll() is not None]
        time.sleep(0.02)
    (winner,) = set(racers) - set(ended)
    assert winner.stdout.readline() == "held\n"
    for racer in racers:
        _, complaints = racer.communicate()
        if racer is not winner:
            assert f"already running (pid {winner.pid} on " in complaints
    assert winner.returncode == 0


def test_those_who_look_do_not_keep_a_daemon_from_starting(state: State) -> None:
    with instance.single_instance(state, "foreground"):
        pass
    look = "import sys\nfrom gflowd.effects import daemon\nfrom gflowd.paths import State\n"
    look += "daemon.running(State(sys.argv[1]))\nprint('looks', flush=True)\n"
    look += "while True: daemon.running(State(sys.argv[1]))"
    looker = subprocess.Popen([sys.executable, "-c", look, state.root], stdout=subprocess.PIPE)
    try:
        assert looker.stdout.readline() == b"looks\n"
        for _ in range(100):
            with instance.single_instance(state, "foreground"):
                pass
    finally:
        looker.kill()
        looker.wait()
        looker.stdout.close()


def test_stop_ends_the_daemon_and_waits_for_its_lock(state: State, holder: subprocess.Popen[bytes]) -> None:
    instance.stop(state, daemon.running(state))
    assert daemon.running(state) is None
    assert holder.wait(60) == -signal.SIGTERM


def test_a_daemon_that_does_not_end_is_told_of(state: State, holder: subprocess.Popen[bytes]) -> None:
    os.kill(holder.pid, signal.SIGSTOP)
    while ") T " not in Path(f"/proc/{holder.pid}/stat").read_text():
        time.sleep(0.001)
    with pytest.raises(SystemFailed, match=r"has not ended after 0\.2 s"):
        instance.stop(state, daemon.running(state), patience=0.2)


def test_detaching_answers_the_pid_of_a_session_leader_s_child(state: State) -> None:
    def serve(ready: Callable[[], None]) -> int:
        with instance.single_instance(state, "detached"):
            Path(state.path("about")).write_text(
                f"{os.getsid(0)} {os.getcwd()} {os.umask(0)} {os.readlink('/proc/self/fd/0')}"
            )
            ready()
            time.sleep(60)
        return 0

    extra = os.open("/dev/zero", os.O_RDONLY)
    os.set_inheritable(extra, True)
    pid = daemonize.detach(serve, state.log)
    holder = daemon.running(state)
    assert holder.pid == pid
    session, directory, umask, stdin = Path(state.path("about")).read_text().split()
    assert int(session) not in {pid, os.getsid(0)}
    assert (directory, int(umask), stdin) == ("/", 0o077, "/dev/null")
    found = descriptors.opened(pid)
    assert "/dev/null" in found
    assert "/dev/zero" not in found
    os.close(extra)
    instance.stop(state, holder)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (Refused("no"), 1, "no"),
        (SystemFailed("disk full"), 3, "disk full"),
        (RuntimeError("odd"), 3, "internal error: RuntimeError('odd'); see the log"),
    ],
)
def test_what_keeps_a_detached_daemon_from_starting_is_told_by_its_starter(
    state: State, error: Exception, status: int, words: str
) -> None:
    def serve(_ready: Callable[[], None]) -> int:
        raise error

    with pytest.raises(GflowError) as caught:
        daemonize.detach(serve, state.log)
    assert (caught.value.status, str(caught.value)) == (status, words)


def test_a_detached_daemon_that_just_dies_is_told_of(state: State) -> None:
    with pytest.raises(SystemFailed, match="ended before it was ready; see "):
        daemonize.detach(lambda _ready: os._exit(9), state.log)


def test_our_environment_is_cleansed_of_the_job_that_started_us(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {
        "GFLOW_JOB_ID": "1", "GFLOW_ARRAY_TASK_ID": "1", "GFLOW_ATTEMPT": "1", "GFLOW_PARAM_LR": "1",
        "GFLOW_SUBMIT_DIR": "/", "GFLOW_SCRIPT": "/x", "GFLOW_SCRIPT_DIR": "/",
        "SLURM_JOB_ID": "1", "TMUX": "x", "TMUX_PANE": "x", "GFLOW_RUNTIME_DIR": "run",
        "NOTIFY_SOCKET": "x", "PATH": "/bin", "TMPDIR": "/tmp/gflow/1/x", "GFLOW_JOB_TMPDIR": "/tmp/gflow/1",
    }  # fmt: skip
    instance.cleanse(environ, detached=False)
    assert environ == {"GFLOW_RUNTIME_DIR": f"{tmp_path}/run", "NOTIFY_SOCKET": "x", "PATH": "/bin"}
    instance.cleanse(environ, detached=True)
    assert "NOTIFY_SOCKET" not in environ


def test_systemd_is_told_from_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "SYSTEMD_EXEC_PID"):
        monkeypatch.delenv(name, raising=False)
    assert instance.foreground_hosting() == "foreground"
    monkeypatch.setenv("SYSTEMD_EXEC_PID", str(os.getppid()))
    assert instance.foreground_hosting() == "foreground"
    monkeypatch.setenv("SYSTEMD_EXEC_PID", str(os.getpid()))
    assert instance.foreground_hosting() == "systemd"


def test_the_state_of_another_machine_is_refused_until_adopted(state: State) -> None:
    store = Store(state)
    launch.check_machine(state, 1.0, adopt=False)
    with store.commit() as commit:
        commit.put(HEADER, 0, {"format": FORMAT, "machine": "another"})
    with pytest.raises(Refused, match=r"last used on machine another, and this is .*gflowd start --adopt$"):
        launch.check_machine(state, 1.0, adopt=False)
    launch.check_machine(state, 1.0, adopt=True)
    launch.check_machine(state, 1.0, adopt=False)
    assert store.read().of(HEADER)[0] == {"format": FORMAT, "machine": paths.machine()}


def test_options_are_kept_and_those_given_anew_go_before_them(state: State) -> None:
    assert start_options.kept(state) == start_options.StartOptions(None, {})
    before = start_options.StartOptions("/a.toml", {"gpu.allow": "0", "gpu.poll_interval": "3"})
    start_options.keep(state, before)
    assert start_options.kept(state) == before
    now = start_options.StartOptions(None, {"gpu.allow": "1"}).over(start_options.kept(state))
    assert now == start_options.StartOptions("/a.toml", {"gpu.allow": "1", "gpu.poll_interval": "3"})
    for text in (b"", b"[]", b"{}", b'{"config": null, "options": 3}'):
        paths.replace_file(state.options, text, durable=False)
        assert start_options.kept(state) == start_options.StartOptions(None, {})


def test_asking_for_the_daemon_imports_next_to_nothing(state: State) -> None:
    script = (
        "import sys\nfrom gflowd.effects import daemon\nfrom gflowd.paths import State\n"
        f"daemon.running(State({state.root!r}))\n"
        "print([name for name in ('typing', 'dataclasses', 'logging', 'filelock', 'subprocess', 'pathlib')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
