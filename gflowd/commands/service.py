"""Let systemd run the daemon: start it at login or boot, and again if it fails. Jobs do not depend on it.

install writes a unit that names this gflowd by its full path and the options given here, enables it and starts it. The
daemon is then a service of yours, which starts with your first login, or at boot if you linger; install enables
lingering. Without lingering, systemd ends all your services at your last logout, and with them every job. Commands
that follow: systemctl --user restart gflowd, journalctl --user -u gflowd.

With --system, as root, it is a service of the machine for one user, gflowd@USER, which needs no lingering.

install changes only what is missing or outdated, so it may be repeated. It leaves a unit alone that it did not write or
that was edited since, unless --force is given. uninstall ends the service and removes the unit; the state, the queue
and running jobs stay.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from gflowd import command_line
from gflowd.daemon import launch, service
from gflowd.effects.service import systemctl, units

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from gflowd.daemon.service import Service

INACTIVE = 3


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the actions."""
    command_line.add_actions(
        parser,
        {
            "install": ("write the unit, enable it and start it", _configure_install),
            "uninstall": ("stop the service, disable it and remove the unit; jobs go on", _configure_uninstall),
            "status": ("show the unit: path, enabled, active, lingering, edited", _configure_status),
        },
    )


def _configure_install(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--take-over", action="store_true", help="end a daemon that runs detached; jobs go on")
    parser.add_argument("--no-linger", action="store_true", help="do not enable lingering")
    parser.add_argument("--force", action="store_true", help="replace a unit that was edited or written by others")
    _add_system(parser)
    launch.add_options(parser)


def _configure_uninstall(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="remove the unit even if it was edited")
    _add_system(parser)


def _configure_status(parser: argparse.ArgumentParser) -> None:
    command_line.add_json(parser)
    _add_system(parser)


def _add_system(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--system", action="store_true", help="a service of the machine for one user (as root)")
    parser.add_argument("--user", metavar="USER", help="that user (default: you, also under sudo)")


def run(args: argparse.Namespace) -> int:
    """0 when done; `status` tells whether the service is active."""
    found = service.named(args)
    match args.action:
        case "install":
            service.install(found, args)
        case "uninstall":
            service.uninstall(found, force=args.force)
        case _:
            return _status(found, as_json=args.json)
    return 0


def _status(found: Service, *, as_json: bool) -> int:
    report = _gather(found)
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        print("\n".join(_lines(report)))
    return 0 if report["active"] else INACTIVE


def _gather(found: Service) -> dict[str, Any]:
    """What `service status --json` prints."""
    facts = found.manager.show(found.unit, *service.FACTS)
    own = units.read(found.path)
    path = found.path if own is not None else facts.get("FragmentPath") or None
    text = own if own is not None or path is None else units.read(path)
    program = units.program_of(text) if text is not None else None
    return {
        "unit": found.unit,
        "manager": "system" if found.manager.system else "user",
        "path": path,
        "ours": None if text is None else units.whose(text) != units.FOREIGN,
        "edited": None if text is None or units.whose(text) == units.FOREIGN else units.whose(text) == units.EDITED,
        "drop_ins": facts.get("DropInPaths", "").split(),
        "gflowd": program,
        "gflowd_exists": None if program is None else os.access(program, os.X_OK),
        "enabled": facts.get("UnitFileState") == "enabled",
        "active": facts.get("ActiveState") in {"active", "reloading"},
        "state": facts.get("ActiveState") or None,
        "pid": int(facts.get("MainPID") or 0) or None,
        "lingering": None if found.manager.system else systemctl.lingers(found.user),
    }


def _lines(report: dict[str, Any]) -> Iterator[str]:
    def yes(value: object) -> str:
        return "unknown" if value is None else "yes" if value else "no"

    pid = f"pid {report['pid']}" if report["pid"] else ""
    told = pid if report["active"] else report["state"] or "unknown"
    yield f"unit       {report['unit']} of the {report['manager']} manager"
    yield f"path       {report['path'] or '- (not installed)'}"
    if report["path"]:
        edited = yes(report["edited"]) if report["ours"] else "not written by gflowd service install"
        yield f"edited     {edited}"
        gone = "" if report["gflowd_exists"] in (None, True) else " (does not exist)"
        yield f"gflowd     {report['gflowd'] or 'unknown'}{gone}"
    for drop_in in report["drop_ins"]:
        yield f"drop-in    {drop_in}"
    yield f"enabled    {yes(report['enabled'])}"
    yield f"active     {yes(report['active'])}{f' ({told})' if told else ''}"
    if report["manager"] == "user":
        lost = f": {units.LOGOUT}" if report["lingering"] is False else ""
        yield f"lingering  {yes(report['lingering'])}{lost}"
