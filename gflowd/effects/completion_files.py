"""Puts completion scripts where the user's shells look for them, and removes them again. Prints nothing."""

from __future__ import annotations

import os

from gflowd import paths
from gflowd.core.errors import Refused, SystemFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SHELLS = ("bash", "zsh", "fish")
HEAD = 400  # bytes, in which a script tells who made it
MAKER = b"tqdm/shtab"


def places(program: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The file of a program's completions for each shell."""
    home = environ.get("HOME") or os.path.expanduser("~")
    data = environ.get("XDG_DATA_HOME") or os.path.join(home, ".local/share")
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    bash = environ.get("BASH_COMPLETION_USER_DIR") or os.path.join(data, "bash-completion")
    return {
        "bash": os.path.join(bash, "completions", program),
        "zsh": os.path.join(data, "zsh/site-functions", f"_{program}"),
        "fish": os.path.join(config, "fish/completions", f"{program}.fish"),
    }


def install(scripts: Mapping[str, str], environ: Mapping[str, str], *, force: bool) -> list[tuple[str, str]]:
    """Installs `scripts`, by program the directory that has them, for the shells on the PATH; each shell with its file.

    Raises `Refused`, having changed nothing, where a file is not ours, unless `force` is given.
    """
    import shutil

    shells = [shell for shell in SHELLS if shutil.which(shell, path=environ.get("PATH"))]
    if not shells:
        raise Refused("none of bash, zsh and fish is on your PATH")
    found = [
        (shell, os.path.join(directory, f"{program}.{shell}"), places(program, environ)[shell], program)
        for shell in shells
        for program, directory in scripts.items()
    ]
    for _, _, path, program in found:
        if not force and os.path.lexists(path) and not _is_ours(path, program):
            raise Refused(f"{path} is not a file of gflow's; --force replaces it")
    for _, source, path, _ in found:
        _copy(source, path)
    return [(shell, path) for shell, _, path, _ in found]


def uninstall(programs: Mapping[str, str], environ: Mapping[str, str]) -> list[str]:
    """Removes our files, of every shell; their names."""
    return [path for program in programs for path in places(program, environ).values() if _removed(path, program)]


def _removed(path: str, program: str) -> bool:
    if not _is_ours(path, program):
        return False
    try:
        os.unlink(path)
    except OSError as error:
        raise SystemFailed(f"{path}: {error.strerror}") from None
    return True


def _is_ours(path: str, program: str) -> bool:
    """Whether it is a generated script for the program, of this version or another; a link is its maker's."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    return not os.path.islink(path) and MAKER in head and program.encode() in head


def _copy(source: str, path: str) -> None:
    try:
        with open(source, "rb") as file:
            content = file.read()
        os.makedirs(os.path.dirname(path), exist_ok=True)
        paths.replace_file(path, content, durable=False, mode=0o666)
    except OSError as error:
        raise SystemFailed(f"{error.filename or path}: {error.strerror}") from None


def told(scripts: Mapping[str, str], environ: Mapping[str, str], *, uninstalls: bool, force: bool) -> Iterator[str]:
    """Installs or uninstalls, and yields what the user is told of it."""
    if uninstalls:
        yield from (f"Removed {path}" for path in uninstall(scripts, environ))
    else:
        yield from _lines(install(scripts, environ, force=force))


def _lines(found: list[tuple[str, str]]) -> Iterator[str]:
    """What the user is told of the installed files."""
    for shell, path in found:
        yield f"{shell}: {path}"
    directory = next((os.path.dirname(path) for shell, path in found if shell == "zsh"), None)
    if directory is not None:
        yield f"zsh finds them if ~/.zshrc has, before compinit: fpath=({directory} $fpath)"
    yield "Shells that start from now on use them."
