"""Where output may go: whatever open(2) takes of this user once missing directories are there."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gflowctl.submit import capture
from gflowd.core.errors import Refused
from gflowd.core.syntax import filename_patterns

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534


def refusal(pattern: str, cwd: str) -> str | None:
    try:
        capture.output_pattern(pattern, cwd, "-o")
    except Refused as error:
        return str(error).partition(": ")[2]
    return None


def as_nobody(patterns: list[str], cwd: str) -> list[str | None]:
    """What is said of each, in a process without privileges."""
    filename_patterns.check("x")  # imported before the process may no longer
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        os.write(writing, json.dumps([refusal(each, cwd) for each in patterns]).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        said = file.read()
    os.waitpid(child, 0)
    found: list[str | None] = json.loads(said)
    return found


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory that everybody may enter."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def test_what_open_would_take_is_taken(root: Path) -> None:
    work, closed = root / "work", root / "closed"
    for place, mode in ((work, 0o777), (closed, 0o755), (closed / "open", 0o777)):
        place.mkdir()
        place.chmod(mode)
    (closed / "file").touch()
    (closed / "file").chmod(0o666)
    os.mkfifo(closed / "pipe")
    (closed / "pipe").chmod(0o666)
    (closed / "other").touch()
    (closed / "other").chmod(0o644)
    if os.getuid() != 0:
        closed.chmod(0o555)
        (closed / "other").chmod(0o444)
    cases = {
        "/dev/null": None, "out": None, "logs/%A_%a.log": None, "logs/%x/%j.out": None, "%j/%3a": None,
        f"{closed}/file": None, f"{closed}/pipe": None, f"{closed}/%x/%j": None, f"{closed}/open/a/b%%": None,
        f"{closed}/other": "not writable", f"{closed}/new": f"directory {closed} is not writable",
        f"{closed}/%j": f"directory {closed} is not writable",
        f"{closed}/a/%j": f"directory {closed} is not writable",
        f"{closed}/file/x": f"{closed}/file is not a directory", f"{closed}/open": "is a directory",
        "/dev/new": "directory /dev is not writable",
    }  # fmt: skip
    assert dict(zip(cases, as_nobody([*cases], str(work)), strict=True)) == cases


def test_a_pattern_becomes_absolute(tmp_path: Path) -> None:
    assert capture.output_pattern("a/%j", f"{tmp_path}%", "-o") == f"{tmp_path}%%/a/%j"
    assert capture.output_pattern("/a/%j", "/", "-o") == "/a/%j"
    assert capture.output_pattern(None, "/", "-o") is None
    with pytest.raises(Refused, match=r"^'%q': %q is not a pattern"):
        capture.output_pattern("%q", "/", "--error")
