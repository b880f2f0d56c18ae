from __future__ import annotations

import os
import pwd
import socket
import stat
from pathlib import Path

import pytest
from support import descriptors

from gflowd import paths
from gflowd.core.errors import Refused, SystemFailed
from gflowd.paths import Runtime, State

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can give files away")


def home() -> str:
    return pwd.getpwuid(os.getuid()).pw_dir


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({"GFLOW_STATE_DIR": "/s", "XDG_STATE_HOME": "/x", "HOME": "/h"}, "/s"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/gflow"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/gflow"),
        ({"XDG_STATE_HOME": "", "GFLOW_STATE_DIR": "", "HOME": "/h"}, "/h/.local/state/gflow"),
        ({"HOME": "/h"}, "/h/.local/state/gflow"),
        ({"HOME": ""}, f"{home()}/.local/state/gflow"),
        ({"HOME": "relative"}, f"{home()}/.local/state/gflow"),
        ({}, f"{home()}/.local/state/gflow"),
    ],
)
def test_where_the_state_is(environ: dict[str, str], place: str) -> None:
    assert paths.default_state_dir(environ) == place


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({"GFLOW_CONFIG": "/c.toml", "HOME": "/h"}, "/c.toml"),
        ({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/x/gflow/gflow.toml"),
        ({"XDG_CONFIG_HOME": "relative", "HOME": "/h"}, "/h/.config/gflow/gflow.toml"),
        ({}, f"{home()}/.config/gflow/gflow.toml"),
    ],
)
def test_where_the_configuration_is(environ: dict[str, str], place: str) -> None:
    assert paths.default_config_path(environ) == place


def test_a_chosen_place_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert paths.default_state_dir({"GFLOW_STATE_DIR": "here"}) == str(tmp_path / "here")
    assert paths.default_config_path({"GFLOW_CONFIG": "c"}) == str(tmp_path / "c")


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)
    with pytest.raises(Refused, match="set HOME"):
        paths.default_state_dir({})


def test_everything_is_below_the_state_directory() -> None:
    state = State("/s")
    below = [state.snapshot, state.snapshot_lock, state.scheduler_lock, state.daemon_lock, state.daemon_pid]
    below += [state.options, state.observed, state.log, state.environment("e"), state.script("e"), state.default_run()]
    below += [state.job(1), state.attempt(1, 2), state.job_log(1, 2)]
    assert len(set(below)) == len(below)
    assert all(path.startswith("/s/") for path in below)


def test_directories_are_made_private_at_every_depth(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        paths.private_directory(str(tmp_path / "a" / "b" / "c"))
    finally:
        os.umask(before)
    for made in ("a", "a/b", "a/b/c"):
        assert stat.S_IMODE((tmp_path / made).stat().st_mode) == 0o700, made
    paths.private_directory(str(tmp_path / "a"))
    paths.private_directory(str(tmp_path / "a" / "b" / "c") + "/")


DIRECTORIES = {
    "open to the group": (lambda path: (path.mkdir(), path.chmod(0o750)), "chmod 700 "),
    "open to the world": (lambda path: (path.mkdir(), path.chmod(0o777)), "chmod 700 "),
    "world may pass": (lambda path: (path.mkdir(), path.chmod(0o701)), "chmod 700 "),
    "a link to a directory": (lambda path: (path.with_name("d").mkdir(0o700), path.symlink_to("d")), "link"),
    "a dangling link": (lambda path: path.symlink_to("nowhere"), "not a directory"),
    "a file": (lambda path: path.touch(0o600), "not a directory"),
    "a pipe": (os.mkfifo, "not a directory"),
}


@pytest.mark.parametrize("case", DIRECTORIES)
@pytest.mark.parametrize("ending", ["", "/"])
def test_a_directory_that_is_not_plainly_ours_is_refused(tmp_path: Path, case: str, ending: str) -> None:
    make, why = DIRECTORIES[case]
    make(tmp_path / "state")  # type: ignore[no-untyped-call]
    with pytest.raises(Refused, match=why):
        State(str(tmp_path / "state") + ending).prepare()


@needs_root
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(0o700)
    os.chown(tmp_path / "state", 65534, 65534)
    with pytest.raises(Refused, match="belongs to user 65534, not to you"):
        State(str(tmp_path / "state")).prepare()


def test_a_directory_below_a_file_is_the_systems_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemFailed, match="Not a directory"):
        State(str(tmp_path / "file" / "state")).prepare()


def test_a_directory_made_at_the_same_moment_by_another_is_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = os.mkdir

    def twice(path: str, mode: int = 0o777) -> None:
        mkdir(path, mode)
        mkdir(path, mode)

    monkeypatch.setattr(os, "mkdir", twice)
    paths.private_directory(str(tmp_path / "a" / "b"))


def test_a_runtime_directory_too_long_for_sockets_is_refused_and_not_made(tmp_path: Path) -> None:
    root = str(tmp_path) + "/" + "x" * 100
    with pytest.raises(Refused, match="GFLOW_RUNTIME_DIR"):
        Runtime(root).prepare()
    assert not os.path.exists(root)


def test_the_longest_accepted_runtime_directory_has_room_for_its_sockets(runtime_dir: str) -> None:
    root = runtime_dir + "/" + "x" * (paths.SOCKET_PATH_LIMIT - paths.LONGEST_NAME_IN_RUN - len(runtime_dir) - 1)
    runtime = Runtime(root)
    runtime.prepare()
    for path in (runtime.tmux_socket, runtime.manager_socket(10**10 - 1), runtime.bell):
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(path)
    with pytest.raises(Refused):
        Runtime(root + "x").prepare()


FILES = {
    "open to the group": (lambda path: (path.touch(), path.chmod(0o640)), "chmod 600 "),
    "open to the world": (lambda path: (path.touch(), path.chmod(0o644)), "chmod 600 "),
    "writable by the world": (lambda path: (path.touch(), path.chmod(0o602)), "chmod 600 "),
    "a link": (lambda path: (path.with_name("f").touch(0o600), path.symlink_to("f")), "symbolic link; remove it: rm "),
    "a dangling link": (lambda path: path.symlink_to("nowhere"), "symbolic link; remove it: rm "),
    "two names": (lambda path: (path.touch(0o600), path.with_name("f").hardlink_to(path)), "plain file"),
    "a directory": (lambda path: path.mkdir(0o700), "plain file"),
    "a pipe": (lambda path: os.mkfifo(path, 0o600), "plain file"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_not_plainly_ours_is_refused(tmp_path: Path, case: str) -> None:
    make, why = FILES[case]
    make(tmp_path / "file")  # type: ignore[no-untyped-call]
    before = descriptors.ours()
    with pytest.raises(Refused, match=why):
        paths.open_private(str(tmp_path / "file"), os.O_RDONLY)
    assert descriptors.ours() == before


@needs_root
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o600)
    os.chown(tmp_path / "file", 65534, 65534)
    with pytest.raises(Refused, match="belongs to user 65534"):
        paths.read_private(str(tmp_path / "file"))


def test_our_own_file_is_made_private_and_read_whole(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    before = os.umask(0)
    try:
        fd = paths.open_private(path, os.O_RDWR | os.O_CREAT)
    finally:
        os.umask(before)
    data = bytes(range(256)) * 10_000
    paths.write_all(fd, data)
    assert not os.get_inheritable(fd)
    os.close(fd)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert paths.read_private(path) == data


def test_a_missing_file_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        paths.read_private(str(tmp_path / "none"))


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced_whole(tmp_path: Path, durable: bool) -> None:
    path = str(tmp_path / "file")
    paths.replace_file(path, b"one", durable=durable)
    paths.replace_file(path, b"2", durable=durable, mode=0o700)
    assert paths.read_private(path) == b"2"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    assert os.listdir(tmp_path) == ["file"]


def test_a_durable_replacement_syncs_the_file_before_the_rename_and_the_directory_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, os.rename

    def synced(fd: int) -> None:
        done.append("sync " + os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        fsync(fd)

    def renamed(old: str, new: str) -> None:
        done.append("rename")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    paths.replace_file(str(tmp_path / "file"), b"x", durable=True)
    assert done == [f"sync file.new.{os.getpid()}", "rename", f"sync {tmp_path.name}"]
    done.clear()
    paths.replace_file(str(tmp_path / "file"), b"x", durable=False)
    assert done == ["rename"]
    done.clear()
    paths.private_directory(str(tmp_path / "a" / "b"))
    assert done == [f"sync {tmp_path.name}", "sync a"]


def test_a_name_without_directory_is_replaced_durably_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths.replace_file("file", b"x", durable=True)
    assert (tmp_path / "file").read_bytes() == b"x"


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_failed_replacement_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = str(tmp_path / "file")
    paths.replace_file(path, b"old", durable=True)

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="Input/output"):
        paths.replace_file(path, b"new", durable=True)
    monkeypatch.undo()
    assert paths.read_private(path) == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_first_failure_is_told_even_when_cleaning_up_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "write", full)
    monkeypatch.setattr(os, "unlink", forbidden)
    with pytest.raises(OSError, match="No space left"):
        paths.replace_file(str(tmp_path / "file"), b"new", durable=True)


def test_what_a_killed_writer_left_is_neither_followed_nor_reused(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    stale = tmp_path / f"file.new.{os.getpid()}"
    stale.write_bytes(b"longer than what follows")
    stale.chmod(0o666)
    paths.replace_file(path, b"new", durable=True)
    assert paths.read_private(path) == b"new"
    (tmp_path / "precious").write_bytes(b"keep")
    stale.symlink_to("precious")
    paths.replace_file(path, b"newer", durable=True)
    assert paths.read_private(path) == b"newer"
    assert (tmp_path / "precious").read_bytes() == b"keep"


def test_write_all_goes_on_after_a_short_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))
    paths.replace_file(str(tmp_path / "file"), b"0123456789", durable=False)
    monkeypatch.undo()
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_the_machine_has_one_name() -> None:
    assert paths.machine() == paths.machine() != ""


def test_a_check_makes_nothing_and_refuses_as_prepare_does(tmp_path: Path) -> None:
    state = State(str(tmp_path / "state"))
    state.check()
    assert not state.has_snapshot()
    assert not (tmp_path / "state").exists()
    state.prepare()
    assert not state.has_snapshot()
    os.chmod(state.root, 0o750)
    for refused in (state.check, state.has_snapshot):
        with pytest.raises(Refused, match="open to others"):
            refused()
    below = State(str(tmp_path / "file" / "state"))
    (tmp_path / "file").touch()
    with pytest.raises(SystemFailed, match="Not a directory"):
        below.check()


@needs_root
def test_the_state_of_many_users_has_two_parts_of_each_job_and_says_where(tmp_path: Path) -> None:
    state = State(str(tmp_path))
    assert state.shared is None
    assert state.attempt(7, 1) == state.own_attempt(7, 1) == f"{tmp_path}/jobs/7/1"
    assert state.job(7) == state.own_job(7)
    (tmp_path / "shared").write_text('{"spool": "/spool", "later": 1}\n')
    state = State(str(tmp_path))
    assert state.shared is not None
    assert (state.shared.gate, state.shared.private_jobs) == ("/run/gflow/gate.sock", False)
    assert (state.attempt(7, 1), state.job_log(7, 1)) == ("/spool/jobs/7/1", "/spool/jobs/7/1/u/log")
    assert (state.own_job(7), state.progress(7, 1)) == ("/spool/jobs/7/u", "/spool/jobs/7/1/u/progress")
    assert state.job_socket(7, 1) == "/spool/jobs/7/1/u/tmux.sock"
    assert state.environment("ab", 1001) == "/spool/users/1001/env/ab"
    assert state.relay("ab", 1001) == "/spool/users/1001/relays/ab"
    assert state.script("ab") == f"{tmp_path}/scripts/ab"
    state.share(None)
    assert state.jobs == f"{tmp_path}/jobs"


@needs_root
@pytest.mark.parametrize("text", ["[]", "{", '{"spool": 1}', '{"private_jobs": "no"}', "7", "null"])
def test_what_is_said_of_many_users_must_make_sense(tmp_path: Path, text: str) -> None:
    (tmp_path / "shared").write_text(text)
    with pytest.raises(Refused):
        State(str(tmp_path)).shared  # noqa: B018 -- it reads


@needs_root
def test_what_is_said_of_many_users_must_be_roots_alone(tmp_path: Path) -> None:
    (tmp_path / "shared").touch()
    assert State(str(tmp_path)).shared is not None
    (tmp_path / "shared").chmod(0o666)
    with pytest.raises(Refused, match="root's alone"):
        State(str(tmp_path)).shared  # noqa: B018 -- it reads
