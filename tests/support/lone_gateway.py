"""A gateway by itself, as systemd runs it while gflowd is down, on directories of its own. Root's alone to start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gflowd.core.gateway import asking
from gflowd.core.job import codec
from gflowd.core.job.model import Spec
from gflowd.core.job.records import PROVISIONAL
from gflowd.paths import State
from gflowd.storage import gateway_client
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parent.parent.parent
CONFIG = """\
[shared]
gateway = "worker"
launcher = "own"
least_uid = 0
allow_root = true
max_jobs_per_user = 1000000
max_connections = {connections}
max_connections_per_user = {of_user}
"""
ENVIRONMENT = b"A=1\0"


class LoneGateway:
    """`start` and `kill` it as often as you like."""

    def __init__(self, root: Path, connections: int = 256, of_user: int | None = None) -> None:
        self.root = root
        self.state = State(str(root / "state"))
        self.gate = str(root / "run/gate.sock")
        for name in ("state", "run", "spool"):
            (root / name).mkdir(mode=0o711)
        (root / "gflow.toml").write_text(CONFIG.format(connections=connections, of_user=of_user or connections))
        (root / "gflow.toml").chmod(0o644)
        shared = Path(self.state.path("shared"))
        shared.write_text(json.dumps({"gate": self.gate, "spool": str(root / "spool"), "private_jobs": False}))
        shared.chmod(0o644)
        self.env = {
            "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "GFLOW_STATE_DIR": self.state.root, "HOME": str(root),
            "GFLOW_RUNTIME_DIR": str(root / "run"), "GFLOW_CONFIG": str(root / "gflow.toml"),
        }  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, words: Sequence[str] = (), **settings: Any) -> None:
        """Does not wait for it: those who ask do."""
        self.process = subprocess.Popen(
            [*words, sys.executable, "-m", "gflowd", "gateway"], env=self.env, cwd="/", **settings
        )

    def is_up(self) -> bool:
        """Whether it answers."""
        try:
            return gateway_client.ask(self.gate, asking.relay(), 0.0)[0] == {"ok": True}
        except Exception:
            return False

    def await_answers(self) -> None:
        """Until it answers."""
        eventually(self.is_up)

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)


def spec(**fields: Any) -> dict[str, Any]:
    """The record of a job that the gateway takes; its environment is sent along."""
    from gflowd.paths import content_name

    made = Spec(command=("true",), name="x", user="u", cwd="/", env=content_name(ENVIRONMENT), submitted_at=1.0)
    return {**codec.encode(made), **fields}


def submission(once: str, count: int = 1, **fields: Any) -> bytes:
    """A request for so many jobs."""
    records = [("spec", PROVISIONAL + at, spec(**fields)) for at in range(count)]
    return asking.commit(once, None, [("env", ENVIRONMENT)], records)
