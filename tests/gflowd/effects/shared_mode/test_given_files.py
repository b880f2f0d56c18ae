from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gflowd.effects.shared_mode import given_files
from gflowd.effects.shared_mode.account import Account

if TYPE_CHECKING:
    from pathlib import Path

SELF = Account(os.getuid(), os.getgid(), "self")
OTHER = Account(os.getuid() + 1, os.getgid(), "other")


def test_a_file_is_given_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    given_files.write(str(path), b"one", SELF, 0o500)
    given_files.write(str(path), b"two", SELF, 0o400, durable=True)
    assert (path.read_bytes(), path.stat().st_mode & 0o777, os.listdir(tmp_path)) == (b"two", 0o400, ["file"])
    assert [given_files.read(str(path), SELF, most) for most in (2, 3, 4)] == [b"tw", b"two", b"two"]
    with pytest.raises(PermissionError):
        given_files.read(str(path), OTHER, 3)
    path.chmod(0o444)
    with pytest.raises(PermissionError):
        given_files.read(str(path), SELF, 3)


def test_nothing_is_given_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("x")
    for link, target in (("directory", "there"), ("read", "file")):
        (tmp_path / link).symlink_to(tmp_path / target)
    with pytest.raises(OSError, match=r"Not a directory|symbolic"):
        given_files.directory(str(tmp_path / "directory"), SELF)
    with pytest.raises(OSError, match="symbolic"):
        given_files.read(str(tmp_path / "read"), SELF, 1)
    given_files.write(str(tmp_path / "read"), b"y", SELF, 0o600)
    assert (tmp_path / "file").read_text() == "x"


def test_what_is_left_of_a_failure_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="directory"):
        given_files.write(str(tmp_path / "file"), b"x", SELF, 0o600)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.getuid() != 0, reason="not root")
def test_a_directory_is_given_once_and_to_one(tmp_path: Path) -> None:
    path = tmp_path / "of them"
    for _ in range(2):
        given_files.directory(str(path), OTHER)
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (OTHER.uid, 0o700)
    with pytest.raises(FileExistsError):
        given_files.directory(str(path), Account(OTHER.uid + 1, 0, "third"))
