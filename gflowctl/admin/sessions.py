"""The tmux sessions of gflow's private server: lists them and ends one."""

from __future__ import annotations

import re
import subprocess

from gflowd.core.errors import SystemFailed

PATIENCE = 5.0  # seconds
_NAME = re.compile(r"gflow-([0-9]+)(?:-([0-9]+))?")


def of_jobs(socket: str) -> dict[str, int]:
    """The sessions named after a job, with the job's id; none if no server runs. Raises `SystemFailed`."""
    listed = _tmux(socket, "list-sessions", "-F", "#{session_name}")
    found = {}
    for name in listed.stdout.splitlines():
        if match := _NAME.fullmatch(name):
            found[name] = int(match[1])
    return found


def close(socket: str, name: str) -> bool:
    """Ends exactly this session; returns whether it existed."""
    return _tmux(socket, "kill-session", "-t", f"={name}:").returncode == 0


def _tmux(socket: str, *words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["tmux", "-S", socket, *words],
            capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError:
        raise SystemFailed("tmux is not installed") from None
    except subprocess.TimeoutExpired:
        raise SystemFailed(f"tmux on {socket} did not answer within {PATIENCE:g} s") from None
