"""The text of gflow's units: made from a template, with a mark by which we know it again. Writes no file."""

from __future__ import annotations

import hashlib
import os
import re

import gflowd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

USER, SYSTEM = "gflowd.service", "gflowd@.service"
ETC = "/etc/systemd/system"
LOGOUT = "at your last logout systemd ends gflowd and every job"  # of who does not linger
OURS, EDITED, FOREIGN = "ours", "edited", "foreign"
_START = "ExecStart=gflowd run\n"
_MARK = re.compile(r'# Written by "gflowd service install" of gflow \S+\.\n# sha256 of the rest: ([0-9a-f]{64})\n')


def template(name: str) -> str:
    """The template of the unit `name`. Raises OSError where the installation is incomplete."""
    with open(os.path.join(os.path.dirname(gflowd.__file__), "units", name), encoding="utf-8") as file:
        return file.read()


def made(text: str, program: str, words: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> str:
    """The unit of the template `text` that starts `program run` with `words` and with variables."""
    start = " ".join((_quoted(program), "run", *(_quoted(word).replace("$", "$$") for word in words)))
    variables = "".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in (environ or {}).items())
    rest = text[text.index("[Unit]") :].replace(_START, f"{variables}ExecStart={start}\n")
    return f'# Written by "gflowd service install" of gflow {gflowd.__version__}.\n{_sum_line(rest)}{rest}'


def _quoted(word: str) -> str:
    """A word as systemd.syntax(7) reads it; % begins what it replaces."""
    word = word.replace("\\", "\\\\").replace("%", "%%")
    if re.fullmatch(r"[\w@%+=:,./\\$-]+", word):
        return word
    return '"{}"'.format(word.replace('"', '\\"').replace("\n", "\\n"))


def _sum_line(rest: str) -> str:
    return f"# sha256 of the rest: {hashlib.sha256(os.fsencode(rest)).hexdigest()}\n"


def whose(text: str) -> str:
    """Whether a unit is as `made` wrote it (OURS), was changed since (EDITED), or is not from here (FOREIGN)."""
    mark = _MARK.match(text)
    if mark is None:
        return FOREIGN
    return OURS if mark[0].endswith(_sum_line(text[mark.end() :])) else EDITED


def rest_of(text: str) -> str:
    """A unit without the mark, which changes with each release."""
    mark = _MARK.match(text)
    return text if mark is None else text[mark.end() :]


def program_of(text: str) -> str | None:
    """The program that a unit starts, where it is named by its path."""
    import shlex

    for line in text.splitlines():
        if line.startswith("ExecStart="):
            try:
                words = shlex.split(line.partition("=")[2].lstrip("-@:+!"))
            except ValueError:
                return None
            return words[0].replace("%%", "%") if words and words[0].startswith("/") else None
    return None


def read(path: str) -> str | None:
    """The text of a unit file; None where there is none. A link is read as an empty one: it is not ours."""
    if os.path.islink(path):
        return ""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
