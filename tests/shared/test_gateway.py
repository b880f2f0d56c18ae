"""The gateway as users meet it: in gflowd, and by itself while gflowd is down."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

from support.waiting import eventually

if TYPE_CHECKING:
    from support.shared_machine import SharedMachine


def gateway(machine: SharedMachine) -> int | None:
    """The gateway's process in gflowd, by its name."""
    for pid in machine.processes():
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                if comm.read().strip() == "gflowd:gateway":
                    return pid
        except OSError:
            continue
    return None


def test_users_submit_through_it_also_when_it_has_died_and_when_gflowd_is_down(machine: SharedMachine) -> None:
    ada, bob, operator = (machine.as_user(name) for name in ("gfa", "gfb", "gfop"))
    machine.start()
    first = ada.submit("--hold", "true")
    assert bob.submit("--hold", "true") == first + 1
    for words in (("release",), ("cancel",), ("update", "--name", "mine")):
        assert bob.refused(1, *words, str(first)) == f"job {first} belongs to gfa"
    operator.ctl("cancel", str(first))
    assert "gfop" in ada.ctl("show", str(first)).stdout

    before = gateway(machine)
    assert before is not None
    os.kill(before, signal.SIGKILL)
    eventually(lambda: gateway(machine) not in (None, before))
    eventually(lambda: ada.run(str(ada.bin / "gflowctl"), "submit", "--hold", "true").returncode == 0)

    machine.stop()
    assert "gateway is not there" in ada.refused(75, "submit", "true")
    assert ada.refused(1, "gateway", program="gflowd").startswith("only root can run the gateway")
    own = subprocess.Popen(
        machine.inside("root", str(machine.programs / "gflowd"), "gateway"), stderr=subprocess.DEVNULL, cwd="/",
        env=machine.as_user("root").env,
    )  # fmt: skip
    try:
        eventually(lambda: ada.run(str(ada.bin / "gflowctl"), "submit", "--hold", "true").returncode == 0, 20)
        ada.submit("--hold", "--name", "waits", "true")
        assert "waits" in bob.ctl("queue").stdout
        own.send_signal(signal.SIGHUP)
        ada.ctl("cancel", str(first + 2))
        own.send_signal(signal.SIGTERM)
        assert own.wait(30) == 0
    finally:
        own.kill()
        own.wait()
