from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import LIMIT, Jobs
from support.specs import SPEC
from support.waiting import eventually

from gflowd.core.job.model import PROCESS, TMUX, Job, Run, Starting, Wish
from gflowd.effects.attempt import jobdir, tmux
from gflowd.effects.attempt.tmux import TmuxFailed, TmuxSilent
from gflowd.workers.base import Wiring
from gflowd.workers.scheduler.launching.launcher import SILENCES, Launcher
from gflowd.workers.scheduler.upkeep.scratch import Scratch

EXECUTORS = [
    pytest.param(TMUX, marks=pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux")),
    PROCESS,
]


def launcher_of(wiring: Wiring) -> Launcher:
    return Launcher(wiring.state, wiring.runtime, Scratch(wiring.state, wiring.state.root))


@pytest.fixture
def launcher(wiring: Wiring, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launcher]:
    monkeypatch.setattr(tmux, "CALL_TIMEOUT", LIMIT)
    directory = Path(wiring.state.path("env"))
    directory.mkdir(mode=0o700)
    write_environment(wiring, "e", b"PATH=/usr/bin:/bin\0MINE=it's\xff\0a.b=c\0")
    made = launcher_of(wiring)
    yield made
    jobs.end()
    with contextlib.suppress(TmuxFailed):
        made._tmux._call("kill-server")
    eventually(lambda: not made._tmux.is_running())


def write_environment(wiring: Wiring, name: str, data: bytes) -> None:
    path = Path(wiring.state.environment(name))
    path.write_bytes(data + b"GFLOW_TEST_MARK=" + os.environ["GFLOW_TEST_MARK"].encode() + b"\0")
    path.chmod(0o600)


def attempt(job_id: int, text: str, executor: str, wiring: Wiring, **fields: object) -> tuple[Job, Run]:
    run = Run(executor=executor, launched_at=1.0, gpu_ids=(1, 3))
    spec = SPEC.replace(command=("/bin/sh", "-c", text), name="n", cwd=wiring.state.root)
    return Job(job_id, spec.replace(**fields), Wish(), Starting(run=run)), run


def ended(wiring: Wiring, job_id: int) -> jobdir.Record:
    directory = wiring.state.attempt(job_id, 1)
    eventually(lambda: jobdir.exit_record(directory) and jobdir.is_copied(directory))
    record = jobdir.exit_record(directory)
    assert record is not None
    return record


def log(wiring: Wiring, job_id: int, executor: str) -> str:
    ended(wiring, job_id)
    if executor == TMUX:
        eventually(lambda: jobdir.log_has_ended(wiring.state.attempt(job_id, 1)))
    return Path(wiring.state.job_log(job_id, 1)).read_bytes().decode(errors="surrogateescape").replace("\r\n", "\n")


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_job_runs_as_it_was_submitted(launcher: Launcher, wiring: Wiring, executor: str) -> None:
    text = 'echo "$GFLOW_JOB_ID $GFLOW_ATTEMPT $CUDA_VISIBLE_DEVICES $MINE"; pwd; umask; sleep 0.1; exit 7'
    launcher.launch([attempt(5, text, executor, wiring, umask=0o027)])
    assert log(wiring, 5, executor) == f"5 1 1,3 it's\udcff\n{wiring.state.root}\n0027\n"
    assert ended(wiring, 5).status == 7


@pytest.mark.parametrize("executor", EXECUTORS)
def test_its_environment_is_the_submitters_and_nothing_else(launcher: Launcher, wiring: Wiring, executor: str) -> None:
    os.environ["SECRET_OF_OURS"] = "x"
    try:
        launcher.launch([attempt(5, "", executor, wiring, command=("/bin/cat", "/proc/self/environ"), output="out")])
        assert ended(wiring, 5).status == 0
        lines = Path(wiring.state.path("out")).read_bytes().decode(errors="replace").removesuffix("\0").split("\0")
    finally:
        del os.environ["SECRET_OF_OURS"]
    names = {line.partition("=")[0] for line in lines} - {"_", "SHLVL", "OLDPWD"}
    expected = {
        "PATH", "MINE", "a.b", "GFLOW_TEST_MARK", "GFLOW_JOB_ID", "GFLOW_JOB_NAME", "GFLOW_ATTEMPT", "GFLOW_SUBMIT_DIR",
        "GFLOW_STATE_DIR", "GFLOW_JOB_CPUS", "GFLOW_JOB_GPUS", "GFLOW_JOB_TMPDIR", "TMPDIR",
        "CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "PWD", "GFLOW_PROGRESS_FILE",
    }  # fmt: skip
    assert names == expected | ({"TERM"} if executor == TMUX else set())


@pytest.mark.parametrize("executor", EXECUTORS)
def test_launching_again_runs_nothing_again(launcher: Launcher, wiring: Wiring, executor: str) -> None:
    jobs = [attempt(i, f"echo ran >>ran{i}; sleep 0.3", executor, wiring) for i in (1, 2, 3)]
    launcher.launch(jobs[:2])
    launcher_of(wiring).launch(jobs)
    launcher.launch(jobs)
    for job_id in (1, 2, 3):
        assert ended(wiring, job_id).status == 0
        assert Path(wiring.state.path(f"ran{job_id}")).read_text() == "ran\n"


def test_executors_may_be_mixed_in_a_batch(launcher: Launcher, wiring: Wiring) -> None:
    if shutil.which("tmux") is None:
        pytest.skip("no tmux")
    launcher.launch([attempt(i, "tty; sleep 0.1", TMUX if i % 2 else PROCESS, wiring) for i in range(1, 5)])
    assert [log(wiring, i, TMUX if i % 2 else PROCESS)[:4] for i in range(1, 5)] == ["/dev", "not "] * 2


def test_files_go_where_their_patterns_say(launcher: Launcher, wiring: Wiring) -> None:
    Path(wiring.state.path("in.txt")).write_text("given\n")
    fields = {"output": "out-%j-%x.txt", "error": wiring.state.path("err-%u"), "input": "in.txt"}
    launcher.launch([attempt(5, "cat; echo oops >&2", PROCESS, wiring, **fields)])
    assert ended(wiring, 5).status == 0
    assert Path(wiring.state.path("out-5-n.txt")).read_text() == "given\n"
    assert Path(wiring.state.path("err-u")).read_text() == "oops\n"


def test_a_submitted_script_runs_from_its_kept_content(launcher: Launcher, wiring: Wiring) -> None:
    place = Path(wiring.state.script("abc"))
    place.parent.mkdir(mode=0o700)
    place.write_text('#!/bin/sh\necho "$0" "$@"\n')
    place.chmod(0o700)
    launcher.launch([attempt(5, "", PROCESS, wiring, command=("train.sh", "a b"), script="abc")])
    assert log(wiring, 5, PROCESS) == f"{place} a b\n"


def barred(wiring: Wiring, job_id: int) -> str:
    begun = jobdir.beginning(wiring.state.attempt(job_id, 1))
    assert begun is not None
    assert begun.identity is None
    return begun.why or ""


def test_a_job_without_its_environment_is_barred_and_the_others_run(launcher: Launcher, wiring: Wiring) -> None:
    launcher.launch([attempt(1, "true", PROCESS, wiring, env="gone"), attempt(2, "true", PROCESS, wiring)])
    assert barred(wiring, 1).startswith("No such file or directory")
    assert ended(wiring, 2).status == 0


def test_an_environment_that_others_may_read_is_refused_for_that_job_alone(launcher: Launcher, wiring: Wiring) -> None:
    write_environment(wiring, "open", b"A=b\0")
    Path(wiring.state.environment("open")).chmod(0o644)
    launcher.launch([attempt(1, "true", PROCESS, wiring, env="open"), attempt(2, "true", PROCESS, wiring)])
    assert "open to others" in barred(wiring, 1)
    assert ended(wiring, 2).status == 0


def test_what_was_barred_is_not_launched(launcher: Launcher, wiring: Wiring) -> None:
    jobdir.bar(wiring.state.attempt(1, 1), "why")
    launcher.launch([attempt(1, "echo ran >>ran1", PROCESS, wiring)])
    assert os.listdir(wiring.state.attempt(1, 1)) == ["pid"]


def test_without_tmux_its_jobs_are_barred_with_the_reason(
    launcher: Launcher, wiring: Wiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/no/such/place")
        launcher.launch([attempt(1, "true", TMUX, wiring), attempt(2, "true", PROCESS, wiring)])
    assert "tmux" in barred(wiring, 1)
    assert ended(wiring, 2).status == 0


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EAGAIN, errno.ENOSPC])
def test_what_tmux_has_no_room_for_now_is_deferred_and_not_barred(
    launcher: Launcher, wiring: Wiring, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def cmd(*_: str) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(launcher._tmux._server, "cmd", cmd)
    launcher.launch([attempt(1, "exit 0", TMUX, wiring)])
    assert os.strerror(number) in launcher.deferred[1, 1]
    assert jobdir.beginning(wiring.state.attempt(1, 1)) is None


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux")
def test_jobs_wait_for_a_tmux_that_is_slow_and_fail_of_one_that_hangs(
    launcher: Launcher, wiring: Wiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tmux, "CALL_TIMEOUT", 0.01)
        patch.setattr(launcher._tmux._server, "cmd", lambda *_: time.sleep(60))
        for _ in range(SILENCES - 1):
            launcher.launch([attempt(1, "exit 7", TMUX, wiring)])
            assert launcher.deferred[1, 1].startswith("tmux did not answer")
            assert jobdir.beginning(wiring.state.attempt(1, 1)) is None
    launcher.launch([attempt(1, "exit 7", TMUX, wiring)])
    assert launcher.deferred == {}
    assert ended(wiring, 1).status == 7
    with monkeypatch.context() as patch:
        patch.setattr(tmux, "CALL_TIMEOUT", 0.01)
        patch.setattr(launcher._tmux._server, "cmd", lambda *_: time.sleep(60))
        for _ in range(SILENCES):
            assert jobdir.beginning(wiring.state.attempt(2, 1)) is None, "an answer counts from the beginning"
            launcher.launch([attempt(2, "true", TMUX, wiring)])
    assert "did not answer" in barred(wiring, 2)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux")
def test_sessions_that_a_slow_tmux_has_made_are_not_barred(
    launcher: Launcher, wiring: Wiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It complains of one that is there, and cannot be asked which that are."""
    jobs = [attempt(1, "exit 7", TMUX, wiring)]

    def listed() -> set[str]:
        raise TmuxSilent("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(launcher._tmux, "start", lambda _: ["duplicate session: gflow-1"])
        patch.setattr(launcher._tmux, "listed", listed)
        launcher.launch(jobs)
    assert (1, 1) in launcher.deferred
    launcher.launch(jobs)
    assert ended(wiring, 1).status == 7


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux")
def test_with_no_place_for_tmux_to_write_its_jobs_are_barred(launcher: Launcher, wiring: Wiring) -> None:
    Path(wiring.runtime.root, "tmux.batch").mkdir()
    launcher.launch([attempt(1, "true", TMUX, wiring)])
    assert "tmux.batch" in barred(wiring, 1)


def test_what_is_written_is_ours_alone(launcher: Launcher, wiring: Wiring) -> None:
    launcher.launch([attempt(1, "true", PROCESS, wiring)])
    ended(wiring, 1)
    directory = Path(wiring.state.attempt(1, 1))
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "job.sh").stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(wiring.state.environment("e") + ".sh").stat().st_mode) == 0o600


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux")
def test_a_job_outlives_a_killed_server_and_the_next_one_gets_a_new_server(launcher: Launcher, wiring: Wiring) -> None:
    launcher.launch([attempt(1, ": >begun; sleep 1000", TMUX, wiring)])
    eventually(Path(wiring.state.path("begun")).exists)  # its script survives the loss of its terminal by then
    server = int(launcher._tmux._call("display-message", "-p", "#{pid}")[0][0])
    os.kill(server, signal.SIGKILL)
    eventually(lambda: not launcher._tmux.is_running())
    launcher.launch([attempt(2, "sleep 0.1", TMUX, wiring)])
    assert ended(wiring, 2).status == 0
    assert jobdir.is_held(wiring.state.attempt(1, 1))
    assert jobdir.exit_record(wiring.state.attempt(1, 1)) is None
