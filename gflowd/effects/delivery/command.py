"""Runs a command for one event: the event on standard input, what matters of it in the environment, nothing of it as
a word of the command.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gflowd.core.notify import plain_text, retries
from gflowd.core.notify.retries import Outcome
from gflowd.effects.delivery import program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from gflowd.core.notify.targets import Hook

FIELDS = (
    "id", "kind", "job", "array_id", "array_index", "attempt", "name", "user", "project", "state", "reason",
    "exit_code", "signal", "run_seconds", "reservation", "gpu", "worker",
)  # fmt: skip
PREFIX = "GFLOW_EVENT_"


def variables(event: Mapping[str, Any], subject: str) -> dict[str, str]:
    """What the command finds in its environment: `GFLOW_EVENT_KIND` and so on; a field without a value is empty."""
    found = {name: "" if event.get(name) is None else str(event[name]) for name in FIELDS if name in event}
    shown = {**found, "subject": subject}
    return {f"{PREFIX}{name.upper()}": value.replace("\0", "") for name, value in shown.items()}


def run(target: Hook, event: Mapping[str, Any], subject: str, body: bytes) -> Outcome:
    """How it went."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("GFLOW_")}
    try:
        done = program.run(
            target.command, body + b"\n", target.timeout, env={**given, **variables(event, subject)}, cwd="/"
        )
    except TimeoutError:
        return Outcome("again", f"did not end within {target.timeout:g} s")
    except OSError as error:
        return Outcome("again", error.strerror or str(error))
    return retries.of_exit(done.status, plain_text.last_line(done.said), hook=True)
