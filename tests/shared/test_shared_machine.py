"""The machine that the tests with several users share is what it promises."""

from __future__ import annotations

import os
from pathlib import Path

from support.shared_machine import ACCOUNTS, SharedMachine


def test_the_users_are_who_they_are(machine: SharedMachine) -> None:
    for name, uid in ACCOUNTS.items():
        told = machine.as_user(name).sh("id -u; id -un; id -Gn; pwd").stdout.splitlines()
        groups = {"gfa": "gfa gflab", "gfop": "gfop gflow-admin", "gfx": "gfx gflab"}.get(name, name)
        assert told == [str(uid), name, groups, f"{machine.homes}/{name}/work"]


def test_a_home_is_closed_to_the_other(machine: SharedMachine) -> None:
    machine.as_user("gfa").write("secret", "x")
    assert machine.as_user("gfb").sh(f"cat {machine.homes}/gfa/work/secret").returncode == 1
    assert machine.as_user("gfb").sh("kill -0 $PPID").returncode == 1


def test_all_reach_the_programs(machine: SharedMachine) -> None:
    for name in ("gfa", "root"):
        assert machine.as_user(name).ctl("--version").stdout.startswith("gflow")


def test_its_system_directories_are_its_own(machine: SharedMachine) -> None:
    assert machine.as_user("root").sh("ls -A /var/lib /var/spool; touch /run/here").stdout.split() == [
        "/var/lib:",
        "/var/spool:",
    ]
    assert (machine.root / "run/here").exists()
    assert not os.path.exists("/run/here")
    assert "gfa" not in Path("/etc/passwd").read_text()


def test_it_sees_its_own_control_groups_only(machine: SharedMachine) -> None:
    seen = machine.as_user("gfa").sh("grep ^0: /proc/self/cgroup; ls -d /sys/fs/cgroup/*/").stdout.split()
    assert seen == ["0::/user.slice", "/sys/fs/cgroup/system.slice/", "/sys/fs/cgroup/user.slice/"]
    assert machine.as_user("root").sh("mkdir /sys/fs/cgroup/x && rmdir /sys/fs/cgroup/x").returncode == 0


def test_what_escapes_its_session_and_environment_is_found(machine: SharedMachine) -> None:
    machine.as_user("gfa").sh("env -i setsid sleep 1000 >/dev/null 2>&1 &")
    found = [process for process in machine.of_user("gfa").values() if "sleep" in process.words]
    assert [process.group for process in found] == ["user.slice"]


def test_an_account_can_expire_and_pass_to_another(machine: SharedMachine) -> None:
    machine.rename("gfb", "gfz")
    assert machine.as_user("root").sh(f"id -un {ACCOUNTS['gfb']}; id gfb").stdout == "gfz\n"
    machine.rename("gfz", "gfb")
    machine.expire("gfb")
    assert "gfb:*:19000:0:99999:7::1:\n" in (machine.root / "etc/shadow").read_text()

    machine.edit_account("shadow", "gfb", 7, "")
