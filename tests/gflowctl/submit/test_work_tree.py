"""What is read from `.git`, held against what git itself says of the same work tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import depth

from gflowctl.submit.git import work_tree
from gflowctl.submit.git.index import MOST_ENTRIES
from gflowd.core.job.model import GitState

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
LONG = 60.0  # seconds, which no machine needs
SETTINGS = {
    "user.name": "a", "user.email": "a@b.c", "init.defaultBranch": "main", "protocol.file.allow": "always",
    "advice.detachedHead": "false", "gc.auto": "0",
}  # fmt: skip


class Git:
    """git in a directory, with none but its own settings."""

    def __init__(self, top: Path) -> None:
        self.top = top
        numbered = enumerate(SETTINGS.items())
        pairs = {f"GIT_CONFIG_{word}_{n}": pair[word == "VALUE"] for n, pair in numbered for word in ("KEY", "VALUE")}
        counted = {
            "GIT_CONFIG_COUNT": str(len(SETTINGS)),
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_SYSTEM": "/dev/null",
        }
        self.env = {"PATH": os.environ["PATH"], "HOME": str(top), "LC_ALL": "C", **counted, **pairs}

    def __call__(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(["git", *words], cwd=self.top, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done
        return done.stdout.strip()

    def at(self, place: Path) -> Git:
        """git elsewhere."""
        return Git(place)

    def write(self, name: str, content: str, *, ago: float = 100.0) -> Path:
        """A file that was written a while ago, so that its times are not those of the index."""
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        os.utime(path, (time.time() - ago,) * 2)
        return path

    def says(self) -> GitState:
        """What git itself says."""
        commit = self("rev-parse", "--verify", "-q", "HEAD", check=False) or None
        branch = self("symbolic-ref", "-q", "--short", "HEAD", check=False) or None
        return GitState(commit=commit, branch=branch, dirty=bool(self("status", "--porcelain", "-uno")))


def read(place: Path) -> GitState | None:
    return work_tree.read(os.path.realpath(place), LONG)


def agrees(git: Git, *, dirty: bool) -> GitState:
    """What both say, with files that were changed or not."""
    found = read(git.top)
    assert found is not None
    assert found == git.says()
    assert found.dirty is dirty
    return found


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """A work tree with one commit of three files."""
    top = tmp_path / "work"
    top.mkdir()
    made = Git(top)
    made("init", "-q")
    made.write("a.py", "print()\n")
    made.write("lib/b.py", "x = 1\n")
    made.write("lib-c", "between\n")
    made("add", ".")
    made("commit", "-qm", "one")
    return made


def commit(git: Git, name: str, content: str = "new\n") -> None:
    git.write(name, content)
    git("add", name)
    git("commit", "-qm", name)


def test_a_clean_work_tree(git: Git) -> None:
    found = agrees(git, dirty=False)
    assert (found.branch, len(found.commit or "")) == ("main", 40)
    assert read(git.top / "lib") == found


def test_a_changed_file_makes_it_dirty(git: Git) -> None:
    git.write("lib/b.py", "x = 2\n", ago=50)
    agrees(git, dirty=True)


def test_a_change_of_the_same_length_in_the_moment_of_the_commit_is_seen(git: Git) -> None:
    git.write("a.py", "12345\n", ago=0)
    git("commit", "-qam", "two")
    stamp = os.stat(git.top / ".git/index").st_mtime_ns
    path = git.top / "a.py"
    path.write_text("54321\n")
    os.utime(path, ns=(stamp, stamp))
    found = read(git.top)
    assert found is not None
    assert found.dirty is True


def test_a_file_that_was_only_touched_is_not_changed(git: Git) -> None:
    (git.top / "a.py").touch()
    found = read(git.top)  # before git itself notes the new times
    assert found == agrees(git, dirty=False)


@pytest.mark.parametrize("what", ["removed", "directory", "link", "mode", "pipe"])
def test_a_file_that_is_another_thing_now(git: Git, what: str) -> None:
    path = git.top / "a.py"
    if what == "mode":
        path.chmod(0o755)
    else:
        path.unlink()
        {
            "removed": lambda: None,
            "directory": path.mkdir,
            "link": lambda: path.symlink_to("lib-c"),
            "pipe": lambda: os.mkfifo(path),
        }[what]()
    agrees(git, dirty=True)


def test_modes_do_not_count_where_the_file_system_has_none(git: Git) -> None:
    git("config", "core.fileMode", "false")
    (git.top / "a.py").chmod(0o755)
    agrees(git, dirty=False)


def test_links_are_compared_by_where_they_lead(git: Git) -> None:
    (git.top / "link").symlink_to("a.py")
    git("add", "link")
    git("commit", "-qm", "link")
    agrees(git, dirty=False)
    (git.top / "link").unlink()
    (git.top / "link").symlink_to("b.py")
    agrees(git, dirty=True)


def test_files_that_git_does_not_track_do_not_count(git: Git) -> None:
    git.write("log.txt", "x")
    agrees(git, dirty=False)


@pytest.mark.parametrize(
    "words", [("add", "new"), ("add", "-N", "new"), ("rm", "-q", "--cached", "a.py"), ("mv", "a.py", "z.py")]
)
def test_what_is_staged_makes_it_dirty(git: Git, words: tuple[str, ...]) -> None:
    git.write("new", "x")
    git(*words)
    agrees(git, dirty=True)


def test_a_commit_that_was_taken_back_softly_leaves_it_dirty(git: Git) -> None:
    commit(git, "second")
    git("reset", "-q", "--soft", "HEAD~1")
    agrees(git, dirty=True)
    git("reset", "-q")
    agrees(git, dirty=False)


def test_staged_and_taken_back_it_is_clean(git: Git) -> None:
    git.write("a.py", "y\n", ago=50)
    git("add", "a.py")
    agrees(git, dirty=True)
    git("reset", "-q", "--hard")
    agrees(git, dirty=False)


def test_amid_a_merge(git: Git) -> None:
    git("switch", "-qc", "side")
    git.write("a.py", "side\n", ago=50)
    git("commit", "-qam", "side")
    git("switch", "-q", "main")
    git.write("a.py", "main\n", ago=40)
    git("commit", "-qam", "main")
    git("merge", "-q", "side", check=False)
    assert agrees(git, dirty=True).branch == "main"


def test_a_detached_head(git: Git) -> None:
    git("checkout", "-q", "--detach")
    assert agrees(git, dirty=False).branch is None


def test_a_branch_without_a_commit(tmp_path: Path) -> None:
    git = Git(tmp_path)
    git("init", "-q")
    assert agrees(git, dirty=False) == GitState(commit=None, branch="main", dirty=False)
    git.write("a", "x")
    agrees(git, dirty=False)
    git("add", "a")
    agrees(git, dirty=True)


def test_branches_with_slashes_packed_refs_and_packed_objects(git: Git) -> None:
    git("switch", "-qc", "feature/a.b")
    for name in ("one", "two", "three"):
        commit(git, name)
    git("pack-refs", "--all", "--prune")
    git("repack", "-adq")
    git("prune-packed")
    assert not list((git.top / ".git/refs/heads").rglob("a.b"))
    assert agrees(git, dirty=False).branch == "feature/a.b"
    git("switch", "-q", "main")
    agrees(git, dirty=False)


def test_a_commit_that_is_kept_as_a_difference_from_another(git: Git) -> None:
    for number in range(3):
        git.write("a.py", f"{number}\n", ago=60 - number)
        words = "\n".join(f"{line}: the same long words in each message {line * line}" for line in range(200))
        git("commit", "-qam", f"{words}\n{number}")
    git("repack", "-adfq", "--depth=50", "--window=50")
    told = git("verify-pack", "-v", *(str(path) for path in (git.top / ".git/objects/pack").glob("*.idx")))
    deltas = [
        line.split()[0] for line in told.splitlines() if line.split()[1:2] == ["commit"] and len(line.split()) > 5
    ]
    assert deltas
    for each in deltas:
        git("checkout", "-q", each)
        agrees(git, dirty=False)


def test_another_work_tree_of_the_same_repository(git: Git, tmp_path: Path) -> None:
    place = tmp_path / "beside"
    git("worktree", "add", "-q", "-b", "side", str(place))
    beside = git.at(place)
    assert agrees(beside, dirty=False).branch == "side"
    commit(beside, "more")
    assert agrees(beside, dirty=False) != agrees(git, dirty=False)
    git("pack-refs", "--all")
    beside.write("more", "changed, and longer", ago=10)
    agrees(beside, dirty=True)
    agrees(git, dirty=False)


def test_a_work_tree_of_a_bare_repository(git: Git, tmp_path: Path) -> None:
    git("clone", "-q", "--bare", ".", str(tmp_path / "shared.git"))
    bare = git.at(tmp_path / "shared.git")
    assert read(bare.top) is None
    bare("worktree", "add", "-q", "-b", "side", str(tmp_path / "beside"))
    assert agrees(git.at(tmp_path / "beside"), dirty=False).branch == "side"


def test_a_bare_repository_or_a_git_directory_within_a_work_tree_is_no_work_tree(git: Git) -> None:
    git("init", "-q", "--bare", "inner.git")
    assert read(git.top / "inner.git") is None
    assert read(git.top / "inner.git" / "refs") is None
    assert read(git.top / ".git") is None
    assert read(git.top / ".git" / "hooks") is None
    git("config", "core.bare", "true")
    assert read(git.top) is None


def test_submodules(git: Git, tmp_path: Path) -> None:
    other = git.at(tmp_path / "other")
    other.top.mkdir()
    other("init", "-q")
    commit(other, "inner.py", "inner\n")
    git("submodule", "--quiet", "add", str(other.top), "sub/one")
    git("commit", "-qm", "submodule")
    agrees(git, dirty=False)
    inner = git.at(git.top / "sub/one")
    assert agrees(inner, dirty=False).commit == other.says().commit
    inner.write("inner.py", "changed and longer\n", ago=10)
    agrees(inner, dirty=True)
    agrees(git, dirty=True)
    inner("commit", "-qam", "more")
    agrees(inner, dirty=False)
    agrees(git, dirty=True)
    git("submodule", "--quiet", "update", "--force")
    agrees(git, dirty=False)
    git("submodule", "--quiet", "deinit", "-f", "sub/one")
    agrees(git, dirty=False)


@pytest.mark.parametrize("version", ["2", "3", "4"])
def test_each_version_of_the_index(git: Git, version: str) -> None:
    for name in ("a" * 200, "b/" * 40 + "c", "b/" * 40 + "d", "lib/b.pyc", "ü"):
        git.write(name, name)
    git("add", ".")
    git("commit", "-qm", "more")
    git("update-index", "--index-version", version)
    if version == "3":
        git("update-index", "--skip-worktree", "a.py")
        (git.top / "a.py").unlink()
    agrees(git, dirty=False)
    git.write("b/" * 40 + "d", "otherwise, and longer", ago=10)
    agrees(git, dirty=True)


def test_files_assumed_unchanged_and_sparse_work_trees(git: Git) -> None:
    git("update-index", "--assume-unchanged", "a.py")
    git.write("a.py", "longer than it was\n", ago=50)
    agrees(git, dirty=False)
    git("update-index", "--no-assume-unchanged", "a.py")
    git("checkout", "-q", "a.py")
    git("sparse-checkout", "set", "lib")
    agrees(git, dirty=False)


def test_ids_of_sha256(tmp_path: Path) -> None:
    git = Git(tmp_path)
    git("init", "-q", "--object-format=sha256")
    commit(git, "lib/a.py")
    assert len(agrees(git, dirty=False).commit or "") == 64
    git("repack", "-adq")
    agrees(git, dirty=False)
    git.write("lib/a.py", "other\n", ago=10)
    agrees(git, dirty=True)


def test_a_clone_that_borrows_its_objects(git: Git, tmp_path: Path) -> None:
    git("clone", "-q", "--shared", ".", str(tmp_path / "clone"))
    agrees(git.at(tmp_path / "clone"), dirty=False)


def test_a_copied_work_tree_is_compared_by_content(git: Git, tmp_path: Path) -> None:
    shutil.copytree(git.top, tmp_path / "copy", symlinks=True)
    copy = git.at(tmp_path / "copy")
    found = read(copy.top)
    assert found == agrees(copy, dirty=False)


def test_what_git_keeps_in_another_form_is_not_called_changed(git: Git) -> None:
    git.write(".gitattributes", "*.txt filter=up\n")
    git("config", "filter.up.clean", "tr a-z A-Z")
    commit(git, "a.txt", "words\n")
    agrees(git, dirty=False)
    (git.top / "a.txt").touch()
    found = read(git.top)
    assert found is not None
    assert found.dirty is None
    assert git.says().dirty is False


def test_an_index_that_is_split_is_not_read(git: Git) -> None:
    git("update-index", "--split-index")
    found = read(git.top)
    assert found == git.says().replace(dirty=None)


def test_refs_in_a_table_are_not_known(git: Git) -> None:
    """As Git 2.45 and later lay it out."""
    (git.top / ".git/HEAD").write_text("ref: refs/heads/.invalid\n")
    assert read(git.top) == GitState()


def test_past_its_time_it_does_not_say_whether_files_were_changed(git: Git) -> None:
    ticks = iter([0.0, 0.01, 0.02])
    found = work_tree.read(os.path.realpath(git.top), 0.02, lambda: next(ticks))
    assert found == git.says().replace(dirty=None)


def test_a_work_tree_of_very_many_files_costs_no_time(git: Git) -> None:
    index = git.top / ".git/index"
    data = index.read_bytes()
    index.write_bytes(data[:8] + (MOST_ENTRIES + 1).to_bytes(4, "big") + data[12:])
    found = read(git.top)
    assert found is not None
    assert (found.branch, found.dirty) == ("main", None)


def test_links_to_a_work_tree_and_out_of_it(git: Git, tmp_path: Path) -> None:
    (git.top / "out").symlink_to(tmp_path)
    assert read(git.top / "out") is None
    (tmp_path / "in").symlink_to(git.top / "lib")
    assert read(tmp_path / "in") == git.says()


def test_no_work_tree(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    assert read(tmp_path / "gone") is None
    (tmp_path / ".git").mkdir()
    assert read(tmp_path) is None
    shutil.rmtree(tmp_path / ".git")
    (tmp_path / ".git").write_text("gitdir: nowhere\n")
    assert read(tmp_path) is None


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


HOSTILE: dict[str, Callable[[Path], object]] = {
    "HEAD is a pipe": lambda git: _pipe(git / "HEAD"),
    "HEAD is endless": lambda git: ((git / "HEAD").unlink(), (git / "HEAD").symlink_to("/dev/zero")),
    "HEAD is long": lambda git: (git / "HEAD").write_bytes(b"ref: refs/heads/" + b"a" * (1 << 20)),
    "HEAD leads out": lambda git: (git / "HEAD").write_text("ref: refs/heads/../../../../secret\n"),
    "HEAD leads to any file": lambda git: (git / "HEAD").write_text("ref: /etc/passwd\n"),
    "HEAD leads to itself": lambda git: (
        (git / "HEAD").write_text("ref: refs/heads/a\n"), (git / "refs/heads/a").write_text("ref: refs/heads/a\n")
    ),
    "HEAD is words": lambda git: (git / "HEAD").write_text("\x1b[31mred"),
    "a ref is words": lambda git: (git / "refs/heads/main").write_text("secret of somebody\n"),
    "a ref is a pipe": lambda git: _pipe(git / "refs/heads/main"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_broken_head_is_not_known(git: Git, what: str) -> None:
    (git.top.parent / "secret").write_text("a" * 40)
    HOSTILE[what](git.top / ".git")
    assert read(git.top) == GitState()


def test_an_index_that_is_a_pipe_or_leads_out_is_not_followed(git: Git) -> None:
    index = git.top / ".git/index"
    data = index.read_bytes()
    for name in (b"../../../p", b"/etc/passw", b".git/HEADs"):
        at = data.index(b"a.py")
        entry = data[12 : at - 2] + len(name).to_bytes(2, "big") + name
        entry += b"\0" * (8 - len(entry) % 8)
        index.write_bytes(b"DIRC\0\0\0\2\0\0\0\1" + entry + b"\0" * 20)
        found = read(git.top)
        assert found is not None
        assert found.dirty is None
    _pipe(index)
    found = read(git.top)
    assert found is not None
    assert (found.branch, found.dirty) == ("main", None)


@settings(max_examples=depth.examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_is_an_error(git: Git, data: st.DataObject) -> None:
    """Whatever is changed in one file of it: a state is read, or none."""
    if not (git.top / ".git/packed").exists():
        for name in ("one", "two"):
            commit(git, name)
        git("repack", "-adq")
        git("pack-refs", "--all")
        commit(git, "three")
        (git.top / ".git/packed").touch()
    files = sorted(path for path in (git.top / ".git").rglob("*") if path.is_file() and "hooks" not in path.parts)
    path = data.draw(st.sampled_from(files), "file")
    whole = path.read_bytes()
    kept = path.stat().st_mode
    path.chmod(0o600)
    at = data.draw(st.integers(0, len(whole)), "at")
    damaged = whole[:at] + data.draw(st.binary(max_size=8), "bytes") + whole[at + data.draw(st.integers(0, 9), "gap") :]
    path.write_bytes(damaged if data.draw(st.booleans(), "whole") else damaged[:at])
    try:
        found = read(git.top)
        assert found is None or isinstance(found, GitState)
    finally:
        path.write_bytes(whole)
        path.chmod(kept)
