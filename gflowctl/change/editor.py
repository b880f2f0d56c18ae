"""A text in a private file of a directory of its own, and the editor that its user prefers. Knows no jobs."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile

from gflowd.core.errors import Refused, SystemFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VARIABLES = ("VISUAL", "EDITOR")
USUAL = ("editor", "vi")  # Debian's name for the one that the administrator chose; POSIX's
KEPT = "surrogateescape"  # bytes of a path need not be UTF-8


def chosen(environ: Mapping[str, str]) -> list[str]:
    """The editor's command line, without the file. Raises `SystemFailed` if there is none."""
    name = next((name for name in VARIABLES if environ.get(name, "").strip()), None)
    if name is None:
        found = next(filter(shutil.which, USUAL), None)
        if found is None:
            raise SystemFailed("there is no editor; name one in EDITOR, e.g. EDITOR=nano")
        return [found]
    try:
        words = shlex.split(environ[name])
    except ValueError as error:
        raise SystemFailed(f"{name}={environ[name]} cannot be read: {str(error).lower()}") from None
    words[0] = os.path.expanduser(words[0])
    if shutil.which(words[0]) is None:
        raise SystemFailed(f"there is no editor {words[0]!r}; {name} names it")
    return words


class Draft:
    """A text that is being edited. The directory is private, since an editor may write copies beside the file."""

    def __init__(self, name: str, text: str) -> None:
        self._text = text
        self._directory = tempfile.mkdtemp(prefix="gflow-edit-")
        self.path = os.path.join(self._directory, name)
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(file, "wb") as stream:
            stream.write(text.encode(errors=KEPT))

    def edit(self, command: Sequence[str]) -> None:
        """Runs the editor to its end; an interrupt of the terminal is the editor's alone. Raises `Refused` if it fails,
        `SystemFailed` if it cannot be run.
        """
        before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGQUIT)}
        try:
            status = subprocess.run([*command, self.path], check=False).returncode
        except OSError as error:
            raise SystemFailed(f"the editor {command[0]!r} cannot be run: {error.strerror}") from None
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if status:
            how = f"exit status {status}" if status > 0 else f"signal {-status}"
            raise Refused(f"the editor {command[0]!r} failed ({how})")

    def read(self) -> str:
        """The text as it is now. Raises `Refused` if the editor left none."""
        try:
            with open(self.path, "rb") as stream:
                return stream.read().decode(errors=KEPT)
        except FileNotFoundError:
            raise Refused("the editor left no text") from None

    @property
    def is_changed(self) -> bool:
        """Whether there is something to lose."""
        try:
            return self.read() != self._text
        except (Refused, OSError):
            return False

    def remove(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
