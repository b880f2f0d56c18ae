"""What all tests share: private state directories, and the rule that no test leaves a process behind."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from slow import held_up_tests
from support import depth, nvidia, whole_files
from support.tracing import Tracing

from gflowd.paths import State
from gflowd.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "GFLOW_TEST_MARK"
TRACED = {"core", "workers"}
LONG = {
    "reliability", "simulation", "system", "test_any_order", "test_gflowd_cli", "test_installed", "test_layers",
    "test_simulation", "test_store_faults",
}  # fmt: skip
# The core in many made-up cases, as in all tests by hypothesis: traced, they take three times as long, and each line of
# the core shall have a case that somebody thought of.
MADE_UP = {"test_any_order", "test_fair_planning", "test_fuzz_parsers", "test_starvation"}
# Tests started in the background of a shell find INT and QUIT ignored, by nohup HUP, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long an example takes says more of the machine than of gflow. How many there are, `make test-full` says; in `make
# test` they are the same each time, so that what passed does not fail where it is tried again.
hypothesis.settings.register_profile(
    "gflow",
    deadline=None,
    derandomize=not depth.IS_FULL,
    max_examples=depth.examples(),
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("gflow")

PATIENCE = 30.0  # seconds: what promises to be gone "soon" may take this long on a busy machine


@pytest.fixture
def state(tmp_path: Path) -> State:
    """An empty state directory on the disk."""
    place = State(str(tmp_path / "state"))
    place.prepare()
    return place


@pytest.fixture
def store(state: State) -> Store:
    """A store that has no snapshot yet."""
    return Store(state, lock_timeout=5.0)


@pytest.fixture
def fast_state() -> Iterator[State]:
    """A state directory in memory where there is such a place, for tests of hundreds of synced writes."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    root = tempfile.mkdtemp(prefix="gf-", dir=place)
    yield State(root)
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def runtime_dir() -> Iterator[str]:
    """A private directory whose path is short enough for sockets."""
    root = tempfile.mkdtemp(prefix="gf-")
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def fake_nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fake NVML, built once."""
    return nvidia.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(autouse=True)
def nothing_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails the test that leaves a process behind, and ends that process.

    A process is the test's if it is our child, or carries the mark that the test's environment has: so a daemon that
    detached itself is found too, and a job that inherited its submitter's environment. Only processes that were not
    there before are looked at, which makes this cheap enough for a thousand tests that start none.
    """
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    before = _processes()
    yield
    deadline = time.monotonic() + PATIENCE
    while (left := _ours(mark, _processes() - before)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid, _ in left:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
    assert not left, f"left behind: {left}"


def pytest_configure(config: pytest.Config) -> None:
    gc.freeze()  # to look for garbage among all that is imported takes a tenth of the time of the tests
    gc.set_threshold(50_000, 20)
    config.pluginmanager.register(Tracing(is_to_cover))
    if whole_files.is_dealt(config):
        config.pluginmanager.register(whole_files)
    if held_up_tests.is_wanted():
        config.pluginmanager.register(held_up_tests)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: whole_files.Worker) -> None:
    whole_files.deal(node)


def is_to_cover(item: pytest.Item) -> bool:
    """Whether a test is to cover the core; a hypothesis is not, since each line shall have a case that somebody
    thought of.
    """
    is_made_up = item.path.stem in MADE_UP or hasattr(getattr(item, "obj", None), "hypothesis")
    return not TRACED.isdisjoint(item.path.parts) and not is_made_up


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First the files that take longest: the rest fills the gaps at the end."""
    items.sort(key=lambda item: LONG.isdisjoint((*item.path.parts, item.path.stem)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line says what was skipped and why: what nobody sees is not tested is taken for tested."""
    reasons = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    said = ", ".join(f"{count} ({why})" for why, count in sorted(reasons.items()))
    terminalreporter.write_line(f"skipped: {said or 'nothing'}")


def _reason(report: pytest.TestReport) -> str:
    _, _, why = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, str(report.longrepr))
    return str(why).removeprefix("Skipped: ")


def _processes() -> set[str]:
    return {name for name in os.listdir("/proc") if name.isdecimal()}


def _ours(mark: str, names: set[str]) -> list[tuple[int, str]]:
    """Pid and command line of our children (not yet reaped ones too) and of every process that carries `mark`."""
    wanted = f"{MARK}={mark}".encode()
    mine = os.getpid()
    found = []
    for name in names:
        try:
            parent = int(_read(f"/proc/{name}/stat").rpartition(b")")[2].split()[1])
            if parent == mine or wanted in _read(f"/proc/{name}/environ").split(b"\0"):
                shown = _read(f"/proc/{name}/cmdline").replace(b"\0", b" ").decode(errors="replace")
                if "multiprocessing.resource_tracker" not in shown:
                    found.append((int(name), shown))
        except OSError:  # it ended while we looked, or belongs to another user
            continue
    return found


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 1 << 20)
    finally:
        os.close(fd)
