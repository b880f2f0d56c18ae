"""A backup as one file: a plain tar whose last member lists the others with their checksums. Knows what it may contain,
but not what it means. Owners, modes, links and paths outside, as in a foreign tar, are ignored.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile

from gflowd.core.errors import Refused
from gflowd.paths import sync_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Self

    from gflowd.paths import State

FORMAT = 1
MANIFEST = "manifest.json"
LARGEST_MANIFEST = 256 << 20  # bytes
BLOCK = 1 << 20
NAME = re.compile(
    r"snapshot\.jsonl|options\.json|gflow\.toml|history\.db|(?:env|scripts)/(?:(?:0|[1-9][0-9]{0,9})/)?[0-9a-f]{32}"
    r"|cluster/id|cluster/batches/[0-9]{1,15}(?:\.[0-9]{1,15}){1,14}\.json"
    r"|jobs/[1-9][0-9]{0,14}/[1-9][0-9]{0,8}/log(?:\.cut)?",
    re.ASCII,
)


def check_may(state: State) -> None:
    """Raises `Refused` for who may not back up or restore what is of many users."""
    if state.shared is not None and os.geteuid() != 0:
        raise Refused("only root backs up and restores what is of all users")


class Writer:
    """`with Writer(path) as archive:` writes a new file (0600); it gets its name, and is synced to disk,
    when the block ends without an error. Raises OSError.
    """

    def __init__(self, path: str, about: dict[str, Any]) -> None:
        self._path = path
        self._fresh = f"{path}.new.{os.getpid()}"
        self._about = about
        self._files: dict[str, tuple[int, str]] = {}

    def __enter__(self) -> Self:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.fdopen(os.open(self._fresh, flags, 0o600), "wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with self._file:
                if kind is None:
                    self._finish()
            if kind is None:
                os.rename(self._fresh, self._path)
                sync_directory(os.path.dirname(self._path) or ".")
        finally:
            if os.path.lexists(self._fresh):
                os.unlink(self._fresh)

    def add(self, name: str, data: bytes) -> None:
        """Adds a file of this content."""
        self.copy(name, io.BytesIO(data), len(data))

    def copy(self, name: str, source: BinaryIO, size: int) -> None:
        """Adds a file of `size` bytes; if `source` has become shorter, it is padded with zeros."""
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        measured = _Measured(source)
        self._tar.addfile(member, measured)  # type: ignore[arg-type]
        self._files[name] = (size, measured.digest())

    def _finish(self) -> None:
        data = json.dumps({"format": FORMAT, **self._about, "files": self._files}).encode()
        self.add(MANIFEST, data)
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())


class _Measured:
    """A source that never ends early, with a checksum of what was read."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._source.read(size)
        data += bytes(size - len(data))
        self._hash.update(data)
        return data

    def digest(self) -> str:
        return self._hash.hexdigest()


def unpack(path: str, directory: str) -> dict[str, Any]:
    """Writes the files of a backup below `directory`, which is ours and empty; returns what the backup says of itself.

    Raises `Refused` for a file that is not an intact backup, or is from a later gflow; OSError.
    """
    found: dict[str, tuple[int, str]] = {}
    try:
        with open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.name == MANIFEST and member.isreg():
                    return _checked(path, _manifest(path, tar, member), found)
                if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or not NAME.fullmatch(member.name):
                    raise Refused(f"{path} is not a gflow backup: it contains {ascii(member.name)[:80]}")
                found[member.name] = _extract(tar, member, os.path.join(directory, member.name))
    except FileExistsError as error:
        raise Refused(f"{path} is not a gflow backup: it contains {os.path.basename(error.filename)} twice") from None
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError, KeyError, TypeError):
        raise Refused(f"{path} is not a gflow backup, or is damaged") from None
    except FileNotFoundError:
        raise Refused(f"{path}: no such file") from None
    raise Refused(f"{path} is incomplete: its end is missing")


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> tuple[int, str]:
    """Writes one file; returns its size and checksum."""
    source = tar.extractfile(member)
    assert source is not None
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    size, checksum = 0, hashlib.sha256()
    with os.fdopen(fd, "wb") as file:
        while part := source.read(BLOCK):
            file.write(part)
            checksum.update(part)
            size += len(part)
        file.flush()
        os.fsync(file.fileno())
    return size, checksum.hexdigest()


def _manifest(path: str, tar: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any]:
    source = tar.extractfile(member)
    if source is None or member.size > LARGEST_MANIFEST:
        raise Refused(f"{path} is not a gflow backup")
    said = json.loads(source.read())
    sound = isinstance(said, dict) and isinstance(said["format"], int) and isinstance(said["files"], dict)
    if not sound or not 0 <= said["at"] < 1e11:
        raise Refused(f"{path} is not a gflow backup")
    return said  # type: ignore[no-any-return]


def _checked(path: str, said: dict[str, Any], found: dict[str, tuple[int, str]]) -> dict[str, Any]:
    if said["format"] > FORMAT:
        raise Refused(f"{path} was written by a newer gflow (format {said['format']}, ours is {FORMAT})")
    listed = {name: tuple(entry) for name, entry in said["files"].items()}
    wrong = sorted(name for name in {*listed, *found} if listed.get(name) != found.get(name))
    if wrong:
        raise Refused(f"{path} is damaged: {', '.join(map(ascii, wrong[:3]))} changed since it was saved")
    if "snapshot.jsonl" not in found:
        raise Refused(f"{path} is not a gflow backup: it has no snapshot")
    return said
