"""Backup and restore without a daemon, also of files that somebody tampered with."""

from __future__ import annotations

import fcntl
import io
import json
import os
import resource
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gflowctl.admin import backup_file
from gflowd.core.errors import Refused

if TYPE_CHECKING:
    from support.ctl import Ctl

SCRIPT = "#!/bin/sh\necho a script\n"


@pytest.fixture
def full(ctl: Ctl) -> Ctl:
    """Jobs with an environment, a script, a log, a history and a configuration."""
    (ctl.home / "s.sh").write_text(SCRIPT)
    (ctl.home / "s.sh").chmod(0o700)
    config = ctl.home / ".config/gflow/gflow.toml"
    config.parent.mkdir(parents=True)
    config.write_text("[scheduler]\ncpus = 3\n")
    ctl.submit("-n", "first", "true")
    ctl.run_job(1).write_text("what it said\n")
    ctl.end_job(1, exit_code=0)
    ctl.submit("-n", "second", "./s.sh")
    ctl.ok("drain", "--reason", "why not")
    with sqlite3.connect(ctl.state.path("history.db")) as history:
        history.execute("CREATE TABLE t (n)")
        history.execute("INSERT INTO t VALUES (42)")
    history.close()
    os.chmod(ctl.state.path("history.db"), 0o600)
    return ctl


def test_a_backup_brings_everything_to_another_place(full: Ctl, other: Ctl) -> None:
    file = full.home / "b.tar"
    assert full.ok("backup", "--logs", str(file)).startswith(f"Backed up to {file} (")
    assert file.stat().st_mode & 0o777 == 0o600
    said = other.ok("restore", str(file))
    assert "Restored 2 submissions" in said
    assert "the next job is 1003" in said
    assert other.store.read().records == full.store.read().records
    assert other.ok("log", "1") == "what it said\n"
    assert other.ok("show", "2", "--script") == SCRIPT
    assert (other.home / ".config/gflow/gflow.toml").read_text() == "[scheduler]\ncpus = 3\n"
    with sqlite3.connect(other.state.path("history.db")) as history:
        assert history.execute("SELECT n FROM t").fetchall() == [(42,)]
    history.close()
    for name in os.listdir(full.state.path("env")):
        kept = Path(other.state.environment(name))
        assert kept.read_bytes() == Path(full.state.environment(name)).read_bytes()
        assert kept.stat().st_mode & 0o777 == 0o600
    assert other.submit("true") == 1003
    assert sorted(os.listdir(other.state.root)) == sorted(
        ["daemon.lock", "env", "history.db", "jobs", "scheduler.lock", "scripts", "snapshot.jsonl", "snapshot.lock"]
    )


def give_to_a_cluster(ctl: Ctl, state_id: str, **batches: str) -> None:
    """Plays the bridge to clusters."""
    ctl.state.prepare()
    for folder in ("cluster", "cluster/batches"):
        os.makedirs(ctl.state.path(folder), 0o700, exist_ok=True)
    for name, text in {"id": state_id, **{f"batches/{each}.json": text for each, text in batches.items()}}.items():
        path = Path(ctl.state.path("cluster", name))
        path.write_text(text)
        path.chmod(0o600)


def test_what_clusters_have_goes_along(full: Ctl, other: Ctl) -> None:
    give_to_a_cluster(full, "0123456789ab", **{"1.1": "one", "2.1.1.1": "two"})
    Path(full.state.path("cluster", "batches", "x.json")).touch()
    full.ok("backup", "b.tar")
    other.ok("restore", str(full.home / "b.tar"))
    found = Path(other.state.path("cluster"))
    assert {str(each.relative_to(found)): each.read_text() for each in found.rglob("*") if each.is_file()} == {
        "id": "0123456789ab", "batches/1.1.json": "one", "batches/2.1.1.1.json": "two", "restored": "",
    }  # fmt: skip
    assert {each.stat().st_mode & 0o777 for each in (found, found / "batches")} == {0o700}
    give_to_a_cluster(other, "0123456789ab", **{"1.1": "newer", "3.1": "since"})
    assert other.run("restore", "--force", str(full.home / "b.tar")).returncode == 0
    assert [(found / "batches" / f"{name}.json").read_text() for name in ("1.1", "2.1.1.1", "3.1")] == [
        "newer", "two", "since",
    ]  # fmt: skip


def test_what_another_state_directory_gave_to_clusters_is_set_aside(full: Ctl, other: Ctl) -> None:
    give_to_a_cluster(full, "0123456789ab", **{"1.1": "one"})
    full.ok("backup", "b.tar")
    give_to_a_cluster(other, "ba9876543210", **{"1.1": "other's"})
    said = other.run("restore", "--force", str(full.home / "b.tar")).stderr
    kept = Path(said.split("kept in ")[1].strip())
    assert (kept / "cluster" / "id").read_text() == "ba9876543210"
    assert (kept / "cluster" / "batches" / "1.1.json").read_text() == "other's"
    assert Path(other.state.path("cluster", "batches", "1.1.json")).read_text() == "one"


def test_a_state_id_that_leads_elsewhere_is_refused(full: Ctl, other: Ctl) -> None:
    give_to_a_cluster(full, "../../../etc")
    full.ok("backup", "b.tar")
    said = other.fails(1, "restore", str(full.home / "b.tar"))
    assert said == "the backup is damaged: its cluster/id is not one of gflow's"


def test_logs_that_a_cluster_has_are_not_written_over(full: Ctl, other: Ctl, tmp_path: Path) -> None:
    full.ok("backup", "--logs", "b.tar")
    (tmp_path / "there").mkdir()
    other.state.prepare()
    os.makedirs(other.state.job(1), 0o700)
    os.symlink(tmp_path / "there", other.state.attempt(1, 1))
    other.ok("restore", "--force", str(full.home / "b.tar"))
    assert list((tmp_path / "there").iterdir()) == []


def test_logs_are_left_out_unless_asked_for(full: Ctl, other: Ctl) -> None:
    full.ok("backup", "b.tar")
    with tarfile.open(full.home / "b.tar") as tar:
        assert not [name for name in tar.getnames() if name.startswith("jobs/")]
    other.ok("restore", str(full.home / "b.tar"))
    assert len(other.jobs("-a")) == 2


def test_a_state_in_use_is_only_replaced_by_force_and_is_kept(full: Ctl) -> None:
    full.ok("backup", "b.tar")
    later = full.submit("-n", "later", "true")
    assert "is in use: it has snapshot.jsonl; --force" in full.fails(1, "restore", "b.tar")
    assert len(full.jobs("-a")) == 3
    before = Path(full.state.snapshot).read_bytes()
    done = full.run("restore", "--force", "b.tar")
    assert done.returncode == 0, done
    kept = Path(done.stderr.strip().rpartition(" ")[2])
    assert (kept / "snapshot.jsonl").read_bytes() == before
    assert (kept / "history.db").exists()
    assert [job["name"] for job in full.jobs("-a")] == ["first", "second"]
    assert full.submit("true") == later + 1


@pytest.mark.parametrize("how", ["removed", "garbage"])
def test_a_lost_snapshot_is_brought_back_and_no_id_is_given_twice(full: Ctl, how: str) -> None:
    full.ok("backup", "b.tar")
    full.submit("true")
    os.makedirs(full.state.attempt(2000, 1))
    path = Path(full.state.snapshot)
    path.unlink()
    if how == "garbage":
        path.touch(mode=0o600)
        path.write_bytes(os.urandom(3000))
    assert "restore" in full.fails(3, "submit", "true")
    full.run("restore", "--force", "b.tar")
    assert len(full.jobs("-a")) == 2
    assert full.submit("true") > 2000


def test_it_is_refused_while_a_daemon_runs(full: Ctl) -> None:
    full.ok("backup", "b.tar")
    with open(full.state.daemon_lock, "w") as file:
        os.chmod(full.state.daemon_lock, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "gflowd stop" in full.fails(1, "restore", "--force", "b.tar")


def test_a_configuration_that_says_otherwise_is_left_alone_unless_forced(full: Ctl, other: Ctl) -> None:
    full.ok("backup", "b.tar")
    config = other.home / ".config/gflow/gflow.toml"
    config.parent.mkdir(parents=True)
    config.write_text("# mine\n")
    file = str(full.home / "b.tar")
    assert str(config) in other.fails(1, "restore", file)
    assert other.run("queue").stdout.count("\n") == 1
    other.ok("restore", "--no-config", file)
    assert config.read_text() == "# mine\n"
    done = other.run("restore", "--force", file)
    assert config.read_text() == "[scheduler]\ncpus = 3\n"
    kept = Path(done.stderr.strip().rpartition(" ")[2])
    assert (kept / "gflow.toml").read_text() == "# mine\n"


def test_what_is_no_regular_file_is_not_replaced_as_the_configuration(full: Ctl, other: Ctl) -> None:
    full.ok("backup", "b.tar")
    config = other.home / "pipe"
    os.mkfifo(config)
    for more in ([], ["--force"]):
        said = other.fails(1, "restore", "--config", str(config), *more, str(full.home / "b.tar"))
        assert said == f"{config} is not a regular file; --no-config leaves it as it is"
    assert config.is_fifo()
    assert not Path(other.state.snapshot).exists()


def test_a_backup_of_another_machine_says_what_to_do(full: Ctl, other: Ctl) -> None:
    with full.store.commit() as commit:
        commit.put("header", 0, {"format": 1, "machine": "elsewhere"})
    full.ok("backup", "b.tar")
    assert "gflowd start --adopt" in other.run("restore", str(full.home / "b.tar")).stderr


def test_a_file_that_is_there_is_not_replaced(full: Ctl) -> None:
    (full.home / "b.tar").write_text("precious")
    assert "--force" in full.fails(1, "backup", "b.tar")
    assert (full.home / "b.tar").read_text() == "precious"
    full.ok("backup", "--force", "b.tar")
    (full.home / "d").mkdir()
    full.fails(1, "backup", "--force", "d")
    assert full.fails(3, "backup", "no-such-dir/b.tar") == "no-such-dir/b.tar: No such file or directory"
    assert sorted(os.listdir(full.home)) == sorted([".config", "b.tar", "d", "s.sh"])


def test_a_backup_that_grows_too_large_is_named_and_leaves_nothing(full: Ctl) -> None:
    small = 4096  # bytes: less than the archive
    limited = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (small, small))}
    assert full.fails(3, "backup", "b.tar", **limited) == "b.tar: File too large"
    assert sorted(os.listdir(full.home)) == [".config", "s.sh"]


def test_nothing_is_backed_up_where_nothing_is(ctl: Ctl) -> None:
    assert "nothing to back up" in ctl.fails(1, "backup", "b.tar")


def members(path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(path) as tar:
        return [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]


def evil(name: str, **fields: object) -> Callable[[Path], None]:
    """Puts one member more before the others."""

    def change(path: Path) -> None:
        parts = members(path)
        member = tarfile.TarInfo(name)
        for field, value in fields.items():
            setattr(member, field, value)
        data = b"evil\n" if member.isreg() else b""
        member.size = len(data)
        manifest = json.loads(parts[-1][1])
        manifest["files"][name] = (len(data), backup_file._Measured(io.BytesIO(data)).digest())
        parts[-1] = (parts[-1][0], json.dumps(manifest).encode())
        rewrite(path, [(member, data), *parts])

    return change


def rewrite(path: Path, parts: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with tarfile.open(path, "w") as tar:
        for member, data in parts:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def alter(path: Path) -> None:
    parts = members(path)
    rewrite(path, [(member, data.replace(b"first", b"FIRST")) for member, data in parts])


def drop(path: Path) -> None:
    rewrite(path, [part for part in members(path) if not part[0].name.startswith("env/")])


def later_format(path: Path) -> None:
    *parts, (member, data) = members(path)
    rewrite(path, [*parts, (member, json.dumps({**json.loads(data), "format": 2}).encode())])


def strange(path: Path) -> None:
    *parts, (member, data) = members(path)
    rewrite(path, [*parts, (member, json.dumps({**json.loads(data), "files": {"snapshot.jsonl": 7}}).encode())])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


TAMPERED = {
    "above": evil("../evil"),
    "above, hidden": evil("env/../../evil"),
    "absolute": evil("/tmp/gflow-evil"),
    "link": evil("env/" + "0" * 32, type=tarfile.SYMTYPE, linkname="/tmp"),
    "hard link": evil("env/" + "0" * 32, type=tarfile.LNKTYPE, linkname="snapshot.jsonl"),
    "device": evil("env/" + "0" * 32, type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "fifo": evil("env/" + "0" * 32, type=tarfile.FIFOTYPE),
    "directory": evil("env", type=tarfile.DIRTYPE),
    "sparse": evil("env/" + "0" * 32, type=tarfile.GNUTYPE_SPARSE),
    "job script": evil("jobs/1/1/job.sh"),
    "newline": evil("snapshot.jsonl\n"),
    "twice": evil("snapshot.jsonl"),
    "altered": alter,
    "dropped": drop,
    "later format": later_format,
    "strange list": strange,
    "cut": cut,
    "empty": lambda path: path.write_bytes(b"") and None,
    "no tar": lambda path: path.write_bytes(os.urandom(5000)) and None,
}


@pytest.mark.parametrize("how", TAMPERED)
def test_what_was_tampered_with_is_refused_and_changes_nothing(full: Ctl, other: Ctl, how: str) -> None:
    file = full.home / "b.tar"
    full.ok("backup", "--logs", str(file))
    TAMPERED[how](file)
    said = other.fails(1, "restore", str(file))
    assert str(file) in said
    assert not {"snapshot.jsonl", "env", "scripts", "jobs", "restore.new"} & set(os.listdir(other.state.root))
    assert not (other.home / ".config").exists()
    assert not Path("/tmp/gflow-evil").exists()
    assert not list(Path(other.state.root).parent.rglob("evil"))


def test_records_that_make_no_sense_are_kept_and_told_of(full: Ctl, other: Ctl) -> None:
    with full.store.commit() as commit:
        commit.put("spec", 2, ["no", "spec"])
    full.ok("backup", "b.tar")
    done = other.run("restore", str(full.home / "b.tar"))
    assert done.returncode == 0
    assert "this version cannot make sense of some of its records; gflowctl doctor names them" in done.stderr
    assert other.store.read().aside.keys() == {("spec", 2)}
    assert "the record spec 2 makes no sense" in other.run("doctor").stdout


def test_a_missing_backup_is_refused(ctl: Ctl) -> None:
    assert ctl.fails(1, "restore", "none.tar") == "none.tar: no such file"
    assert ctl.fails(3, "restore", str(ctl.home)).endswith("Is a directory")


def test_every_byte_of_a_backup_counts_or_does_not_matter(full: Ctl, other: Ctl) -> None:
    """A flipped byte is found, or stands where tar has only padding."""
    file = full.home / "b.tar"
    full.ok("backup", str(file))
    whole = bytearray(file.read_bytes())
    for place in range(0, len(whole), 97):
        changed = bytearray(whole)
        changed[place] ^= 0xFF
        file.write_bytes(changed)
        into = other.home / "into"
        into.mkdir()
        try:
            backup_file.unpack(str(file), str(into))
        except Refused:
            pass
        else:
            found = {str(path.relative_to(into)): path.read_bytes() for path in into.rglob("*") if path.is_file()}
            assert found["snapshot.jsonl"] == Path(full.state.snapshot).read_bytes()
        shutil.rmtree(into)
