"""What root's gflowd for many users lets others read of what it writes, and what not."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import stranger
from support.specs import SPEC

from gflowd import paths
from gflowd.core.errors import Refused
from gflowd.core.job import codec
from gflowd.daemon.instance import single_instance
from gflowd.effects import daemon
from gflowd.paths import State
from gflowd.storage import observed_reader
from gflowd.storage.journal import reader, writer
from gflowd.storage.store import Follower, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

THEY, OTHERS = stranger.UIDS

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason=stranger.NO_ROOT)


@pytest.fixture(params=[False, True], ids=["public", "private"])
def state(request: pytest.FixtureRequest) -> Iterator[State]:
    """A state directory of many users, with a job, a journal and what is observed, written under a strict umask."""
    before = os.umask(0o077)
    try:
        with stranger.open_directory() as place:
            root = place / "state"
            root.mkdir()
            root.chmod(0o711)
            (root / "shared").write_text(json.dumps({"jobs": str(place / "jobs"), "private_jobs": request.param}))
            (root / "shared").chmod(0o644)
            state = State(str(root))
            with Store(state).commit() as commit:
                commit.put("spec", commit.allocate(), codec.encode(SPEC.replace(uid=THEY)))
            with Store(state).commit() as commit:  # rewritten for the mark of quotas
                commit.put("quota", "user:ada", {"max_running_jobs": 1})
            state.replace_told(state.observed, b'{"pid": 7}', durable=False, names_no_work=True)
            journal = writer.Writer(state, 1 << 20, 1)
            journal.begin(journal.told, None)
            journal.close()
            yield state
    finally:
        os.umask(before)


def modes(state: State) -> dict[str, int]:
    return {each.name: each.stat().st_mode & 0o777 for each in Path(state.root).iterdir()}


def test_what_tells_of_jobs_may_be_read_unless_jobs_are_private_and_locks_never(state: State) -> None:
    told = 0o600 if state.shared is not None and state.shared.private_jobs else 0o644
    with single_instance(state, "foreground"):
        found = modes(state)
        mine = daemon.running(state)
        theirs = stranger.as_user(THEY, lambda: daemon.running(State(state.root)).pid)  # type: ignore[union-attr]
    assert found == {
        "snapshot.jsonl": told, "observed.json": 0o644, "events.jsonl": told, "daemon.pid": 0o644, "shared": 0o644,
        "snapshot.lock": 0o600, "daemon.lock": 0o600,
    }  # fmt: skip
    assert mine is not None
    assert theirs == mine.pid == os.getpid()
    assert stranger.as_user(THEY, lambda: daemon.running(State(state.root))) is None


def test_another_user_reads_and_follows_what_is_told(state: State) -> None:
    def look() -> object:
        theirs = State(state.root)
        theirs.prepare()
        store = Store(theirs)
        follower = Follower(store)
        follower.catch_up()
        reader.Reader(theirs).read()
        some = store.read_some([1])
        return (
            dict(store.read().of("spec")) == dict(follower.fold.of("spec")),
            some is not None and list(some.of("spec")),
            observed_reader.read(theirs).pid,
        )

    if state.told_mode == paths.PUBLIC:
        assert stranger.as_user(THEY, look) == (True, [1], 7)
    else:
        with pytest.raises(Exception, match="gateway is not there"):
            stranger.as_user(THEY, look)
        with pytest.raises(PermissionError):
            stranger.as_user(THEY, lambda: Path(state.snapshot).read_bytes())

    def write() -> None:
        with Store(State(state.root)).commit() as commit:
            commit.put("quota", "user:ada", None)

    with pytest.raises(Exception, match="Permission denied"):
        stranger.as_user(THEY, write)


def test_a_pid_that_was_reused_and_one_of_another_boot_are_no_daemon(state: State) -> None:
    def running(**fields: object) -> int | None:
        record = {"pid": os.getpid(), "start": 1, "boot": daemon.boot_id(), "host": os.uname().nodename, **fields}
        paths.replace_file(state.daemon_pid, json.dumps(record).encode(), durable=False, mode=0o644, is_exact=True)
        found: int | None = stranger.as_user(THEY, lambda: getattr(daemon.running(State(state.root)), "pid", None))
        return found

    assert running() is None
    assert running(boot="another", start=daemon.proc.start_ticks(os.getpid())) is None
    assert running(pid=2**22 + 1) is None
    assert running(host="elsewhere") == os.getpid()


def test_where_processes_are_hidden_the_pid_file_of_this_boot_must_do(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    with single_instance(state, "foreground"):
        monkeypatch.setattr(daemon.proc, "start_ticks", lambda pid: 0)
        assert stranger.as_user(THEY, lambda: daemon.running(State(state.root)).pid) == os.getpid()  # type: ignore[union-attr]


def test_a_further_name_that_somebody_gave_the_snapshot_stops_nobody(state: State) -> None:
    os.link(state.snapshot, Path(state.root).parent / "further")
    assert list(Store(state).read().of("spec")) == [1]
    with Store(state).commit() as commit:
        commit.put("quota", "user:ada", None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: os.chmod(path, 0o666), "may be written by others"),
        (lambda path: os.chown(path, OTHERS, 0), f"belongs to user {OTHERS}, not to root"),
        (lambda path: (os.rename(path, f"{path}.x"), os.symlink(f"{path}.x", path)), "is a symbolic link"),
        (lambda path: (os.unlink(path), os.mkfifo(path)), "is not a plain file"),
    ],
    ids=["written", "owned", "link", "pipe"],
)
def test_a_snapshot_that_others_may_have_written_is_refused(state: State, change: object, words: str) -> None:
    change(state.snapshot)  # type: ignore[operator]
    with pytest.raises(Refused, match=words):
        Store(state).read()


def test_a_directory_that_others_may_write_is_refused_and_none_is_made(state: State) -> None:
    os.chmod(state.root, 0o777)
    for check in (state.prepare, state.check):
        with pytest.raises(Refused, match="may be written by others"):
            check()
    missing = State(f"{state.root}.missing")
    missing.share(state.shared)
    with pytest.raises(Exception, match=os.strerror(errno.ENOENT)):
        missing.prepare()
