"""Who may import whom: the design's rules, read from the syntax trees of every module."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gflowd.core.job.records import KINDS

if TYPE_CHECKING:
    from collections.abc import Collection

ROOT = Path(__file__).parent.parent
MODULES = sorted(path for package in ("gflowd", "gflowctl") for path in (ROOT / package).rglob("*.py"))
ANYONE = ("gflowd", "gflowd.core.errors")

BELOW_PLANNING = tuple(
    f"gflowd.core.{folder}."
    for folder in ("accounting", "cluster", "execution", "gpu", "job", "metrics", "queue", "request", "slurm", "syntax")
)
BELOW_WORKERS = ("gflowd.config.", "gflowd.core.", "gflowd.effects.", "gflowd.log", "gflowd.paths")
# What gflowctl uses of gflowd: what is kept, how it is kept, and how to see and wake the daemon.
FOR_GFLOWCTL = (
    "gflowd.command_line", "gflowd.config.loader", "gflowd.config.notification_targets",
    "gflowd.config.start_options", "gflowd.core.",
    "gflowd.effects.attempt.relay_directory", "gflowd.effects.completion_files", "gflowd.effects.daemon",
    "gflowd.effects.delivery.", "gflowd.effects.doorbell", "gflowd.effects.gateway.presence",
    "gflowd.effects.files", "gflowd.effects.gateway.kept_files", "gflowd.effects.input_wait",
    "gflowd.effects.installer", "gflowd.effects.kernel.cgroups", "gflowd.effects.proc",
    "gflowd.effects.kernel.processes", "gflowd.effects.metrics.exposition", "gflowd.effects.service.",
    "gflowd.paths", "gflowd.storage.gateway_client", "gflowd.storage.history",
    "gflowd.storage.history_queries", "gflowd.storage.journal.lines", "gflowd.storage.journal.reader",
    "gflowd.storage.lock", "gflowd.storage.observed_reader", "gflowd.storage.outbox", "gflowd.storage.metrics_input",
    "gflowd.storage.history_access",
    "gflowd.storage.record_log", "gflowd.storage.remote_store", "gflowd.storage.store",
    "gflowd.workers.board", "gflowd.workers.notifier.delivery", "gflowd.workers.notifier.receiver_names",
)  # fmt: skip
CONTEXT, VIEW, OUTPUT = ("gflowctl.context", *FOR_GFLOWCTL), "gflowctl.view.", "gflowctl.output."

# The first row that fits the importing module counts; `.` at the end stands for the module and all below it. Rows go
# upwards: none names what only a later one describes, so folders import downwards only.
MAY_IMPORT = (
    # Values in, values out.
    ("gflowd.core.errors", ()),  # one error type for each exit status
    ("gflowd.core.moment", ()),  # now, on three clocks
    ("gflowd.core.syntax.", ("gflowd.core.syntax.",)),  # text that people write
    ("gflowd.core.job.", ("gflowd.core.job.", "gflowd.core.syntax.")),  # what a job is
    *(
        (folder, (folder, "gflowd.core.job.", "gflowd.core.moment", "gflowd.core.syntax."))
        for folder in (
            "gflowd.core.slurm.",  # scripts written for Slurm
            "gflowd.core.gpu.",  # one GPU and all of them
            "gflowd.core.accounting.",  # who used how much, and may
            "gflowd.core.execution.",  # from start to end of an attempt
        )
    ),
    # what may be asked for, also in the head of a script
    (
        "gflowd.core.request.",
        ("gflowd.core.job.", "gflowd.core.moment", "gflowd.core.request.", "gflowd.core.slurm.", "gflowd.core.syntax."),
    ),
    # jobs that a cluster runs
    (
        "gflowd.core.cluster.",
        ("gflowd.core.cluster.", "gflowd.core.execution.", "gflowd.core.job.", "gflowd.core.moment",
         "gflowd.core.syntax."),
    ),
    # how far a job says it is, for people to see
    ("gflowd.core.progress.", ("gflowd.core.job.value_base", "gflowd.core.progress.")),
    # what users and the gateway of a daemon for many users say to each other
    ("gflowd.core.gateway.", ("gflowd.core.errors", "gflowd.core.gateway.", "gflowd.core.syntax.fast_json")),
    # what monitoring systems are told
    (
        "gflowd.core.metrics.",
        ("gflowd.core.accounting.", "gflowd.core.job.", "gflowd.core.metrics.", "gflowd.core.syntax."),
    ),
    # the scheduler's index of jobs; predicts how long they take by what is accounted for
    ("gflowd.core.queue.", ("gflowd.core.accounting.", "gflowd.core.job.", "gflowd.core.queue.")),
    ("gflowd.core.planning.", (*BELOW_PLANNING, "gflowd.core.planning.")),  # what starts when, where
    # what happened, and how it is told
    (
        "gflowd.core.events.",
        (
            "gflowd.core.errors", "gflowd.core.events.", "gflowd.core.execution.output_files", "gflowd.core.gpu.",
            "gflowd.core.job.", "gflowd.core.planning.", "gflowd.core.syntax.",
        ),
    ),
    # who is told of what, in which words, and when again
    (
        "gflowd.core.notify.",
        (
            "gflowd.core.errors", "gflowd.core.events.kinds", "gflowd.core.notify.",
            "gflowd.core.slurm.sbatch_semantics", "gflowd.core.syntax.",
        ),
    ),
    # what of a request becomes records of the snapshot, and for whom
    (
        "gflowd.core.admission.",
        (*BELOW_PLANNING, "gflowd.core.admission.", "gflowd.core.notify.event_names", "gflowd.core.planning."),
    ),
    ("gflowd.core", ()),
    ("gflowd.paths", ("gflowd.core.syntax.fast_json",)),  # where things are kept, and who opens them
    # The world: each effect by itself.
    ("gflowd.effects.gpu.nvml_device", ("gflowd.core.",)),
    ("gflowd.effects.installer", ()),  # how a missing package is installed
    ("gflowd.effects.gpu.nvml", ("gflowd.core.", "gflowd.effects.gpu.nvml_device", "gflowd.effects.installer")),
    ("gflowd.effects.metrics.exposition", ("gflowd.core.", "gflowd.effects.installer")),  # metrics as text
    ("gflowd.effects.gpu.pci", ()),  # which GPUs the bus has
    ("gflowd.effects.gpu.count", ("gflowd.effects.gpu.nvml", "gflowd.effects.gpu.pci")),
    ("gflowd.effects.gpu.listeners", ()),  # whose sockets the kernel has
    ("gflowd.effects.gpu.claims", ("gflowd.effects.gpu.listeners",)),
    ("gflowd.effects.proc", ()),  # what the kernel says of processes, for the others to read
    ("gflowd.effects.files", ("gflowd.paths",)),  # small files, for the others to write and read
    # mail, webhooks, commands and what apprise speaks
    (
        "gflowd.effects.delivery.",
        ("gflowd.core.", "gflowd.effects.delivery.", "gflowd.effects.installer"),
    ),
    ("gflowd.effects.gpu.device_files", ("gflowd.core.",)),  # which numbers those of GPUs have
    ("gflowd.effects.shared_mode.bpf", ()),  # a system call
    # which GPUs a control group may open
    ("gflowd.effects.shared_mode.device_filter", ("gflowd.core.", "gflowd.effects.shared_mode.bpf")),
    ("gflowd.effects.service.units", ()),  # the text of units
    ("gflowd.effects.service.systemctl", ("gflowd.core.errors",)),  # what systemd is asked
    *(
        (folder, ("gflowd.core.", "gflowd.effects.files", "gflowd.effects.proc", "gflowd.paths"))
        for folder in (
            "gflowd.effects.kernel.",  # processes, control groups, the machine
            "gflowd.effects.attempt.",  # its directory and files, and how it runs
        )
    ),
    ("gflowd.effects.shared_mode.pam_login", ()),  # a program of its own
    # what root does for the many users of one daemon
    (
        "gflowd.effects.shared_mode.",
        (
            "gflowd.core.", "gflowd.effects.attempt.", "gflowd.effects.files", "gflowd.effects.gpu.device_files",
            "gflowd.effects.kernel.", "gflowd.effects.proc", "gflowd.effects.shared_mode.", "gflowd.paths",
        ),
    ),
    # who asks; whether the user database answers
    ("gflowd.effects.gateway.peers", ("gflowd.core.", "gflowd.effects.shared_mode.account")),
    # what is kept for users
    ("gflowd.effects.gateway.kept_files", ("gflowd.core.", "gflowd.effects.shared_mode.user_files", "gflowd.paths")),
    # a cluster's programs, and what its nodes see
    (
        "gflowd.effects.cluster.",
        ("gflowd.core.", "gflowd.effects.attempt.jobdir", "gflowd.effects.cluster.", "gflowd.effects.files",
         "gflowd.paths"),
    ),
    # gpu: drivers; the others: one module each
    ("gflowd.effects.", ("gflowd.core.", "gflowd.effects.files", "gflowd.effects.proc", "gflowd.paths")),
    ("gflowd.command_line", ("gflowd.core.syntax.",)),  # how both programs read what is typed
    ("gflowd.log", ("gflowd.paths",)),
    ("gflowd.config.", ("gflowd.config.", "gflowd.core.", "gflowd.paths")),  # gflow.toml and the environment
    ("gflowd.storage.", ("gflowd.core.", "gflowd.paths", "gflowd.storage.")),  # what lasts
    ("gflowd.workers.board_slots", BELOW_WORKERS),  # what the workers post
    ("gflowd.workers.board", (*BELOW_WORKERS, "gflowd.workers.board_slots")),  # and where
    ("gflowd.workers", (*BELOW_WORKERS, "gflowd.workers.board_slots")),  # which workers there are
    # what all of them do
    ("gflowd.workers.base", (*BELOW_WORKERS, "gflowd.workers", "gflowd.workers.board", "gflowd.workers.board_slots")),
    ("gflowd.workers.attempt_processes", (*BELOW_WORKERS, "gflowd.workers.base")),  # what lives of an attempt
    # what the scheduler keeps of jobs, and removes
    (
        "gflowd.workers.scheduler.upkeep.",
        (*BELOW_WORKERS, "gflowd.workers.attempt_processes", "gflowd.workers.base", "gflowd.workers.scheduler.upkeep."),
    ),
    # how it starts attempts
    (
        "gflowd.workers.scheduler.launching.",
        (*BELOW_WORKERS, "gflowd.workers.scheduler.launching.", "gflowd.workers.scheduler.upkeep.scratch"),
    ),
    ("gflowd.workers.scheduler.", (*BELOW_WORKERS, "gflowd.workers.")),  # the scheduler's process
    # tells others what gflowctl would: the scheduler need not count all jobs for that
    ("gflowd.workers.metrics_updater", (*BELOW_WORKERS, "gflowd.storage.metrics_input", "gflowd.workers.")),
    # takes the requests of many users, and writes what is right
    ("gflowd.workers.gateway.", (*BELOW_WORKERS, "gflowd.storage.", "gflowd.workers.")),
    # tells people and programs what happened
    (
        "gflowd.workers.notifier.",
        (*BELOW_WORKERS, "gflowd.storage.history", "gflowd.storage.journal.reader", "gflowd.storage.outbox",
         "gflowd.workers."),
    ),
    # the other processes
    ("gflowd.workers.", (*BELOW_WORKERS, "gflowd.workers.")),
    ("gflowd.daemon.systemd", ()),
    ("gflowd.daemon.children", ("gflowd.log", "gflowd.workers.")),
    (
        "gflowd.daemon.supervisor",
        (
            "gflowd.config.loader", "gflowd.daemon.children", "gflowd.daemon.systemd", "gflowd.effects.doorbell",
            "gflowd.log", "gflowd.paths", "gflowd.workers.",
        ),
    ),
    ("gflowd.daemon.", (*BELOW_WORKERS, "gflowd.daemon.", "gflowd.storage.", "gflowd.workers.")),  # one instance
    (
        "gflowd.commands.gateway",  # the verb that is a worker by itself
        (*BELOW_WORKERS, "gflowd.daemon.", "gflowd.workers.gateway."),
    ),
    (
        "gflowd.commands.",  # the verbs
        (*BELOW_WORKERS, "gflowd.command_line", "gflowd.daemon.", "gflowd.storage.", "gflowd.workers.board"),
    ),
    ("gflowd.main", ("gflowd.command_line",)),  # which finds a verb's module by its name
    ("gflowd.__main__", ("gflowd.main",)),
    ("gflowd", ()),
    # The command line.
    ("gflowctl.context", FOR_GFLOWCTL),
    (VIEW, (*CONTEXT, VIEW)),  # jobs as users see them
    (OUTPUT, (*CONTEXT, VIEW, OUTPUT)),  # text, tables, JSON
    ("gflowctl.options.", (*CONTEXT, VIEW, OUTPUT, "gflowctl.options.")),  # what a command line can say
    ("gflowctl.machine.", (*CONTEXT, VIEW, OUTPUT, "gflowctl.machine.")),  # GPUs, quotas, reservations
    *(
        (folder, (*CONTEXT, VIEW, OUTPUT, "gflowctl.machine.", "gflowctl.options.", folder))
        for folder in (
            "gflowctl.submit.",  # from options to queued jobs
            "gflowctl.admin.",  # doctor, backup, restore, sessions
        )
    ),
    # changes to jobs that exist
    (
        "gflowctl.change.",
        (*CONTEXT, VIEW, OUTPUT, "gflowctl.machine.", "gflowctl.options.", "gflowctl.submit.", "gflowctl.change."),
    ),
    # the same for programs, with types
    (
        "gflowctl.api.",
        (
            *CONTEXT, VIEW, OUTPUT, "gflowctl.machine.", "gflowctl.options.", "gflowctl.submit.", "gflowctl.change.",
            "gflowctl.api.",
        ),
    ),
    # the page in a browser
    ("gflowctl.web.", (*CONTEXT, VIEW, OUTPUT, "gflowctl.api.", "gflowctl.machine.", "gflowctl.web.")),
    # tools of agents, which act through the API
    ("gflowctl.agents.", ("gflowctl.api.", "gflowctl.output.", "gflowctl.agents.", "gflowd.core.", "gflowd.paths")),
    # the whole screen, live; it changes jobs as programs do
    ("gflowctl.monitor.", (*CONTEXT, VIEW, OUTPUT, "gflowctl.api.", "gflowctl.machine.", "gflowctl.monitor.")),
    (
        "gflowctl.commands.monitor",  # the verb that opens it
        (*CONTEXT, OUTPUT, "gflowctl.monitor."),
    ),
    (
        "gflowctl.commands.",  # one module per verb, none of which knows another
        (
            *CONTEXT, VIEW, OUTPUT, "gflowctl.admin.", "gflowctl.agents.", "gflowctl.api.", "gflowctl.change.",
            "gflowctl.machine.", "gflowctl.options.", "gflowctl.submit.", "gflowctl.web.",
        ),
    ),
    (
        "gflowctl.slurm.control.update",  # the verb update in Slurm's words
        ("gflowctl.commands.update", *CONTEXT, OUTPUT, VIEW, "gflowctl.change.", "gflowctl.slurm."),
    ),
    (
        "gflowctl.slurm.sbatch",  # the verb submit
        ("gflowctl.commands.submit", *CONTEXT, OUTPUT, VIEW, "gflowctl.slurm.", "gflowctl.submit."),
    ),
    (
        "gflowctl.slurm.attended_job",  # the verbs submit and run
        ("gflowctl.commands.run", "gflowctl.commands.submit", *CONTEXT, OUTPUT, VIEW, "gflowctl.submit."),
    ),
    (
        "gflowctl.slurm.",  # programs under Slurm's names, which gflow has beside its own commands
        (
            *CONTEXT, VIEW, OUTPUT, "gflowctl.change.", "gflowctl.machine.", "gflowctl.options.", "gflowctl.slurm.",
            "gflowctl.submit.",
        ),
    ),
    ("gflowctl.main", ("gflowctl.context", "gflowd.command_line", OUTPUT)),  # which finds a verb's module by its name
    ("gflowctl.__main__", ("gflowctl.main", "gflowctl.slurm.main", "gflowd.core.slurm.front_ends", OUTPUT)),
    ("gflowctl", ()),
)  # fmt: skip
# Modules that only these import: phases are the scheduler's alone to write. The first row that fits counts.
ONLY_FROM = {
    "gflowd.core.execution.transitions": (
        "gflowd.core.",
        "gflowd.workers.scheduler.due_transitions",
        "gflowd.workers.scheduler.worker",
    ),
    "gflowd.storage.history": (
        "gflowctl.",
        "gflowd.storage.history_queries",
        "gflowd.storage.history_access",
        "gflowd.storage.store",
        "gflowd.workers.gateway.",
        "gflowd.workers.notifier.worker",  # puts a damaged database aside in the same way
        "gflowd.workers.scheduler.upkeep.archiver",
        "gflowd.workers.scheduler.upkeep.history_writer",
    ),
    "gflowd.storage.journal.writer": ("gflowd.workers.scheduler.upkeep.event_writer",),
    "gflowd.storage.record_log": (
        "gflowctl.",
        "gflowd.daemon.launch",
        "gflowd.storage.record_search",
        "gflowd.storage.remote_store",
        "gflowd.storage.store",
        "gflowd.workers.gateway.",
        "gflowd.workers.scheduler.upkeep.archiver",
        "gflowd.workers.scheduler.upkeep.cleanup",
    ),  # the workers only look at what is folded
    "gflowd.storage.metrics_input": (
        "gflowctl.",
        "gflowd.workers.metrics_updater",
    ),  # without the lock: nobody decides by it
    "gflowd.storage.store": (
        "gflowctl.",
        "gflowd.daemon.launch",
        "gflowd.daemon.shared_places",
        "gflowd.storage.metrics_input",
        "gflowd.storage.remote_store",
        "gflowd.workers.gateway.",
        "gflowd.workers.scheduler.upkeep.snapshot_follower",
    ),
    "gflowd.workers.board": ("gflowctl.", "gflowd.commands.", "gflowd.daemon.", "gflowd.workers."),
    "gflowd.workers.notifier.delivery": ("gflowctl.admin.notifications", "gflowd.workers.notifier."),
    "gflowd.workers.notifier.receiver_names": ("gflowctl.admin.notifications", "gflowd.workers.notifier."),
    "gflowd.workers.gateway.": ("gflowd.commands.gateway", "gflowd.workers.gateway."),
    "gflowd.workers.": ("gflowd.daemon.children", "gflowd.daemon.supervisor", "gflowd.workers."),
}
SCHEDULER = {
    "gflowd.workers.scheduler.upkeep.archiver": ("gflowd.storage.history", "gflowd.storage.record_log"),
    "gflowd.workers.scheduler.upkeep.cleanup": ("gflowd.storage.record_log",),
    "gflowd.workers.scheduler.upkeep.event_writer": ("gflowd.storage.journal.writer",),
    "gflowd.workers.scheduler.upkeep.history_writer": ("gflowd.storage.history",),
    "gflowd.workers.scheduler.upkeep.snapshot_follower": ("gflowd.storage.store",),
    "gflowd.workers.scheduler.worker": ("gflowd.storage.lock",),
}
PURE = {
    "__future__", "_json", "bisect", "collections", "collections.abc", "cronsim", "csv", "dataclasses", "datetime",
    "difflib", "enum", "functools", "heapq", "itertools", "json", "math", "operator", "posixpath", "re", "shlex",
    "struct", "typing", "zlib", "zoneinfo",
}  # fmt: skip
# What the records of the snapshot are called, and how one of a phase says which: everybody else asks these.
KNOW_RECORDS = ("gflowd.core.job.records", "gflowd.core.job.codec")
WORDS = ("attempt", "quota", "scheduler")  # also a table of the history, sections of the configuration file


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def imported_by(path: Path) -> frozenset[str]:
    """As `imported`, of a module of the packages."""
    return frozenset(imported(path.read_text()))


def imported(source: str, known: Collection[str] = ()) -> set[str]:
    """The modules that a source imports, where it does so at run time and where only for its types; `known` are such
    whose names are not of the packages.
    """
    return imported_in(ast.parse(source), known)


def imported_in(tree: ast.AST, known: Collection[str] = ()) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in NAMES or inner in known else base)
    return found


NAMES = {name_of(path) for path in MODULES}


def fits(module: str, pattern: str) -> bool:
    return f"{module}.".startswith(pattern) if pattern.endswith(".") else module == pattern


def broken(module: str, found: Collection[str]) -> list[str]:
    """Those of the modules that `module` imports that the rules forbid."""
    allowed = next(allowed for pattern, allowed in MAY_IMPORT if fits(module, pattern)) + SCHEDULER.get(module, ())
    wrong = []
    for other in sorted(found):
        if other.split(".")[0] not in ("gflowd", "gflowctl"):
            if fits(module, "gflowd.core.") and other not in PURE:
                wrong.append(other)
            continue
        permitted = other in ANYONE or any(fits(other, pattern) for pattern in allowed)
        users = next((users for pattern, users in ONLY_FROM.items() if fits(other, pattern)), None)
        if not permitted or not (users is None or any(fits(module, user) for user in users)):
            wrong.append(other)
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    assert broken(name_of(path), imported_by(path)) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("gflowd.core.planning.backfill", "import time"),
        ("gflowd.core.planning.backfill", "from gflowd import paths"),
        ("gflowd.core.syntax.durations", "from gflowd.core.job import model"),
        ("gflowd.core.job.arrays", "from gflowd.core.request import validation"),
        ("gflowd.core.queue.order", "from gflowd.core.planning import backfill"),
        ("gflowd.core.gpu.states", "from gflowd.core.queue.order import band"),
        ("gflowd.effects.attempt.tmux", "from gflowd.effects import processes"),
        ("gflowd.effects.attempt.tmux", "from gflowd.storage.store import Store"),
        ("gflowd.storage.store", "from gflowd.config.loader import Config"),
        ("gflowd.daemon.supervisor", "from gflowd.core.planning import backfill"),
        ("gflowd.daemon.supervisor", "from gflowd.storage import store"),
        ("gflowd.daemon.launch", "from gflowd.workers import base"),
        ("gflowd.workers.zombie_detector.worker", "from gflowd.storage.store import Store"),
        ("gflowd.workers.gpu_poller", "from gflowd.core.execution.transitions import launched"),
        ("gflowd.daemon.launch", "import gflowctl.main"),
        ("gflowctl.view.views", "from gflowctl.output import render"),
        ("gflowctl.submit.enqueue", "from gflowctl.change import wishes"),
        ("gflowctl.api.queue", "from gflowctl.commands import hold"),
        ("gflowctl.commands.cancel", "from gflowctl.commands import hold"),
        ("gflowctl.commands.cancel", "from gflowd.core.execution import transitions"),
        ("gflowctl.commands.cancel", "from gflowd.effects.attempt.tmux import Tmux"),
        ("gflowctl.commands.cancel", "from gflowd.workers import base"),
    ],
)
def test_the_rules_catch_what_they_forbid(module: str, line: str) -> None:
    assert broken(module, imported(line))


def test_the_rows_go_upwards() -> None:
    known: list[str] = []
    for pattern, allowed in MAY_IMPORT:
        known.append(pattern)
        for other in allowed:
            assert any(fits(other.rstrip("."), row) or fits(row.rstrip("."), other) for row in known), (pattern, other)


def circles(ways: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """The modules that know each other, by whatever ways; `ways`: whom each imports."""
    reached = {name: set(others) for name, others in ways.items()}
    for middle, further in reached.items():
        for others in reached.values():
            if middle in others:
                others.update(further)
    found = {tuple(sorted(other for other in reached[name] if name in reached[other])) for name in reached}
    return sorted(found - {()})


def test_no_two_modules_of_the_packages_know_each_other_by_any_way() -> None:
    """Types and imports within functions count: whoever reads one of a circle has to read all of it."""
    assert circles({name_of(path): set(imported_by(path) & NAMES) for path in MODULES}) == []


def test_no_two_benchmarks_know_each_other_by_any_way() -> None:
    """They import each other as scripts do, by names from their own folder."""
    place = ROOT / "benchmarks"
    paths = {".".join(path.relative_to(place).with_suffix("").parts): path for path in place.rglob("*.py")}
    ways = {name: imported(path.read_text(), paths) & paths.keys() for name, path in paths.items()}
    assert any(ways.values())
    assert circles(ways) == []


def test_a_circle_is_found_whatever_its_length() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [("a", "b", "c")]


def test_a_folder_says_in_one_sentence_what_it_is() -> None:
    for path in MODULES:
        if path.name == "__init__.py":
            assert (ast.get_docstring(ast.parse(path.read_text())) or "").count("\n") == 0, path


def bare(source: str) -> list[int]:
    """The lines that name a kind of record by a string of their own, or look for a phase in a raw record."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Subscript(slice=ast.Constant(value="is")):
                found.append(node.lineno)
            case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value="is"), *_]):
                found.append(node.lineno)
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=[ast.Constant(value=kind), *_]):
                found += [node.lineno] if name in ("of", "put", "may_have") and isinstance(kind, str) else []
            case ast.Compare(left=ast.Name(id="kind"), comparators=[ast.Constant(value=kind)]) if kind in KINDS:
                found.append(node.lineno)
            case ast.Tuple(elts=[ast.Constant(value=kind), _]) if kind in KINDS and kind not in WORDS:
                found.append(node.lineno)
    return found


def test_only_one_module_knows_what_records_are_called_and_how_a_raw_one_says_its_phase() -> None:
    outside = [path for path in MODULES if name_of(path) not in KNOW_RECORDS]
    assert [(name_of(path), lines) for path in outside if (lines := bare(path.read_text()))] == []


@pytest.mark.parametrize(
    "line",
    [
        'fold.of("spec")', 'of("drain")', 'commit.put("phase", 1, None)', 'commit.may_have("quota")', 'raw["is"]',
        'raw.get("is")', 'kind == "wish"', '("wish", 42)',
    ],
)  # fmt: skip
def test_a_bare_kind_is_found(line: str) -> None:
    assert bare(line)


def test_only_one_module_reads_what_the_daemon_last_saw_and_one_writes_it() -> None:
    openers = {
        name_of(path)
        for path in MODULES
        if "state.observed" in (source := path.read_text())
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        for argument in node.args
        if ast.unparse(argument).endswith("state.observed")
    }
    assert openers == {"gflowd.storage.observed_reader", "gflowd.workers.scheduler.observed_writer"}


def needed(source: str) -> set[str]:
    """The modules that a source imports at run time."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return imported_in(tree)


def plain_values(source: str) -> list[str]:
    """The values that are written out by hand, without `dataclasses`."""
    if "Value" not in source:
        return []
    classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    return [
        made.name
        for made in classes
        if not made.decorator_list and any(isinstance(base, ast.Name) and base.id == "Value" for base in made.bases)
    ]


def test_a_value_is_a_dataclass_unless_gflowctl_would_have_to_wait_for_that() -> None:
    """The workers, which gflowctl asks only in `doctor`, import dataclasses anyway."""
    paths = {name_of(path): path for path in MODULES}
    todo = [name for name in paths if name.startswith("gflowctl")]
    reached = set(todo)
    while todo:
        found = (needed(paths[todo.pop()].read_text()) & NAMES) - reached
        found = {name for name in found if not name.startswith("gflowd.workers")}
        reached |= found
        todo += found
    own = {"gflowd.core.job.value_base"}
    outside = {name: plain_values(paths[name].read_text()) for name in sorted(NAMES - reached - own)}
    assert {name: values for name, values in outside.items() if values} == {}
    assert plain_values(paths["gflowd.core.job.model"].read_text()), "it looks for what there is"


def test_no_one_imports_the_private_names_of_another_module() -> None:
    taken = [
        f"{name_of(path)}: {node.module}.{alias.name}"
        for path in MODULES
        if re.search(r"^ *(from \S+ import .*\b_[a-zA-Z]|_[a-zA-Z]\w*,?$)", source := path.read_text(), re.MULTILINE)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gflow")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert taken == []


def test_the_programs_need_nothing_that_is_not_declared() -> None:
    declared = {
        "apprise", "cronsim", "filelock", "jinja2", "libtmux", "mcp", "mcp_types", "orjson", "prometheus_client",
        "psutil", "pydantic", "pynvml", "rich", "starlette", "textual", "uvicorn",
    }  # fmt: skip
    used = {name.split(".")[0] for path in MODULES for name in imported_by(path)}
    used -= {name for name in used if name in sys.stdlib_module_names or name in {"gflowd", "gflowctl", "_blake2"}}
    assert used <= declared
