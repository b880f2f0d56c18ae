"""`gflowd run --system` on a machine with several users."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

from support.waiting import eventually

if TYPE_CHECKING:
    from support.shared_machine import SharedMachine


def test_it_is_roots_to_start(machine: SharedMachine) -> None:
    user, root = machine.as_user("gfa"), machine.as_user("root")
    assert user.refused(1, "run", "--system", program="gflowd").startswith("only root can run the daemon for all users")
    config = machine.root / "etc/gflow/gflow.toml"
    config.chmod(0o664)
    told = "/etc/gflow/gflow.toml can be written by others than root: chmod go-w /etc/gflow/gflow.toml"
    assert root.refused(1, "run", "--system", program="gflowd") == told
    config.chmod(0o644)
    assert not os.path.exists(machine.state.root)


def test_it_makes_its_places_follows_its_configuration_and_leaves_users_their_own(machine: SharedMachine) -> None:
    user, root = machine.as_user("gfa"), machine.as_user("root")
    machine.begin()
    eventually(lambda: os.path.exists(machine.state.observed))
    shown = root.sh("stat -c '%n %U %a' /var/lib/gflow /var/lib/gflow/shared /var/spool/gflow/jobs /run/gflow/bell")
    assert shown.stdout.splitlines() == [
        "/var/lib/gflow root 711", "/var/lib/gflow/shared root 644", "/var/spool/gflow/jobs root 711",
        "/run/gflow/bell root 600",
    ]  # fmt: skip
    assert root.run(str(root.bin / "gflowd"), "status", "--system").returncode == 0
    for line in ("ls /var/lib/gflow", "echo >/run/gflow/bell", "echo >>/var/lib/gflow/shared",
                 "mkdir /var/lib/gflow/env/60001", "flock -n /var/lib/gflow/daemon.lock true"):  # fmt: skip
        assert user.sh(line).returncode != 0, line

    def is_private() -> bool:
        return bool(json.loads((machine.root / "var/lib/gflow/shared").read_text())["private_jobs"])

    assert not is_private()
    machine.write_config(shared={"private_jobs": True})
    machine.daemon.send_signal(signal.SIGHUP)
    eventually(is_private)

    user.env |= {"GFLOW_STATE_DIR": f"{user.home}/gflow"}
    assert user.run(str(user.bin / "gflowd"), "start").returncode == 0
    assert user.run(str(user.bin / "gflowd"), "stop").returncode == 0
    machine.stop()
    assert machine.daemon.returncode == 0, machine.said()
