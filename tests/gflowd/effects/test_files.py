"""Small files: what is no plain file is not opened to be read."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from gflowd.effects import files


def test_only_plain_files_are_opened_and_a_link_only_if_asked_for(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"content")
    (tmp_path / "link").symlink_to(plain)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    listener.close()
    assert files.read_plain(str(plain)) == b"content"
    assert files.read_plain(str(plain), 3) == b"con"
    fd = files.open_plain(str(tmp_path / "link"), follow=True)
    assert os.read(fd, 100) == b"content"
    assert not os.get_inheritable(fd)
    os.close(fd)
    for name, number in (
        ("link", errno.ELOOP), ("loop", errno.ELOOP), ("directory", errno.EINVAL), ("pipe", errno.EINVAL),
        ("socket", errno.EINVAL), ("missing", errno.ENOENT), ("plain/inside", errno.ENOTDIR),
    ):  # fmt: skip
        with pytest.raises(OSError, check=lambda error, number=number: error.errno == number):
            files.read_plain(str(tmp_path / name))
