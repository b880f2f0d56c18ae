from __future__ import annotations

import os
import signal
import stat
import time
from pathlib import Path

from gflowd.effects import detached

LIMIT = 10.0


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


def test_a_whole_batch_is_started(tmp_path: Path) -> None:
    batch = [job(tmp_path, f"j{i}", f"echo {i}; echo err >&2") for i in range(20)]
    detached.start(batch)
    assert [output(started, 2) for started in batch] == [[str(i), "err"] for i in range(20)]


def test_a_job_is_nobodys_child_and_has_a_session_of_its_own(tmp_path: Path) -> None:
    started = job(tmp_path, "j", 'echo $$; read -r stat </proc/$$/stat; echo "$stat"; sleep 0.1')
    detached.start([started])
    pid, line = output(started, 2)
    _, _, _, parent, group, session, *_ = line.split()
    assert int(parent) != os.getpid()
    assert pid == group == session


def test_a_job_gets_nothing_of_ours(tmp_path: Path) -> None:
    os.environ["SECRET_OF_OURS"] = "x"
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    held = os.dup2(os.open("/dev/null", os.O_RDONLY), 77, inheritable=True)
    try:
        text = "ls -m /proc/$$/fd; grep -E 'Sig(Blk|Ign)' /proc/self/status; env; echo end"
        started = job(tmp_path, "j", text)
        detached.start([started])
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


def test_the_log_is_ours_alone_and_is_appended_to(tmp_path: Path) -> None:
    started = job(tmp_path, "j", "echo new")
    detached.start([started])
    output(started)
    assert stat.S_IMODE(os.stat(started.log).st_mode) == 0o600
    detached.start([started])
    assert output(started, 2) == ["new", "new"]


def test_one_that_cannot_be_started_does_not_cost_the_others(tmp_path: Path) -> None:
    lost = detached.Detached(str(tmp_path / "x.sh"), str(tmp_path / "no" / "such" / "log"))
    started = job(tmp_path, "j", "echo hi")
    detached.start([lost, started])
    assert output(started) == ["hi"]


def test_no_child_is_left_to_us(tmp_path: Path) -> None:
    detached.start([job(tmp_path, "j", "echo hi")])
    output(job(tmp_path, "j", ""))
    try:
        assert os.waitpid(-1, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        pass
