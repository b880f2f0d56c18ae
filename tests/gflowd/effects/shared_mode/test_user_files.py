"""What root opens in a part of a directory that is a user's, and what it does not."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support.machine import ROOT

from gflowd.effects.shared_mode import user_files

NO_CALL = 9999  # of the kernel's, as openat2 in older ones


@pytest.mark.parametrize("call", [user_files.OPENAT2, NO_CALL])
def test_only_a_plain_file_of_the_users_is_read(tmp_path: Path, call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_files, "OPENAT2", call)
    own = tmp_path / "u"
    own.mkdir()
    secret = tmp_path / "secret"
    secret.write_text("0\n")
    read, others = user_files.reader(os.geteuid()), user_files.reader(os.geteuid() + 1)
    (own / "exit").write_text("0\n")
    found = read(str(own), "exit")
    assert found is not None
    assert found[0] == "0\n"
    assert found[1] == (own / "exit").stat().st_ctime
    assert others(str(own), "exit") is None
    for number, make in enumerate((lambda path: os.symlink(secret, path), os.mkfifo, os.mkdir)):
        make(own / str(number))
        assert read(str(own), str(number)) is None
    at = user_files.found(str(own), "0")
    assert at is not None
    assert at.st_size == len(os.fsencode(secret))
    assert user_files.found(str(own), "missing") is None
    assert read(str(tmp_path / "missing/u"), "exit") is None


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="only root mounts")
def test_no_file_system_that_is_mounted_there_is_asked(tmp_path: Path) -> None:
    """It may be a user's own (FUSE), and never answer."""
    own = tmp_path / "u"
    own.mkdir()
    program = (
        "import sys, os; from pathlib import Path; from gflowd.effects.shared_mode import user_files; "
        "own = sys.argv[1]; "
        "Path(own, 'exit').write_text('0'); "
        "print(user_files.reader(0)(own, 'exit'), user_files.found(own, 'exit'), user_files.may_exist(own, 'exit'))\n"
        "for look in (user_files.about, user_files.touch, lambda path: user_files.opened(path, os.O_RDONLY)):\n"
        "    try: look(own)\n"
        "    except OSError as error: print(error.strerror)\n"
        "print(user_files.listed(own, 9))"
    )
    script = 'mount -t tmpfs none "$1" && exec "$2" -c "$3" "$1"'
    words = ["unshare", "--mount", "sh", "-c", script, "sh", str(own), sys.executable, program]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    if "mount" in done.stderr:
        pytest.skip(done.stderr)
    other = "Invalid cross-device link"
    assert done.stdout.splitlines() == ["None None True", other, other, other, "[]"], done.stderr


def test_what_is_a_users_in_a_directory_of_roots_is_looked_at_as_it_is(tmp_path: Path) -> None:
    kept, link = tmp_path / "kept", tmp_path / "link"
    kept.write_text("12345")
    os.utime(kept, (1, 1))
    link.symlink_to(kept)
    assert (user_files.about(str(kept)).st_size, stat.S_ISLNK(user_files.about(str(link)).st_mode)) == (5, True)
    user_files.touch(str(kept))
    assert kept.stat().st_mtime > 1
    with pytest.raises(OSError, match="Too many levels"):
        user_files.opened(str(link), os.O_RDONLY)
    with pytest.raises(FileNotFoundError):
        user_files.touch(str(tmp_path / "missing"))
    assert sorted(user_files.listed(str(tmp_path), 9)) == ["kept", "link"]
    assert len(user_files.listed(str(tmp_path), 1)) == 1
    assert user_files.listed(str(kept), 9) == user_files.listed(str(tmp_path / "missing"), 9) == []
    assert user_files.may_exist(str(tmp_path), "kept")
    assert not user_files.may_exist(str(tmp_path), "missing")
