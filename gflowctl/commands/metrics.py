"""Print the metrics of gflow in the format of OpenMetrics, for Prometheus and others.

It works whether or not the daemon runs; if it does not, gflow_up is 0 and there are no metrics of the GPUs. The daemon
gives the same by itself if the section [metrics] of gflow.toml(5) says so: in a file for node_exporter, or to whoever
asks on a loopback address or a Unix socket.
"""

from __future__ import annotations

import time

from gflowctl.output import render
from gflowd.core.metrics import catalogue, metric_values
from gflowd.core.metrics.metric_values import Daemon, Process
from gflowd.effects import daemon
from gflowd.effects.metrics import exposition
from gflowd.storage.metrics_input import Readings

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from gflowctl.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    parser.add_argument(
        "--names",
        choices=catalogue.NAMES,
        default=catalogue.NOBODY,
        help="whose names the metrics have: none, users (and projects), or jobs (and users and projects)",
    )
    parser.add_argument(
        "--plain", action="store_true", help="print the older text format, which node_exporter reads from files"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Prints them."""
    context.state.check()
    found = daemon.running(context.state)
    readings = Readings(context.state)
    values = readings.values(_daemon(found), None if found is None else found.pid, time.time())
    text = exposition.text(metric_values.families(values, args.names), "gflowctl metrics", plain=args.plain)
    if readings.trouble is not None:
        context.store.notes.append(f"without what the history has: {readings.trouble}")
    render.write_bytes(text)
    return 0


def _daemon(found: daemon.Daemon | None) -> Daemon | None:
    return None if found is None else Daemon(found.version or "", found.since, tuple(_processes(found)))


def _processes(found: daemon.Daemon) -> Iterator[Process]:
    if found.pulse_fd is None or found.elsewhere:
        return
    from gflowd.workers import board

    try:
        pulses = board.read_pulses(found.pid, found.pulse_fd)
    except OSError:
        return
    wall, mono = time.time(), time.monotonic()
    for pulse in pulses:
        beat_at = wall - mono + pulse.beat if pulse.beat else None
        yield Process(pulse.name, bool(pulse.pid), beat_at, pulse.restarts)
