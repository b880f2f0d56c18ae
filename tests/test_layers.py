"""Who may import whom: the design's rules, read from the syntax trees of every module."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(path for package in ("gflowd", "gflowctl") for path in (ROOT / package).rglob("*.py"))
ANYONE = ("gflowd.core.errors",)

# The first row that fits the importing module counts; `.` at the end stands for the module and all below it.
MAY_IMPORT = (
    ("gflowd.core.", ("gflowd.core.",)),
    ("gflowd.effects.gpu.nvml", ("gflowd.core.", "gflowd.effects.gpu.nvml_device")),
    ("gflowd.effects.", ("gflowd.core.",)),
    (
        "gflowd.daemon.supervisor",
        (
            "gflowd.board", "gflowd.daemon.children", "gflowd.config.loader", "gflowd.effects.doorbell", "gflowd.log",
            "gflowd.paths", "gflowd.daemon.systemd", "gflowd.workers.",
        ),
    ),
    ("gflowd.daemon.children", ("gflowd.board", "gflowd.log", "gflowd.workers.")),
    (
        "gflowd.workers.",
        (
            "gflowd.board", "gflowd.config.loader", "gflowd.core.", "gflowd.effects.", "gflowd.log", "gflowd.paths",
            "gflowd.workers.",
        ),
    ),
    (
        "gflowctl.",
        (
            "gflowctl.", "gflowd.board", "gflowd.config.loader", "gflowd.core.", "gflowd.effects.daemon",
            "gflowd.effects.doorbell", "gflowd.effects.processes", "gflowd.storage.history", "gflowd.storage.lock", "gflowd.storage.history_queries",
            "gflowd.paths", "gflowd.storage.record_log", "gflowd.storage.store",
        ),
    ),
    ("gflowd.", ("gflowd.",)),
)  # fmt: skip
# Modules that only these import: phases are the scheduler's alone to write.
ONLY_FROM = {
    "gflowd.core.execution.transitions": (
        "gflowd.core.",
        "gflowd.workers.scheduler.worker",
        "gflowd.workers.scheduler.settlement",
    ),
    "gflowd.storage.history": (
        "gflowctl.",
        "gflowd.storage.history_queries",
        "gflowd.storage.store",
        "gflowd.workers.scheduler.history_writer",
        "gflowd.workers.scheduler.archiver",
    ),
    "gflowd.storage.record_log": (
        "gflowctl.",
        "gflowd.daemon.launch",
        "gflowd.storage.record_scan",
        "gflowd.storage.store",
        "gflowd.workers.scheduler.archiver",
        "gflowd.workers.scheduler.cleanup",
    ),  # the workers only look at what is folded
    "gflowd.storage.store": ("gflowctl.", "gflowd.daemon.launch", "gflowd.workers.scheduler.state"),
    "gflowd.workers.": ("gflowd.daemon.children", "gflowd.daemon.supervisor", "gflowd.workers."),
}
SCHEDULER = {
    "gflowd.workers.scheduler.history_writer": ("gflowd.storage.history",),
    "gflowd.workers.scheduler.archiver": ("gflowd.storage.history", "gflowd.storage.record_log"),
    "gflowd.workers.scheduler.cleanup": ("gflowd.storage.record_log",),
    "gflowd.workers.scheduler.state": ("gflowd.storage.store",),
    "gflowd.workers.scheduler.worker": ("gflowd.storage.lock",),
}
PURE = {
    "__future__", "_json", "bisect", "collections", "collections.abc", "csv", "dataclasses", "datetime", "enum",
    "functools", "heapq", "itertools", "json", "math", "operator", "re", "shlex", "typing", "zoneinfo",
}  # fmt: skip


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(source: str) -> set[str]:
    """The modules that a source imports, where it does so at run time and where only for its types."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in NAMES else base)
    return found


NAMES = {name_of(path) for path in MODULES}


def fits(module: str, pattern: str) -> bool:
    return f"{module}.".startswith(pattern) if pattern.endswith(".") else module == pattern


def broken(module: str, source: str) -> list[str]:
    """The imports of `module` that the rules forbid."""
    allowed = next(allowed for pattern, allowed in MAY_IMPORT if fits(module, pattern)) + SCHEDULER.get(module, ())
    wrong = []
    for other in sorted(imported(source)):
        if other.split(".")[0] not in ("gflowd", "gflowctl"):
            if fits(module, "gflowd.core.") and other not in PURE:
                wrong.append(other)
            continue
        permitted = other in ("gflowd", *ANYONE) or any(fits(other, pattern) for pattern in allowed)
        reserved = [users for pattern, users in ONLY_FROM.items() if fits(other, pattern)]
        if not permitted or not all(any(fits(module, user) for user in users) for users in reserved):
            wrong.append(other)
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    assert broken(name_of(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("gflowd.core.planning.backfill", "import time"),
        ("gflowd.core.planning.backfill", "from gflowd import paths"),
        ("gflowd.effects.tmux", "from gflowd.effects import processes"),
        ("gflowd.effects.tmux", "from gflowd.storage.store import Store"),
        ("gflowd.daemon.supervisor", "from gflowd.core.planning import backfill as schedule"),
        ("gflowd.daemon.supervisor", "from gflowd.storage import store"),
        ("gflowd.workers.zombie_detector", "from gflowd.storage.store import Store"),
        ("gflowd.workers.gpu_poller", "from gflowd.core.execution.transitions import launched"),
        ("gflowd.daemon.launch", "import gflowctl.main"),
        ("gflowctl.commands.cancel", "from gflowd.core.execution import transitions"),
        ("gflowctl.commands.cancel", "from gflowd.effects.tmux import Tmux"),
        ("gflowctl.commands.cancel", "from gflowd.workers import base"),
    ],
)
def test_the_rules_catch_what_they_forbid(module: str, line: str) -> None:
    assert broken(module, line)


def test_no_one_imports_the_private_names_of_another_module() -> None:
    taken = [
        f"{name_of(path)}: {node.module}.{alias.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gflow")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert taken == []


def test_the_programs_need_nothing_that_is_not_declared() -> None:
    declared = {"filelock", "libtmux", "orjson", "psutil", "pynvml"}
    used = {name.split(".")[0] for path in MODULES for name in imported(path.read_text())}
    used -= {name for name in used if name in sys.stdlib_module_names or name in {"gflowd", "gflowctl", "_blake2"}}
    assert used <= declared
