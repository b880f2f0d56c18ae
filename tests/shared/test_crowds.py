"""One user crowds the gateway; others must be served all the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from support.attacker import SYSTEM_GATE
from support.machine import ROOT
from support.waiting import eventually

from gflowd.effects import proc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shared_machine import SharedMachine

HONEST = 15.0  # seconds that an honest request may take meanwhile: it starts a Python on a busy machine
# Each says a line when it is at work, and goes on until its standard input ends.
SLOW = f"""
import select, socket
held = []
for number in range(1000):
    gate = socket.socket(socket.AF_UNIX)
    try:
        gate.settimeout(10)
        gate.connect({SYSTEM_GATE!r})
        gate.send(b"G")
        held.append(gate)
    except OSError:
        gate.close()
print("ready", flush=True)
sys.stdin.read()
def is_gone(gate):
    try:
        return gate.recv(1) == b"" or gate.recv(1 << 20) is not None
    except OSError:
        return True
print(sum(map(is_gone, held)), len(held))
"""
FLOOD = f"""
import socket, threading
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
print("ready", flush=True)
count = 0
while not over.is_set():
    gate = socket.socket(socket.AF_UNIX)
    try:
        gate.connect({SYSTEM_GATE!r})
        count += 1
    except OSError:
        pass
    gate.close()
print(count)
"""
HOARD = f"""
import socket
held = []
for number in range(16):
    gate = socket.socket(socket.AF_UNIX)
    gate.settimeout(1)
    gate.connect({SYSTEM_GATE!r})
    try:
        gate.sendall(b"GF1\\n" + (4 << 20).to_bytes(4, "big") + (8 << 20).to_bytes(4, "big") + bytes(12 << 20 - 1))
    except OSError:
        pass
    held.append(gate)
print("ready", flush=True)
sys.stdin.read()
"""
DESCRIPTORS = f"""
import os, socket
from gflowd.core.gateway import protocol
fd = os.open("/dev/null", os.O_RDONLY)
gate = socket.socket(socket.AF_UNIX)
gate.connect({SYSTEM_GATE!r})
text = protocol.encode({{"v": 1, "do": "no"}})
for byte in text[:10]:
    socket.send_fds(gate, [bytes([byte])], [fd] * 200)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def running(machine: SharedMachine) -> Iterator[SharedMachine]:
    machine.start()
    yield machine
    machine.as_user("gfa").ctl("cancel", "--all", check=False)


@pytest.mark.parametrize("attack", [SLOW, FLOOD, HOARD, DESCRIPTORS])
def test_another_user_is_served_meanwhile(running: SharedMachine, attack: str) -> None:
    attacker, honest = running.as_user("gfb"), running.as_user("gfa")
    text = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{attack}"
    crowd = attacker.begin_program(sys.executable, "-B", "-c", text, stdin=subprocess.PIPE)
    assert crowd.stdout is not None
    try:
        assert crowd.stdout.readline() == b"ready\n", crowd.communicate()
        for _ in range(3):
            began = time.monotonic()
            honest.submit("--hold", "--", "true")
            assert time.monotonic() - began < HONEST
        assert open_files(running) < 1000
    finally:
        said, errors = crowd.communicate()
    if attack == SLOW:  # all that it held was taken away from it
        gone, held = map(int, said.split())
        assert gone == held, errors


def open_files(machine: SharedMachine) -> int:
    """Of the gateway."""
    (pid,) = (pid for pid in machine.processes() if proc.name(pid) == b"gflowd:gateway")
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_a_connection_that_says_nothing_is_closed_soon(running: SharedMachine) -> None:
    attacker = running.as_user("gfb")
    done = attacker.python(
        f"import socket\ngate = socket.socket(socket.AF_UNIX)\ngate.connect({SYSTEM_GATE!r})\ngate.settimeout(30)\n"
        "gate.send(b'GF')\nimport time\nbegan = time.monotonic()\nprint(gate.recv(100), time.monotonic() - began < 20)"
    )
    assert done.stdout.endswith("True\n"), done
    eventually(lambda: open_files(running) < 60)
