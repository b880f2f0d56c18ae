"""What `gflowctl doctor` checks where systemd runs gflowd: its unit, lingering, and what it delegates."""

from __future__ import annotations

import os

from gflowctl.admin.checks import OK, WARN, Finding
from gflowd import paths
from gflowd.effects import daemon
from gflowd.effects.service import systemctl, units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowctl.admin.checks import Check
    from gflowctl.context import Context


def unit_files(context: Context) -> Iterator[Finding]:
    """The units that are installed here are as they were written, and name a gflowd that exists."""
    if context.state.shared is not None:
        return  # its units come with the package
    folder = os.path.join(paths.home(context.environ), ".config", "systemd", "user")
    again = "gflowd service install"
    for path, how in (
        (os.path.join(folder, units.USER), again),
        (os.path.join(units.ETC, units.SYSTEM), f"sudo {again} --system --user {context.user}"),
    ):
        text = units.read(path)
        if not text:  # none, or a link to another or to /dev/null
            continue
        whose = units.whose(text)
        if whose == units.EDITED:
            remedy = f"changes belong into a drop-in (systemctl edit); {how} --force writes the unit anew"
            yield Finding(WARN, f"{path} was edited", remedy)
        program = units.program_of(text)
        if program is not None and not os.access(program, os.X_OK):
            remedy = how if whose == units.OURS else f"{how} --force"
            yield Finding(WARN, f"{path} starts {program}, which does not exist", remedy)


def lingering(context: Context) -> Iterator[Finding]:
    """A daemon that is a service of its user outlives the logout."""
    found = _of_systemd(context)
    if found is None or context.state.shared is not None or (found.unit or "").startswith("/"):
        return
    lingers = systemctl.lingers(context.user)
    if lingers is False:
        yield Finding(
            WARN,
            f"you do not linger: {units.LOGOUT}",
            f"loginctl enable-linger {context.user}, with sudo if that is denied",
        )
    elif lingers:
        yield Finding(OK, "gflowd and jobs go on when you log out (lingering)")


def delegation(context: Context) -> Iterator[Finding]:
    """A unit that asks for groups to limit memory in gets them."""
    found = _of_systemd(context)
    if found is None or context.state.shared is not None or context.observed.memory_limits != "watch":
        return
    unit = found.unit or ""
    name = f"{unit.removeprefix('/')}.service"
    try:
        facts = systemctl.Manager(system=unit.startswith("/")).show(name, "Delegate")
    except OSError:
        return
    if facts.get("Delegate") == "yes":
        told = f"{name} has Delegate=, but no control group in which gflowd may limit memory"
        yield Finding(WARN, told, "that needs systemd 254, DelegateSubgroup=, and cgroup v2 with memory")


def _of_systemd(context: Context) -> daemon.Daemon | None:
    found = daemon.running(context.state)
    return found if found is not None and found.hosting == "systemd" and not found.elsewhere else None


CHECKS: tuple[Check, ...] = (unit_files, lingering, delegation)
