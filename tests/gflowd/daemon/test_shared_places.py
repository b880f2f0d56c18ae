"""The directories of a daemon for all users, as `gflowd run --system` makes them below a private directory."""

from __future__ import annotations

import argparse
import json
import os
import stat
from pathlib import Path

import pytest
from support import specs

from gflowd import paths
from gflowd.config import loader
from gflowd.core.errors import Refused, SystemFailed
from gflowd.core.job import codec
from gflowd.core.job.records import SPEC
from gflowd.daemon import launch, shared_places
from gflowd.effects.kernel import cgroups
from gflowd.paths import Runtime, State
from gflowd.storage.store import Store

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or cgroups.find_mount() is None, reason="root of a machine with cgroup v2 only"
)
OWN = '[shared]\nlauncher = "own"\ngateway = "worker"\n'


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> loader.Config:
    """The configuration of such a daemon, whose places are below `tmp_path`."""
    monkeypatch.setenv("GFLOW_RUNTIME_DIR", str(tmp_path / "run/gflow"))
    monkeypatch.setattr(paths, "SYSTEMD", str(tmp_path / "no-systemd"))
    file = tmp_path / "gflow.toml"
    file.write_text(OWN)
    return loader.load(str(file), {}, system=True)


def modes(root: Path) -> dict[str, str]:
    found = {str(path.relative_to(root)): path for path in root.rglob("*") if path.name != "gflow.toml"}
    return {name: f"{stat.S_IMODE(os.lstat(path).st_mode):o}" for name, path in sorted(found.items())}


@needs_root
def test_users_may_pass_through_and_only_root_may_write(tmp_path: Path, load: loader.Config) -> None:
    before = os.umask(0o077)
    try:
        state = shared_places.prepared(State(str(tmp_path / "state")), load)
        (tmp_path / "state/spool/users").chmod(0o700)
        shared_places.prepared(State(state.root), load)  # again, and what is closed is opened
    finally:
        os.umask(before)
    passable = ("run", "run/gflow", "state", "state/spool", "state/spool/jobs", "state/spool/users")
    assert modes(tmp_path) == {"state/log": "700", "state/shared": "644", **dict.fromkeys(passable, "711")}
    found = State(state.root)
    assert found.shared is not None
    assert found.shared.gate == str(tmp_path / "run/gflow/gate.sock")
    assert found.jobs == str(tmp_path / "state/spool/jobs")
    assert found.default_run() == str(tmp_path / "run/gflow")
    found.check()

    (tmp_path / "state/shared").write_text(json.dumps({"spool": str(tmp_path / "spool")}))
    moved = shared_places.prepared(State(state.root), load)
    assert moved.jobs == State(state.root).jobs == str(tmp_path / "spool/jobs")
    assert (tmp_path / "spool/jobs").is_dir()
    shared_places.follow(moved, loader.Config(**vars(load) | {"shared_private_jobs": True}))
    assert moved.shared is not None
    assert (State(state.root).shared.private_jobs, moved.shared.private_jobs) == (True, True)  # type: ignore[union-attr]

    with pytest.raises(Refused, match=r"is of all users of this machine; root starts its daemon: gflowd run --system"):
        launch.prepared(argparse.Namespace(state_dir=state.root), detached=True)
    os.chmod(state.root, 0o1777)
    with pytest.raises(Refused, match=r"may be written by others"):
        State(state.root).check()


@needs_root
def test_what_another_may_replace_is_refused(tmp_path: Path, load: loader.Config) -> None:
    (tmp_path / "hers").mkdir()
    os.chown(tmp_path / "hers", 60001, 60001)
    (tmp_path / "link").symlink_to(tmp_path / "hers")
    os.lchown(tmp_path / "link", 0, 0)
    for place in ("hers/state", "link/state"):
        with pytest.raises(Refused, match=r"hers belongs to user 60001, not to root"):
            shared_places.prepared(State(str(tmp_path / place)), load)
    assert not os.listdir(tmp_path / "hers")
    os.lchown(tmp_path / "link", 60001, 60001)
    with pytest.raises(Refused, match=r"link belongs to user 60001"):
        paths.check_trusted(str(tmp_path / "link"))
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(Refused, match="Too many levels"):
        paths.check_trusted(str(tmp_path / "round"))
    Runtime(str(tmp_path / "o/u"), of_many=True).prepare()
    assert modes(tmp_path / "o") == {"u": "711"}


@needs_root
def test_where_there_can_be_none_it_is_said_why(
    tmp_path: Path, load: loader.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State(str(tmp_path / "state"))
    for key, word, can_be in (("launcher", "systemd", "own"), ("gateway", "service", "worker")):
        with pytest.raises(Refused, match=rf'shared\.{key} = "{word}", .* write {key} = "{can_be}"'):
            shared_places.prepared(state, loader.Config(**vars(load) | {f"shared_{key}": word}))
    with monkeypatch.context() as patched:
        patched.setattr(cgroups, "find_mount", lambda: None)
        with pytest.raises(Refused, match="cgroup v2 is not mounted"):
            shared_places.prepared(state, load)
        patched.setattr(os, "geteuid", lambda: 60001)
        with pytest.raises(Refused, match="only root can run"):
            shared_places.prepared(state, load)
    assert not os.path.exists(state.root)
    state.prepare()
    Path(state.snapshot).touch()
    with pytest.raises(Refused, match="holds root's own queue"):
        shared_places.prepared(state, load)


@needs_root
def test_the_file_by_which_users_find_it_comes_back_whatever_becomes_of_it(tmp_path: Path, load: loader.Config) -> None:
    state = shared_places.prepared(State(str(tmp_path / "state")), load)
    file = tmp_path / "state/shared"
    text = file.read_text()
    known = shared_places.Known(state)
    assert not known.look()
    for spoil in (
        file.unlink, lambda: file.write_text("no"), lambda: file.write_text('{"gate": "/x"}'),
        lambda: file.chmod(0o666), lambda: os.chown(file, 60001, 60001),
    ):  # fmt: skip
        spoil()
        assert known.look()
        assert not known.look()
        assert (file.read_text(), file.stat().st_uid, file.stat().st_mode & 0o777) == (text, 0, 0o644)
    file.unlink()
    file.mkdir()
    with pytest.raises(SystemFailed):
        known.look()
    file.rmdir()

    assert known.look()
    with Store(state).commit() as commit:
        commit.put(SPEC, commit.allocate(), codec.encode(specs.SPEC.replace(uid=60001)))
    file.unlink()
    os.chmod(state.snapshot, 0o600)
    assert shared_places.prepared(State(state.root), load).shared is not None
    assert file.read_text() == text
    assert os.stat(state.snapshot).st_mode & 0o777 == 0o644
    file.unlink()
    with Store(state).commit() as commit:
        commit.put(SPEC, commit.allocate(), codec.encode(specs.SPEC))
    with pytest.raises(Refused, match="holds root's own queue"):
        shared_places.prepared(State(state.root), load)


@needs_root
def test_what_tells_of_all_jobs_has_its_mode_though_a_worker_wrote_it_meanwhile(
    tmp_path: Path, load: loader.Config
) -> None:
    state = shared_places.prepared(State(str(tmp_path / "state")), load)
    shared_places.follow(state, loader.Config(**vars(load) | {"shared_private_jobs": True}))
    Path(state.observed).touch(0o644)
    shared_places.Known(state).settle()
    assert os.stat(state.observed).st_mode & 0o777 == 0o600
