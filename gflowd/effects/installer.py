"""The command by which the user of this Python installs a package that is missing. Looks; installs nothing."""

from __future__ import annotations

import os
import sys

APT = "/usr/bin/apt"
DEBIAN = {"nvidia-ml-py": "python3-pynvml"}  # where the name is not python3-NAME
EXTRAS = {  # the packages of each of gflow's extras, as in setup.cfg
    "mcp": ("mcp",),
    "metrics": ("prometheus-client",),
    "notify": ("apprise",),
    "tui": ("textual",),
    "web": ("jinja2", "starlette", "uvicorn"),
}
NOT_IN_DEBIAN = ("mcp",)  # extras


def command(*names: str, again: bool = False) -> str:
    """For packages of these names on PyPI; `again` replaces what is there."""
    if not _is_managed():
        return f"{sys.executable} -m pip install {'--force-reinstall ' if again else ''}{' '.join(names)}"
    if os.path.exists(APT):
        ours = (DEBIAN.get(name, f"python3-{name}") for name in names)
        return f"sudo apt {'reinstall' if again else 'install'} {' '.join(ours)}"
    return f"install {', '.join(names)} from your distribution"


def extra(name: str, what: str) -> str:
    """The sentence for whoever asks for `what` where the packages of this extra are missing."""
    if name in NOT_IN_DEBIAN and _is_managed() and os.path.exists(APT):
        return f"{what} needs gflow[{name}], which Debian does not have: pipx install 'gflow[{name}]'"
    return f"{what} needs gflow[{name}]: {command(*EXTRAS[name])}"


def _is_managed() -> bool:
    """Whether this Python is a distribution's, which pip is not to change (PEP 668)."""
    import sysconfig

    marker = os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    return sys.prefix == sys.base_prefix and os.path.exists(marker)
