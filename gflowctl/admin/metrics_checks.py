"""Checks of `doctor` on metrics: whether those that the configuration asks for can be given."""

from __future__ import annotations

import os
import socket

from gflowctl.admin.checks import OK, WARN, Finding
from gflowd.effects.metrics import exposition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowctl.admin.checks import Check
    from gflowctl.context import Context


def metrics(context: Context) -> Iterator[Finding]:
    """The package is there, the file can be written and the address is free. A daemon that runs tells its own."""
    config = context.configuration()
    if config.metrics_textfile is None and config.metrics_listen is None:
        return
    if (lacking := exposition.lacking("[metrics]")) is not None:
        yield Finding(WARN, lacking)
    elif not context.daemon_runs:
        yield from _place(config.metrics_textfile)
        yield from _address(config.metrics_listen)
    elif not any(each is not None for each in context.observed.service_troubles.values()):
        yield Finding(OK, "metrics are given")


def _place(path: str | None) -> Iterator[Finding]:
    directory = None if path is None else os.path.dirname(path)
    if directory is not None and not os.access(directory, os.W_OK | os.X_OK):
        yield Finding(
            WARN, f"metrics cannot be written to {path}: {directory} is not a directory that you may write to"
        )


def _address(address: str | None) -> Iterator[Finding]:
    if address is None or address.startswith("/"):
        return
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        if probe.connect_ex((host.strip("[]"), int(port))) == 0:
            yield Finding(
                WARN, f"metrics: another program listens on {address}", "choose another port for [metrics] listen"
            )


CHECKS: tuple[Check, ...] = (metrics,)
