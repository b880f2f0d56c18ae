from __future__ import annotations

import os
import resource
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gflowd.effects.attempt import detached

LIMIT = 60.0  # seconds: patience with a busy machine, no promise


def job(tmp_path: Path, name: str, text: str) -> detached.Detached:
    script = tmp_path / f"{name} 'q' $x.sh"
    mark = f"export GFLOW_TEST_MARK='{os.environ['GFLOW_TEST_MARK']}'\n"
    script.write_text(mark + text)
    return detached.Detached(str(script), str(tmp_path / f"{name}.log"))


def output(started: detached.Detached, lines: int = 1) -> list[str]:
    limit = time.monotonic() + LIMIT
    while True:
        if os.path.exists(started.log) and (text := Path(started.log).read_text()).count("\n") >= lines:
            return text.splitlines()
        assert time.monotonic() < limit, started
        time.sleep(0.005)


@pytest.fixture
def parent() -> Iterator[detached.Parent]:
    made = detached.Parent()
    yield made
    limit = time.monotonic() + LIMIT
    while made.reap():
        assert time.monotonic() < limit
        time.sleep(0.005)


def test_a_whole_batch_is_started(tmp_path: Path, parent: detached.Parent) -> None:
    batch = [job(tmp_path, f"j{i}", f"echo {i}; echo err >&2") for i in range(20)]
    parent.start(batch)
    assert [output(started, 2) for started in batch] == [[str(i), "err"] for i in range(20)]


def test_a_job_has_a_session_of_its_own(tmp_path: Path, parent: detached.Parent) -> None:
    started = job(tmp_path, "j", 'echo $$; read -r stat </proc/$$/stat; echo "$stat"')
    parent.start([started])
    pid, line = output(started, 2)
    _, _, _, _, group, session, *_ = line.split()
    assert pid == group == session


def test_a_job_outlives_who_started_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    started = job(tmp_path, "j", f"echo here; read x <'{tmp_path}/go'; echo $x")
    if not (parent := os.fork()):
        detached.Parent().start([started])
        output(started)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(parent, 0)
    (tmp_path / "go").write_text("on\n")
    assert output(started, 2) == ["here", "on"]


def test_a_job_gets_nothing_of_ours(tmp_path: Path, parent: detached.Parent) -> None:
    os.environ["SECRET_OF_OURS"] = "x"
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    held = os.dup2(os.open("/dev/null", os.O_RDONLY), 77, inheritable=True)
    try:
        text = "ls -m /proc/$$/fd; grep -E 'Sig(Blk|Ign)' /proc/self/status; env; echo end"
        started = job(tmp_path, "j", text)
        parent.start([started])
        lines = output(started, 6)
    finally:
        os.close(held)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGUSR1, before)
        del os.environ["SECRET_OF_OURS"]
    descriptors, *masks = lines[:3]
    assert set(descriptors.split(", ")) <= {"0", "1", "2", "10"}  # 10 is where dash keeps its script
    assert [int(line.split()[1], 16) & 0x7FFFFFFF for line in masks] == [0, 0]  # 32 and 33 are the C library's
    names = {line.partition("=")[0] for line in lines[3:-1]}
    assert names <= {"PATH", "PWD", "GFLOW_TEST_MARK", "_", "SHLVL", "OLDPWD"}


def test_the_log_is_ours_alone_and_is_appended_to(tmp_path: Path, parent: detached.Parent) -> None:
    started = job(tmp_path, "j", "echo new")
    parent.start([started])
    output(started)
    assert stat.S_IMODE(os.stat(started.log).st_mode) == 0o600
    parent.start([started])
    assert output(started, 2) == ["new", "new"]


def test_one_that_cannot_be_started_does_not_cost_the_others(tmp_path: Path, parent: detached.Parent) -> None:
    lost = detached.Detached(str(tmp_path / "x.sh"), str(tmp_path / "no" / "such" / "log"))
    started = job(tmp_path, "j", "echo hi")
    parent.start([lost, started])
    assert output(started) == ["hi"]


def test_who_has_ended_is_buried_and_nobody_elses_child(tmp_path: Path, parent: detached.Parent) -> None:
    other = os.posix_spawn("/bin/true", ["true"], {})
    os.mkfifo(tmp_path / "go")
    parent.start([job(tmp_path, "short", "echo hi"), job(tmp_path, "long", f"read x <'{tmp_path}/go'")])
    limit = time.monotonic() + LIMIT
    while parent.reap() > 1:
        assert time.monotonic() < limit
    (tmp_path / "go").write_text("on\n")
    assert os.waitpid(other, 0)[0] == other


def test_a_full_process_table_is_told_of(tmp_path: Path, parent: detached.Parent) -> None:
    if os.geteuid() == 0:
        pytest.skip("root has no limit")
    limit = resource.getrlimit(resource.RLIMIT_NPROC)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, limit[1]))
    try:
        with pytest.raises(BlockingIOError):
            parent.start([job(tmp_path, "j", "echo hi")])
    finally:
        resource.setrlimit(resource.RLIMIT_NPROC, limit)
