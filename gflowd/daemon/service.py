"""Puts the daemon under systemd and takes it out again: the unit's file, its start, and who ran the daemon before.

What fails leaves all as it was. Jobs are not touched: they do not depend on who runs the daemon.
"""

from __future__ import annotations

import glob
import json
import os
import pwd
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gflowd import paths
from gflowd.config.start_options import kept
from gflowd.core.errors import BadUsage, GflowError, Refused, SystemFailed
from gflowd.daemon import instance, launch
from gflowd.effects.service import systemctl, units

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from gflowd.config.start_options import StartOptions
    from gflowd.effects.daemon import Daemon

PROGRAM = "gflowd"
FACTS = ("UnitFileState", "ActiveState", "MainPID", "FragmentPath", "DropInPaths")
ACTIVE = {"active", "activating", "reloading"}


@dataclass(frozen=True, slots=True)
class TakeOver:
    """How a detached daemon is ended, and started again if systemd cannot start it."""

    end: Callable[[], None]
    again: Callable[[], None]


class Service:
    """One service: its unit, its file, and the manager that runs it."""

    def __init__(self, user: str, manager: systemctl.Manager, path: str) -> None:
        self.user = user
        self.manager = manager
        self.path = path
        self.unit = f"gflowd@{user}.service" if manager.system else units.USER

    @property
    def journal(self) -> str:
        """The command that shows what it said."""
        return f"journalctl {'' if self.manager.system else '--user '}-u {self.unit.removesuffix('.service')}"

    def others(self) -> list[str]:
        """Users that the same file serves."""
        if not self.manager.system:
            return []
        links = glob.glob(os.path.join(units.ETC, "*.wants", "gflowd@*.service"))
        found = {os.path.basename(link).removeprefix("gflowd@").removesuffix(".service") for link in links}
        return sorted(found - {self.user})


def named(args: argparse.Namespace) -> Service:
    """The service that the command line means. Raises `Refused` where systemd cannot be asked."""
    manager = systemctl.Manager(system=args.system)
    if not args.system:
        if args.user is not None:
            raise BadUsage("--user is for --system (see gflowd service --help)")
        places = manager.reach()
        home = os.path.join(paths.home(os.environ), ".config")
        chosen = [os.path.join(base, "systemd", "user") for base in (home, os.environ.get("XDG_CONFIG_HOME", home))]
        folder = next((place for place in chosen if place in places), chosen[0])
        return Service(pwd.getpwuid(os.getuid()).pw_name, manager, os.path.join(folder, units.USER))
    user = args.user or os.environ.get("SUDO_USER")
    if not user and os.geteuid() != 0:
        user = pwd.getpwuid(os.getuid()).pw_name
    if not user:
        raise BadUsage("--system needs the user for whom: --user USER (see gflowd service --help)")
    try:
        pwd.getpwnam(user)
    except KeyError:
        raise Refused(f"there is no user {user}") from None
    if args.action != "status" and os.geteuid() != 0:
        raise Refused(f"only root may do that: sudo gflowd service {args.action} --system --user {user}")
    manager.reach()
    return Service(user, manager, os.path.join(units.ETC, units.SYSTEM))


def install(service: Service, args: argparse.Namespace) -> None:
    """Writes, enables and starts the unit, where that is not done yet."""
    program = _program()
    before = units.read(service.path)
    whose = units.OURS if before is None else units.whose(before)
    if whose != units.OURS and not args.force:
        why = "was edited" if whose == units.EDITED else "was not written by gflowd service install"
        raise Refused(f"{service.path} {why}; --force replaces it")
    given = launch.chosen(args)
    if service.manager.system:
        after = _text(service, program, given, args)
        _settle(service, before, after, _of_another(service, program, wanted=args.take_over))
        _report(service)
        return
    state = launch.prepared(args, detached=True)
    holder = _holder(state, service, take_over=args.take_over)
    choice = given if holder is None and before is None else given.over(kept(state))
    launch.load_and_tell(state, choice, given)
    after = _text(service, program, choice, args)
    is_detached = holder is not None and holder.hosting == "detached"
    _settle(service, before, after, _of_mine(state, holder, choice) if holder is not None and is_detached else None)
    _report(service)
    _linger(service, wanted=not args.no_linger)


def _program() -> str:
    """The path of this gflowd as called, so that an upgrade behind a link counts. Raises `Refused`."""
    called = sys.argv[0]
    path = os.path.abspath(called) if os.path.basename(called) == PROGRAM and "/" in called else shutil.which(PROGRAM)
    if path is None or not os.access(path, os.X_OK):
        raise Refused(f"no {PROGRAM} is installed that systemd could start")
    return os.path.abspath(path)


def _text(service: Service, program: str, choice: StartOptions, args: argparse.Namespace) -> str:
    name = units.SYSTEM if service.manager.system else units.USER
    try:
        template = units.template(name)
    except OSError as error:
        raise SystemFailed(f"{error.filename}: {error.strerror}; this installation of gflow is incomplete") from None
    words = list(launch.words_of(choice))
    if service.manager.system:
        if words or args.state_dir:
            raise BadUsage(f"with --system, options of the daemon belong into the configuration of {service.user}")
        return units.made(template, program)
    usual = {"HOME": paths.home(os.environ)}
    config = paths.default_config_path(os.environ)
    if choice.config is None and config != paths.default_config_path(usual) and os.path.exists(config):
        words = ["--config", config, *words]
    state_dir = os.path.abspath(args.state_dir or paths.default_state_dir(os.environ))
    if state_dir != paths.default_state_dir(usual):
        words = ["--state-dir", state_dir, *words]
    runtime = os.environ.get("GFLOW_RUNTIME_DIR")
    return units.made(template, program, words, {"GFLOW_RUNTIME_DIR": runtime} if runtime else {})


def _holder(state: paths.State, service: Service, *, take_over: bool) -> Daemon | None:
    """The daemon that runs now, if it is the service or may be taken over. Raises `Refused`."""
    holder = instance.when_known(state)
    if holder is None:
        return None
    if holder.elsewhere:
        raise Refused(f"gflowd runs on another machine ({holder})")
    if holder.hosting == "detached":
        if not take_over:
            raise Refused(f"gflowd runs already ({holder}); --take-over ends it and lets systemd start it; jobs go on")
    elif holder.hosting != "systemd":
        raise Refused(f"gflowd runs already ({holder}), in the foreground; end it there")
    elif f"{holder.unit}.service" != service.unit:
        name = str(holder.unit).removeprefix("/")
        raise Refused(f"gflowd runs already ({holder}), as the service {name}; stop and disable that first")
    return holder


def _of_mine(state: paths.State, holder: Daemon, choice: StartOptions) -> TakeOver:
    def end() -> None:
        instance.stop(state, holder)
        print(f"gflowd stopped (pid {holder.pid})", flush=True)

    def again() -> None:
        launch.start(state, choice, adopt=False)

    return TakeOver(end, again)


def _of_another(service: Service, program: str, *, wanted: bool) -> TakeOver | None:
    """The same for the detached daemon of another user, by that user's rights alone; None if none runs that is not
    the service. Raises `Refused`.
    """
    done = _as_user(service.user, program, "status", "--json")
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise Refused(f"{service.user} cannot run {program}: {systemctl.said(done)}") from None
    unit = service.unit.removesuffix(".service")
    if not found["running"] or str(found["restart"]) == f"sudo systemctl restart {unit}":
        return None
    who = f"gflowd of {service.user} runs already (pid {found['pid']})"
    if found["hosting"] != "detached":
        raise Refused(f"{who}, by other means ({found['hosting']}); end that first")
    if not wanted:
        raise Refused(f"{who}; --take-over ends it and lets systemd start it; jobs go on")

    def end() -> None:
        done = _as_user(service.user, program, "stop")
        if done.returncode:
            raise SystemFailed(systemctl.said(done))
        print(done.stdout, end="", flush=True)

    def again() -> None:
        _as_user(service.user, program, "restart")  # with the options that it had

    return TakeOver(end, again)


def _as_user(user: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs a program with the rights and the home of a user."""
    entry = pwd.getpwnam(user)
    switch: dict[str, Any] = {}
    if entry.pw_uid != os.geteuid():
        groups = os.getgrouplist(user, entry.pw_gid)
        switch = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}
    environ = {"HOME": entry.pw_dir, "USER": user, "LOGNAME": user, "PATH": os.defpath, "LANG": "C.UTF-8"}
    try:
        return subprocess.run(
            [*words], env=environ, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=systemctl.PATIENCE, check=False, **switch,
        )  # fmt: skip
    except OSError as error:
        return subprocess.CompletedProcess(words, 126, "", error.strerror or "it cannot be started")


def _settle(service: Service, before: str | None, after: str, taken: TakeOver | None) -> None:
    """Writes, enables and starts; ends a detached daemon in between. What fails leaves all as it was."""
    changed = before is None or units.rest_of(before) != units.rest_of(after)
    facts = service.manager.show(service.unit, *FACTS)
    is_active, was_enabled = facts.get("ActiveState") in ACTIVE, facts.get("UnitFileState") == "enabled"
    ended = False
    try:
        if changed:
            _write(service.path, after)
        service.manager.tell("daemon-reload")
        service.manager.tell("enable", "--quiet", service.unit)
        if taken is not None:
            taken.end()
            ended = True
        try:
            service.manager.tell("restart" if changed and is_active else "start", service.unit)
        except SystemFailed as error:
            raise SystemFailed(f"{error}; see {service.journal}") from None
    except GflowError:
        _undo(service, before, was_enabled=was_enabled, was_active=is_active)
        if taken is not None and ended:
            taken.again()
        raise
    if changed:
        print(f"wrote {service.path}")


def _write(path: str, text: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        paths.replace_file(path, text.encode("utf-8", "surrogateescape"), durable=True, mode=0o666)
    except OSError as error:
        raise SystemFailed(f"{error.filename or path}: {error.strerror}") from None


def _undo(service: Service, before: str | None, *, was_enabled: bool, was_active: bool) -> None:
    def try_to(*words: str) -> None:
        with suppress(GflowError, OSError):
            service.manager.tell(*words)

    if not was_enabled:
        try_to("disable", "--quiet", "--now", service.unit)
    with suppress(GflowError, OSError):
        if before is not None:
            _write(service.path, before)
        else:
            os.unlink(service.path)
    try_to("daemon-reload")
    try_to("reset-failed", service.unit)
    if was_active:
        try_to("start", service.unit)


def _report(service: Service) -> None:
    pid = service.manager.show(service.unit, *FACTS).get("MainPID", "0")
    print(f"{service.unit} is enabled and active" + (f" (pid {pid})" if pid != "0" else ""))


def _linger(service: Service, *, wanted: bool) -> None:
    if systemctl.lingers(service.user):
        return
    if not wanted:
        print(f"gflowd: without lingering, {units.LOGOUT}: loginctl enable-linger prevents it", file=sys.stderr)
    elif (why := systemctl.enable_lingering(service.user)) is not None:
        remedy = f"sudo loginctl enable-linger {service.user}"
        print(f"gflowd: lingering is not enabled ({why}), so {units.LOGOUT}: {remedy}", file=sys.stderr)
    else:
        print("lingering is enabled: gflowd starts at boot, and jobs go on when you log out")


def uninstall(service: Service, *, force: bool) -> None:
    """Stops and disables the service, and removes its unit, if that is ours."""
    text = units.read(service.path)
    whose = units.OURS if text is None else units.whose(text)
    if whose == units.FOREIGN:
        raise Refused(f"{service.path} was not written by gflowd service install; it stays")
    if whose == units.EDITED and not force:
        raise Refused(f"{service.path} was edited; --force removes it all the same")
    if text is None:
        print(f"{service.unit} is not installed")
        return
    service.manager.tell("disable", "--quiet", "--now", service.unit)
    others = service.others()
    if not others:
        try:
            os.unlink(service.path)
        except OSError as error:
            raise SystemFailed(f"{service.path}: {error.strerror}") from None
    service.manager.tell("daemon-reload")
    with suppress(GflowError):
        service.manager.tell("reset-failed", service.unit)  # it fails where nothing had
    print(f"{service.unit} is stopped and disabled; jobs go on, and the queue stays")
    print(f"{service.path} serves {', '.join(others)} and stays" if others else f"removed {service.path}")
    if not service.manager.system and systemctl.lingers(service.user):
        print("lingering stays enabled: loginctl disable-linger ends it")
