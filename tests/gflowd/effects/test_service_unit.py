"""Which command restarts a daemon that systemd runs, by its control groups."""

from __future__ import annotations

import pytest

from gflowd.effects import daemon

USER = "/user.slice/user-1000.slice/user@1000.service/app.slice"


@pytest.mark.parametrize(
    ("cgroup", "command"),
    [
        (f"0::{USER}/gflowd.service\n", "systemctl --user restart gflowd"),
        (f"0::{USER}/gflow-big.service/daemon\n", "systemctl --user restart gflow-big"),
        ("0::/system.slice/system-gflowd.slice/gflowd@ada.service/daemon\n", "sudo systemctl restart gflowd@ada"),
        (f"12:memory:/user.slice\n1:name=systemd:{USER}/gflowd.service\n0::/\n", "systemctl --user restart gflowd"),
        ("1:name=systemd:/system.slice/gflowd.service\n0::/\n", "sudo systemctl restart gflowd"),
        ("0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", "systemctl --user restart gflowd"),
        ("0::/\n", "systemctl --user restart gflowd"),
        ("", "systemctl --user restart gflowd"),
    ],
)
def test_the_unit_that_the_daemon_is_in_is_restarted(cgroup: str, command: str) -> None:
    assert daemon.restart_of_unit(cgroup) == command


def test_only_a_service_is_restarted_by_systemctl() -> None:
    assert daemon.Daemon({"hosting": "detached"}).restart == "gflowd restart"
    assert daemon.Daemon({"hosting": "systemd", "pid": 1 << 30}).restart == "systemctl --user restart gflowd"
