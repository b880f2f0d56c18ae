"""Setuptools' build backend, but with reproducible sdists: if SOURCE_DATE_EPOCH is set, the same tree gives the same
bytes, wherever and by whomever it is built. Its wheels are reproducible without help.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 -- every other hook is its own


def build_sdist(sdist_directory: str, config_settings: dict[str, str] | None = None) -> str:
    """As PEP 517 asks; returns the name of the file."""
    name: str = build_meta.build_sdist(sdist_directory, config_settings)
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        path = os.path.join(sdist_directory, name)
        with open(path, "rb") as file:
            packed = repacked(file.read(), int(epoch))
        with open(path, "wb") as file:
            file.write(packed)
    return name


def repacked(sdist: bytes, epoch: int) -> bytes:
    """The same files in the order of their names, of nobody in particular, with `epoch` as every date."""
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(sdist), mode="r:gz") as given,
        gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=epoch) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as made,
    ):
        for member in sorted(given.getmembers(), key=lambda each: each.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            made.addfile(member, given.extractfile(member) if member.isfile() else None)
    return out.getvalue()
