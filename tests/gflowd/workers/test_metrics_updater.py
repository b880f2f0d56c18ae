"""The metrics' worker by its ticks: when it writes, that it answers, and what it says of its trouble."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import specs
from support.ports import held_address

from gflowd.core.job import codec
from gflowd.core.moment import Moment
from gflowd.paths import State
from gflowd.storage.store import Store
from gflowd.workers import WORKERS, metrics_updater, wanted
from gflowd.workers.base import Turn, Wiring
from gflowd.workers.board import MANAGER, Pulse, Pulses
from gflowd.workers.board_slots import Service, Slots
from gflowd.workers.metrics_updater import BEGINNING, INTERVAL, RETRY, SOON, MetricsUpdater

pytest.importorskip("prometheus_client")

SPEC = codec.encode(specs.SPEC)


def tick(worker: MetricsUpdater, mono: float) -> Turn:
    return worker.tick(Moment(1000.0, mono, "b"), Slots())


def trouble(turn: Turn) -> str | None:
    assert isinstance(turn.decision, Service)
    return turn.decision.trouble


@pytest.fixture
def make(wiring: Wiring) -> Any:
    made: list[MetricsUpdater] = []
    pulses = Pulses([MANAGER, *(row.name for row in WORKERS)])

    def make(**settings: Any) -> MetricsUpdater:
        config = replace(wiring.config, **settings)
        for name in (MANAGER, *(row.name for row in wanted(config, WORKERS))):
            pulses.set(Pulse(name, 5, 7.0, 1.0, 0))
        made.append(metrics_updater.open(replace(wiring, config=config, pulses=pulses)))
        return made[-1]

    yield make
    for worker in made:
        worker.close()
    os.close(pulses.fd)


def test_the_file_is_written_at_intervals_and_soon_after_a_change(
    make: Callable[..., MetricsUpdater], state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_updater, "SHARE", 0)
    path = tmp_path / "gflow.prom"
    store, worker = Store(state), make(metrics_textfile=str(path))
    with store.commit() as commit:
        commit.put("spec", commit.allocate(), SPEC)
    before = os.umask(0o077)  # as of the daemon
    try:
        turn = tick(worker, 100.0)
    finally:
        assert os.umask(before) == 0o077
    assert (trouble(turn), turn.wake_at, turn.deaf_until) == (None, 100.0 + INTERVAL, 100.0 + SOON)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    text = path.read_text()
    assert 'gflow_jobs{state="queued"} 1.0\n' in text
    assert 'gflow_worker_up{worker="metrics_updater"} 1.0\n' in text
    assert "# EOF" not in text, "node_exporter reads the older format"
    with store.commit() as commit:
        commit.put("spec", commit.allocate(), SPEC)
    assert tick(worker, 100.0 + SOON / 2).wake_at == 100.0 + SOON
    assert path.read_text() == text
    tick(worker, 100.0 + SOON)
    assert 'gflow_jobs{state="queued"} 2.0\n' in path.read_text()
    path.unlink()
    assert tick(worker, 100.0 + INTERVAL).wake_at == 101.0 + INTERVAL
    assert not path.exists(), "nothing has changed"
    tick(worker, 101.0 + INTERVAL)
    assert path.exists()
    worker.close()
    assert "\ngflow_up 0.0\n" in path.read_text()
    assert list(tmp_path.glob("*.new*")) == []


def test_what_costs_much_is_written_seldom(
    make: Callable[..., MetricsUpdater], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = make(metrics_textfile=str(tmp_path / "x.prom"))
    tick(worker, 100.0)
    worker._cost = 0.2
    assert tick(worker, 100.0 + 0.2 * metrics_updater.SHARE - 1).wake_at == 100.0 + 0.2 * metrics_updater.SHARE


def test_a_file_that_cannot_be_written_is_told_until_it_can(
    make: Callable[..., MetricsUpdater], tmp_path: Path
) -> None:
    place = tmp_path / "place"
    worker = make(metrics_textfile=str(place / "x.prom"))
    assert trouble(tick(worker, 100.0)) == f"[metrics] textfile: {place}/x.prom: No such file or directory"
    (place / "x.prom").mkdir(parents=True)
    assert trouble(tick(worker, 200.0)) == f"[metrics] textfile: {place}/x.prom is not a plain file"
    (place / "x.prom").rmdir()
    (place / "x.prom").write_text("# my thesis\n")
    said = f"[metrics] textfile: {place}/x.prom is not a file of gflow's metrics; it stays as it is"
    assert trouble(tick(worker, 250.0)) == said
    assert (place / "x.prom").read_text() == "# my thesis\n"
    (place / "x.prom").write_text("")
    for mono in (300.0, 400.0):
        assert trouble(tick(worker, mono)) is None
    assert (place / "x.prom").read_bytes().startswith(BEGINNING)


def ask(path: str, worker: MetricsUpdater, mono: float, accept: str = "") -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(path)
        client.send(f"GET /metrics HTTP/1.1\r\nAccept: {accept}\r\n\r\n".encode())
        tick(worker, mono)
        client.settimeout(60)
        found = b""
        while part := client.recv(65536):
            found += part
    return found.decode()


def test_whoever_asks_gets_what_is_so_now(make: Callable[..., MetricsUpdater], state: State, runtime_dir: str) -> None:
    path, store = f"{runtime_dir}/m.sock", Store(state)
    worker = make(metrics_listen=path, metrics_names="users")
    turn = tick(worker, 100.0)
    assert (trouble(turn), turn.wake_at, len(turn.descriptors)) == (None, None, 1)
    for number in (1, 2):
        with store.commit() as commit:
            commit.put("spec", commit.allocate(), SPEC)
        assert f'gflow_user_jobs{{project="",state="queued",user="u"}} {number}.0' in ask(path, worker, 100.0)
    modern = ask(path, worker, 100.0, "application/openmetrics-text; version=1.0.0")
    assert "\r\nContent-Type: application/openmetrics-text" in modern
    assert modern.endswith("# EOF\n")
    Path(state.snapshot).write_bytes(b"x\n" * 100)
    assert ask(path, worker, 100.0).startswith("HTTP/1.1 503 ")
    assert trouble(tick(worker, 101.0)) == (
        f"[metrics] listen: {state.snapshot}: nothing readable; gflowctl restore FILE restores a backup"
    )


def test_an_address_in_use_is_told_and_taken_when_it_is_free(
    make: Callable[..., MetricsUpdater], runtime_dir: str
) -> None:
    with held_address() as (host, port):
        address = f"{host}:{port}"
        worker = make(metrics_listen=address)
        with socket.create_server((host, port)):
            turn = tick(worker, 100.0)
            assert trouble(turn) == f"[metrics] listen: {address}: Address already in use"
            assert (turn.wake_at, turn.descriptors) == (100.0 + RETRY, ())
        assert trouble(tick(worker, 101.0)) is not None
        assert trouble(tick(worker, 100.0 + RETRY)) is None


def test_without_the_package_it_says_what_to_install_and_looks_again(
    make: Callable[..., MetricsUpdater], runtime_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = make(metrics_listen=f"{runtime_dir}/m.sock")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "prometheus_client", None)
        turn = tick(worker, 100.0)
        assert str(trouble(turn)).startswith("[metrics] needs gflow[metrics]: ")
        assert (turn.wake_at, turn.descriptors) == (100.0 + RETRY, ())
        assert trouble(tick(worker, 101.0)) == trouble(turn)
    assert trouble(tick(worker, 100.0 + RETRY)) is None
