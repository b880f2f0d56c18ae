"""`gflowd service`, with stand-ins for systemctl and loginctl that keep what they were told."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gflowctl.admin import service_checks
from gflowctl.context import Context
from gflowd import main
from gflowd.effects import daemon, proc
from gflowd.effects.service import units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowd.paths import State

ROOT = Path(__file__).parent.parent.parent.parent
# `down` is a reason for which nothing can be asked, `fails` a verb that fails.
SYSTEMCTL = """#!/bin/sh
cd "${0%/*}" || exit
printf '%s\\n' "$*" >>calls
[ -e down ] && { cat down >&2; exit 1; }
[ "$1" = --user ] && shift
case $* in
    *UnitPath) echo "UnitPath=$FOLDER /usr/lib/systemd/user"; exit ;;
    show*) cat facts 2>/dev/null; exit ;;
esac
[ -e fails ] && [ "$(cat fails)" = "$1" ] && { echo "Job for gflowd.service failed." >&2; exit 1; }
case $1 in
    enable) echo UnitFileState=enabled >>facts ;;
    start|restart) printf 'ActiveState=active\\nMainPID=7\\n' >>facts ;;
    disable) rm -f facts ;;
esac
exit 0
"""
LOGINCTL = """#!/bin/sh
cd "${0%/*}" || exit
printf 'loginctl %s\\n' "$*" >>calls
case $1 in
    show-user) echo Linger=$(cat linger 2>/dev/null || echo no) ;;
    enable-linger) [ -e refuses ] && { echo "Access denied" >&2; exit 1; }; echo yes >linger ;;
esac
"""
GFLOWD = """#!/bin/sh
cd "${0%/*}" || exit
echo "gflowd $*" >>calls
if [ "$1" = status ]; then cat other; else echo "gflowd stopped (pid 5)"; fi
"""
USER = pwd.getpwuid(os.getuid()).pw_name


class Stand:
    """The stand-ins, and the service as gflowd sees it."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.bin, self.home = root / "stand in", root / "home"
        self.bin.mkdir()
        self.home.mkdir()
        self.unit = self.home / ".config/systemd/user/gflowd.service"
        self._capsys = capsys
        for name, text in (("systemctl", SYSTEMCTL), ("loginctl", LOGINCTL), ("gflowd", GFLOWD)):
            self.put(name, text)

    def put(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def take(self, *names: str) -> None:
        for name in names:
            (self.bin / name).unlink(missing_ok=True)

    def run(self, *words: str) -> tuple[int, str, str]:
        """The exit status of `gflowd service`, and what it said."""
        status = main.main(["service", *words])
        out, err = self._capsys.readouterr()
        assert "internal error" not in err
        return status, out, err

    def calls(self) -> list[str]:
        """What was asked for since the last look, but for questions."""
        path = self.bin / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [line for line in lines if not {"show", "show-user", "status"} & set(line.split())]


@pytest.fixture
def stand(tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Stand:
    for name in [name for name in os.environ if name.startswith(("GFLOW_", "XDG_")) and name != "GFLOW_TEST_MARK"]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("SUDO_USER", raising=False)
    made = Stand(tmp_path, capsys)
    monkeypatch.setenv("HOME", str(made.home))
    monkeypatch.setenv("GFLOW_STATE_DIR", state.root)
    monkeypatch.setenv("PATH", f"{made.bin}:/usr/bin:/bin")
    monkeypatch.setenv("FOLDER", str(made.unit.parent))
    monkeypatch.setattr(sys, "argv", ["gflowd"])
    monkeypatch.setattr(units, "ETC", str(tmp_path / "etc"))
    return made


HOLD = """
import fcntl, signal, sys
file = open(sys.argv[1])
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
signal.pause()
"""


@pytest.fixture
def detached(state: State) -> Iterator[subprocess.Popen[str]]:
    """What looks like a daemon that holds the lock."""
    Path(state.daemon_lock).touch(0o600)
    with subprocess.Popen(
        [sys.executable, "-IS", "-c", HOLD, state.daemon_lock], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        host(state, child.pid, "detached")
        yield child
        child.kill()


def host(state: State, pid: int, hosting: str) -> None:
    record = {
        "pid": pid, "start": proc.start_ticks(pid), "boot": daemon.boot_id(), "host": os.uname().nodename,
        "hosting": hosting,
    }  # fmt: skip
    path = Path(state.daemon_pid)
    path.write_text(json.dumps(record))
    path.chmod(0o600)


def findings(state: State) -> list[str]:
    """What doctor warns of."""
    context = Context({**os.environ}, state_dir=state.root)
    return [each.text for check in service_checks.CHECKS for each in check(context) if each.level == "WARN"]


INSTALLED = ["--user daemon-reload", "--user enable --quiet gflowd.service", "--user start gflowd.service"]


def test_it_is_installed_once_and_uninstalled_once(stand: Stand, state: State) -> None:
    assert stand.run("status")[:2] == (3, """\
unit       gflowd.service of the user manager
path       - (not installed)
enabled    no
active     no (unknown)
lingering  no: at your last logout systemd ends gflowd and every job
""")  # fmt: skip
    status, out, err = stand.run("install", "--gpus", "all", "-v")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        f"wrote {stand.unit}", "gflowd.service is enabled and active (pid 7)",
        "lingering is enabled: gflowd starts at boot, and jobs go on when you log out",
    ]  # fmt: skip
    assert stand.calls() == [*INSTALLED, f"loginctl enable-linger {USER}"]
    text = stand.unit.read_text()
    assert f'\nExecStart="{stand.bin}/gflowd" run --state-dir {state.root} --gpus=all --verbose\n' in text
    assert "# Jobs outlive the daemon" in text

    again = stand.run("install", "--gpus", "all", "-v")
    assert again == (0, "gflowd.service is enabled and active (pid 7)\n", "")
    assert (stand.calls(), stand.unit.read_text()) == (INSTALLED, text)
    assert stand.run("install", "--gpu-poll-interval", "7")[0] == 0, (
        "changed options: the service starts again with them"
    )
    assert stand.calls()[-1] == "--user restart gflowd.service"

    report = json.loads(stand.run("status", "--json")[1])
    assert report == {
        "unit": "gflowd.service", "manager": "user", "path": str(stand.unit), "ours": True, "edited": False,
        "drop_ins": [], "gflowd": f"{stand.bin}/gflowd", "gflowd_exists": True, "enabled": True, "active": True,
        "state": "active", "pid": 7, "lingering": True,
    }  # fmt: skip
    assert findings(state) == []
    assert "active     yes (pid 7)\n" in stand.run("status")[1]
    stand.put("facts", "ActiveState=activating\nMainPID=9\n")
    assert "active     no (activating)\n" in stand.run("status")[1]

    status, out, err = stand.run("uninstall")
    assert (status, err, stand.unit.exists(), os.path.isdir(state.root)) == (0, "", False, True)
    assert out.splitlines() == [
        "gflowd.service is stopped and disabled; jobs go on, and the queue stays", f"removed {stand.unit}",
        "lingering stays enabled: loginctl disable-linger ends it",
    ]  # fmt: skip
    assert stand.calls() == [
        "--user disable --quiet --now gflowd.service", "--user daemon-reload", "--user reset-failed gflowd.service",
    ]  # fmt: skip
    assert stand.run("uninstall") == (0, "gflowd.service is not installed\n", "")


def test_without_lingering_it_says_what_happens(stand: Stand) -> None:
    told = "at your last logout systemd ends gflowd and every job"
    _, _, err = stand.run("install", "--no-linger")
    assert err == f"gflowd: without lingering, {told}: loginctl enable-linger prevents it\n"
    stand.put("refuses", "")
    status, _, err = stand.run("install")
    assert (status, err) == (
        0, f"gflowd: lingering is not enabled (Access denied), so {told}: sudo loginctl enable-linger {USER}\n",
    )  # fmt: skip


def test_without_systemd_nothing_is_done(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    stand.put("down", "Failed to connect to bus: No medium found\nmore\n")
    why = "systemd's manager of your services cannot be reached: Failed to connect to bus: No medium found"
    for action in ("install", "uninstall", "status"):
        assert stand.run(action) == (1, "", f"gflowd: {why}; gflowd start needs no systemd\n")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert stand.run("install")[2] == "gflowd: systemctl is not installed; gflowd start needs no systemd\n"
    assert not stand.unit.exists()


def test_what_others_wrote_or_edited_stays(stand: Stand, state: State) -> None:
    stand.run("install")
    ours = stand.unit.read_text()
    edited = ours.replace("WatchdogSec=60", "WatchdogSec=90")
    for text, why, removes in (
        (edited, "was edited", "was edited; --force removes it all the same"),
        ("[Service]\nExecStart=/bin/true\n", "was not written by gflowd service install",
         "was not written by gflowd service install; it stays"),
    ):  # fmt: skip
        stand.unit.write_text(text)
        stand.calls()
        assert stand.run("install") == (1, "", f"gflowd: {stand.unit} {why}; --force replaces it\n")
        assert stand.run("uninstall") == (1, "", f"gflowd: {stand.unit} {removes}\n")
        assert (stand.calls(), stand.unit.read_text()) == ([], text)
    assert "edited     not written by gflowd service install\n" in stand.run("status")[1]
    stand.unit.write_text(edited)
    assert "edited     yes\n" in stand.run("status")[1]
    assert findings(state) == [f"{stand.unit} was edited"]
    assert stand.run("install", "--force")[0] == 0
    assert stand.unit.read_text() == ours
    stand.unit.unlink()
    stand.unit.symlink_to("/dev/null")
    assert stand.run("install")[0] == 1, "masked"
    assert stand.run("install", "--force")[0] == 0
    assert stand.unit.read_text() == ours


def test_a_failed_start_leaves_all_as_it_was(stand: Stand) -> None:
    stand.put("fails", "start")
    status, out, err = stand.run("install")
    assert (status, out) == (3, "")
    assert err == (
        "gflowd: systemctl --user start gflowd.service: Job for gflowd.service failed;"
        " see journalctl --user -u gflowd\n"
    )
    assert not stand.unit.exists()
    assert stand.calls()[-3:] == [
        "--user disable --quiet --now gflowd.service", "--user daemon-reload", "--user reset-failed gflowd.service",
    ]  # fmt: skip
    stand.take("fails")
    stand.run("install")
    before = stand.unit.read_text()
    stand.put("fails", "restart")
    assert stand.run("install", "-v")[0] == 3
    assert (stand.unit.read_text(), stand.calls()[-1]) == (before, "--user start gflowd.service")


def test_a_detached_daemon_is_taken_over_only_if_asked(
    stand: Stand, state: State, detached: subprocess.Popen[str]
) -> None:
    where = f"(pid {detached.pid} on {os.uname().nodename})"
    assert stand.run("install") == (
        1, "", f"gflowd: gflowd runs already {where}; --take-over ends it and lets systemd start it; jobs go on\n",
    )  # fmt: skip
    host(state, detached.pid, "foreground")
    assert "in the foreground; end it there" in stand.run("install", "--take-over")[2]
    host(state, detached.pid, "systemd")  # it is in no unit that we could tell, so it is gflowd's
    assert stand.run("install", "--no-linger")[0] == 0
    assert findings(state) == ["you do not linger: at your last logout systemd ends gflowd and every job"]
    stand.put("facts", "Delegate=yes\n")
    Path(state.observed).write_text(json.dumps({"pid": detached.pid, "memory_limits": "watch"}))
    os.chmod(state.observed, 0o600)
    assert "gflowd.service has Delegate=, but no control group in which gflowd may limit memory" in findings(state)
    stand.take("facts")
    stand.unit.unlink()
    Path(state.options).write_text(json.dumps({"config": None, "options": {"gpu.allow": "all"}}))
    os.chmod(state.options, 0o600)
    host(state, detached.pid, "detached")
    stand.calls()
    status, out, _ = stand.run("install", "--take-over")
    assert status == 0
    assert out.startswith(f"gflowd stopped (pid {detached.pid})\n")
    assert detached.wait(60) == -15
    assert stand.calls()[:3] == INSTALLED
    assert " --gpus=all\n" in stand.unit.read_text(), "with the options that it had"


def test_a_service_of_the_machine(stand: Stand, tmp_path: Path) -> None:
    assert stand.run("install", "--system")[0] == (2 if os.geteuid() == 0 else 1)
    assert stand.run("install", "--user", USER)[0] == 2
    assert stand.run("status", "--system", "--user", "no one")[2] == "gflowd: there is no user no one\n"
    if os.geteuid() != 0:
        refusal = stand.run("install", "--system", "--user", USER)[2]
        assert refusal.endswith(f"sudo gflowd service install --system --user {USER}\n")
        return
    unit = tmp_path / "etc/gflowd@.service"
    stand.put("other", '{"running": true, "pid": 5, "hosting": "detached", "restart": "gflowd restart"}\n')
    who = ("--system", "--user", USER)
    assert stand.run("install", *who)[2] == (
        f"gflowd: gflowd of {USER} runs already (pid 5); --take-over ends it and lets systemd start it; jobs go on\n"
    )
    stand.put("fails", "start")
    stand.calls()
    assert stand.run("install", *who, "--take-over")[0] == 3
    assert (stand.calls()[-1], unit.exists()) == ("gflowd restart", False), "as before, with the options that it had"
    stand.take("fails")
    status, out, _ = stand.run("install", *who, "--take-over")
    assert (status, out.splitlines()) == (
        0, ["gflowd stopped (pid 5)", f"wrote {unit}", f"gflowd@{USER}.service is enabled and active (pid 7)"],
    )  # fmt: skip
    assert stand.calls() == [
        "daemon-reload", f"enable --quiet gflowd@{USER}.service", "gflowd stop", f"start gflowd@{USER}.service",
    ]  # fmt: skip
    assert f'\nUser=%i\nWorkingDirectory=~\nExecStart="{stand.bin}/gflowd" run\n' in unit.read_text()
    wants = tmp_path / "etc/multi-user.target.wants"
    wants.mkdir()
    (wants / "gflowd@bob.service").symlink_to(unit)
    assert stand.run("uninstall", *who)[1].endswith(f"{unit} serves bob and stays\n")
    (wants / "gflowd@bob.service").unlink()
    assert stand.run("uninstall", *who)[1].endswith(f"removed {unit}\n")
    assert stand.run("install", *who, "-v")[0] == 2


def test_templates_are_those_that_packages_install() -> None:
    for name in (units.USER, units.SYSTEM):
        assert units.template(name) == (ROOT / "packaging/systemd" / name).read_text()


def test_odd_paths_are_quoted_as_systemd_reads_them(state: State, stand: Stand) -> None:
    template = units.template(units.USER)
    for program in ("/opt/g/gflowd", "/a b/gflowd", "/50%/gflowd", '/a"b/gflowd'):
        text = units.made(template, program, ["--config", "/$x y"], {"A": "b c"})
        assert units.program_of(text) == program
        assert program.replace("%", "%%").replace('"', '\\"') in text
        assert units.whose(text) == units.OURS
        assert units.whose(text + "\n") == units.EDITED
        assert '"/$$x y"\n' in text
        assert '\nEnvironment="A=b c"\n' in text
    stand.unit.parent.mkdir(parents=True)
    stand.unit.write_text(units.made(template, "/gone/gflowd"))
    assert findings(state) == [f"{stand.unit} starts /gone/gflowd, which does not exist"]
    assert "gflowd     /gone/gflowd (does not exist)\n" in stand.run("status")[1]
    assert units.program_of("[Service]\nExecStart=gflowd run\n") is None
    assert units.program_of('ExecStart="/a\n') is None
    assert units.program_of("") is None
