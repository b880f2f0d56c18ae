"""Whose jobs gflowctl changes where a daemon is for many users: run as each of them, with a gateway that agrees."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import stranger
from support.answering import Gateway, gateway
from support.specs import SPEC

import gflowctl.change
import gflowctl.commands
import gflowctl.machine
import gflowctl.slurm.main as slurm
import gflowctl.submit
import gflowctl.view
import gflowd.config
import gflowd.core.admission
from gflowctl.main import main
from gflowd.core.job import codec
from gflowd.core.job.arrays import Family
from gflowd.core.request.cluster_options import FOR_ALL_USERS
from gflowd.paths import State
from gflowd.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ADA, EVE = stranger.UIDS
OPERATOR = 60003
NEEDED = (
    gflowctl.change, gflowctl.commands, gflowctl.machine, gflowctl.slurm, gflowctl.submit, gflowctl.view, gflowd.config,
    gflowd.core.admission,
)  # fmt: skip
OF_PYTHON = ("resource", "shlex", "subprocess", "tomllib")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason=stranger.NO_ROOT)


def sbatch(words: list[str]) -> int:
    """Slurm's program."""
    return slurm.main("sbatch", words)


def scancel(words: list[str]) -> int:
    """Slurm's program."""
    return slurm.main("scancel", words)


class Shared:
    """A queue of ADA (jobs 1, 2) and EVE (3, and an array from 4); what the gateway was asked for is in `asked`."""

    def __init__(self, environ: dict[str, str], gate: Gateway) -> None:
        self.environ = environ
        self._gate = gate

    def run(self, uid: int, *words: str, program: Callable[[list[str]], int] = main) -> tuple[int, str, str]:
        """The exit status, the output and the errors of gflowctl, run by a user."""

        def call() -> tuple[int, str, str]:
            os.environ.clear()
            os.environ.update(self.environ)
            with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
                sys.stdout, sys.stderr = out, err
                status = program([*words])
                for each in (out, err):
                    each.seek(0)
                return status, out.read(), err.read()

        found: tuple[int, str, str] = stranger.as_user(uid, call)
        return found

    def asked(self) -> list[tuple[str, Any]]:
        """The kinds and ids of the records that the gateway was asked to write since this was last asked."""
        found = [(kind, key) for head, _ in self._gate.asked for kind, key, _ in head["records"]]
        self._gate.asked.clear()
        return found


def load() -> None:
    """Imports what the commands import when they need it: other users may not reach the source."""
    for name in OF_PYTHON:
        importlib.import_module(name)
    for package in NEEDED:
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    load()
    with ExitStack() as stack:
        place = stack.enter_context(stranger.open_directory())
        gate, config, root = str(place / "gate"), place / "gflow.toml", place / "state"
        root.mkdir()
        root.chmod(0o711)
        (root / "shared").write_text(json.dumps({"spool": str(place / "spool"), "gate": gate}))
        (root / "shared").chmod(0o644)
        config.write_text(f'[shared]\noperators = ["{OPERATOR}"]\n')
        config.chmod(0o644)
        state = State(str(root))
        with Store(state).commit() as commit:
            for uid in (ADA, ADA, EVE):
                spec = SPEC.replace(uid=uid, user=str(uid))
                commit.put("spec", commit.allocate(), codec.encode(spec))
            spec = SPEC.replace(uid=EVE, user=str(EVE), family=Family(ranges=((1, 3, 1),)))
            commit.put("spec", commit.allocate(3), codec.encode(spec))
        kept = Path(state.environment(SPEC.env, ADA))
        kept.parent.mkdir(parents=True)
        kept.touch()
        os.chown(kept, ADA, -1)
        environ = {"GFLOW_STATE_DIR": str(root), "GFLOW_CONFIG": str(config), "PATH": "/usr/bin:/bin", "HOME": "/"}
        yield Shared(environ, stack.enter_context(gateway(gate, {"ok": True, "first": None})))


def test_nobody_changes_anothers_job_by_its_id(shared: Shared) -> None:
    for words in (
        ("cancel", "3"), ("hold", "3"), ("release", "3"), ("requeue", "3"), ("top", "3"), ("redo", "3"),
        ("suspend", "3"), ("update", "3", "--priority", "5"), ("edit", "3"), ("cancel", "1,3"), ("redo", "1,3"),
        ("cancel", "3", "--signal", "USR1"),
    ):  # fmt: skip
        assert shared.run(ADA, *words) == (1, "", f"gflowctl: job 3 belongs to {EVE}\n"), words
    assert shared.run(ADA, "limit", "4", "2") == (1, "", f"gflowctl: job 4 belongs to {EVE}\n")
    assert shared.run(ADA, "cancel", "4_2") == (1, "", f"gflowctl: job 4_2 belongs to {EVE}\n")
    assert shared.run(ADA, "cancel", "3,4_2")[2] == f"gflowctl: each of 3,4_2 belongs to {EVE}\n"
    denied = "scancel: error: Kill job error on job id 3: Access/permission denied\n"
    assert shared.run(ADA, "3", program=scancel) == (1, "", denied)
    assert shared.asked() == []


def test_no_job_of_many_users_goes_to_a_cluster_and_one_line_says_so(shared: Shared) -> None:
    with stranger.open_directory() as place:
        lines, script = place / "jobs", place / "job.sh"
        lines.write_text('{"command": ["true"], "cluster": "hpc"}\n')
        script.write_text("#!/bin/sh\n# GFLOW --cluster=hpc -o /dev/null\ntrue\n")
        script.chmod(0o755)
        why = f"--cluster: {FOR_ALL_USERS}\n"
        for words, where in (
            (("submit", "--cluster", "hpc", "true"), ""), (("submit", "--cluster", "auto", "true"), ""),
            (("submit", str(script)), f"{script}: line 2: "), (("submit", "--from", str(lines)), f"{lines}: line 1: "),
            (("redo", "--cluster", "hpc", "1"), "job 1: "), (("update", "--cluster", "hpc", "1"), "job 1: "),
            (("info", "--cluster"), ""),
        ):  # fmt: skip
            assert shared.run(ADA, *words) == (1, "", f"gflowctl: {where}{why}"), words
        assert shared.run(ADA, str(script), program=sbatch) == (1, "", f"sbatch: error: {script}: line 2: {why}")
    assert shared.asked() == []


def test_by_options_users_mean_their_own_jobs_and_operators_all(shared: Shared) -> None:
    assert shared.run(ADA, "cancel", "--all") == (0, "Cancelled jobs 1-2\n", "")
    assert shared.asked() == [("wish", 1), ("wish", 2)]
    assert shared.run(EVE, "hold", "--state", "queued") == (0, "Held jobs 3,4_[1-3]\n", "")
    assert [key for _, key in shared.asked()] == [3, 4, 5, 6]
    assert shared.run(ADA, "--name=x", program=scancel) == (0, "", "")
    assert [key for _, key in shared.asked()] == [1, 2]
    told = f"gflowctl: no job to cancel matches --user {EVE}; 4 jobs of others, which only operators may change\n"
    assert shared.run(ADA, "cancel", "--user", str(EVE)) == (0, "", told)
    assert shared.asked() == []
    for who in (OPERATOR, 0):
        assert shared.run(who, "cancel", "--user", str(EVE)) == (0, "Cancelled jobs 3,4_[1-3]\n", "")
        assert shared.run(who, "cancel", "1")[:2] == (0, "Cancelled job 1\n")
        assert [key for _, key in shared.asked()] == [3, 4, 5, 6, 1]
        assert shared.run(who, "redo", "3") == (1, "", f"gflowctl: job 3 belongs to {EVE}\n")
