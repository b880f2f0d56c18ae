"""One user attacks the gateway in the ways that cost others most; these are served all the same."""

from __future__ import annotations

import array
import os
import random
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.lone_gateway import LoneGateway, submission
from support.waiting import eventually

from gflowd.core.gateway import protocol
from gflowd.storage import gateway_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STRANGER = 65534  # nobody
HONEST = 30  # requests
MOST = 64 << 10  # KiB: the memory of a gateway under attack


@pytest.fixture(scope="module")
def lone() -> Iterator[LoneGateway]:
    with tempfile.TemporaryDirectory(prefix="gfg-") as root:
        Path(root).chmod(0o711)
        made = LoneGateway(Path(root), connections=256, of_user=16)
        made.start()
        made.await_answers()
        yield made
        assert made.kill(15) == 0


def connect(path: str) -> socket.socket | None:
    client = socket.socket(socket.AF_UNIX)
    client.setblocking(False)
    try:
        client.connect(path)
    except OSError:
        client.close()
        return None
    return client


def a_byte_each(path: str) -> None:
    """A thousand connections, and no request."""
    held = [client for _ in range(1000) if (client := connect(path)) is not None]
    for client in held:
        try:
            client.send(b"G")
        except OSError:
            continue
    time.sleep(60)


def a_flood(path: str) -> None:
    while True:
        if (client := connect(path)) is not None:
            client.close()


def a_hoard(path: str) -> None:
    """As many bytes as can be had, and no request."""
    long = memoryview(protocol.encode({"v": 1, "do": "view"}, b"x" * (8 << 20)))[:-1]
    left = [[client, long] for _ in range(16) if (client := connect(path)) is not None]
    while True:
        for each in left:
            try:
                each[1] = each[1][each[0].send(each[1][: 64 << 10]) :]
            except OSError:
                continue
        time.sleep(0.001)


def descriptors(path: str) -> None:
    """Passed along, as if they were to fill the gateway's table."""
    passed = array.array("i", [os.open("/dev/null", os.O_RDONLY) for _ in range(100)])
    while True:
        if (client := connect(path)) is not None:
            try:
                client.sendmsg([b"GF1\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
            except OSError:
                pass
            time.sleep(0.002)
            client.close()


def nonsense(path: str) -> None:
    chance = random.Random(19)
    whole = submission("0" * 32)
    while True:
        if (client := connect(path)) is not None:
            data = bytearray(whole)
            for _ in range(chance.randint(1, 8)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            try:
                client.send(data[: chance.randint(1, len(data))])
                client.recv(100)
            except OSError:
                pass
            client.close()


@pytest.mark.parametrize("attack", [a_byte_each, a_flood, a_hoard, descriptors, nonsense])
def test_others_are_served_while_one_user_attacks(lone: LoneGateway, attack: Callable[[str], None]) -> None:
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setresgid(STRANGER, STRANGER, STRANGER)
        os.setresuid(STRANGER, STRANGER, STRANGER)
        try:
            attack(lone.gate)
        finally:
            os._exit(1)
    try:
        took = []
        for _ in range(HONEST):
            began = time.monotonic()
            gateway_client.ask(lone.gate, submission(os.urandom(16).hex()), 20.0)
            took.append(time.monotonic() - began)
        took.sort()
        p50, worst = took[HONEST // 2] * 1000, took[-1] * 1000
        print(f"{attack.__name__}: p50 {p50:.1f} ms, worst {worst:.1f} ms, {memory(lone)} KiB")
        assert memory(lone) < MOST
    finally:
        os.kill(pid, 9)
        assert os.waitpid(pid, 0)[1] == 9, "the attack went on until we ended it"
    eventually(lambda: open_files(lone) < 20)


def memory(lone: LoneGateway) -> int:
    assert lone.process is not None
    lines = Path(f"/proc/{lone.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def open_files(lone: LoneGateway) -> int:
    assert lone.process is not None
    return len(os.listdir(f"/proc/{lone.process.pid}/fd"))
