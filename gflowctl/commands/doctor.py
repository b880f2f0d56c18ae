"""Check the installation: report what works, what is degraded, and how to fix it.

With --cluster NAME, a small job is handed over to that cluster of gflow.toml, too: within a minute it must write into
the directory that the nodes share with this machine.

The exit status is 1 if a check fails.
"""

from __future__ import annotations

from gflowctl.admin import (
    checks,
    cluster_checks,
    file_checks,
    metrics_checks,
    notifications,
    queue_checks,
    service_checks,
    shared_checks,
)  # fmt: skip
from gflowctl.output import render
from gflowd import command_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context

CHECKS = (
    *checks.CHECKS, *shared_checks.CHECKS, *service_checks.CHECKS, *metrics_checks.CHECKS, *notifications.CHECKS,
    *cluster_checks.CHECKS, *file_checks.CHECKS, *queue_checks.CHECKS,
)  # fmt: skip
COLORS = {checks.OK: render.GREEN, checks.WARN: render.YELLOW, checks.FAIL: render.RED}


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    parser.add_argument("--cluster", metavar="NAME", help="also try this cluster of gflow.toml with a job")
    command_line.add_timezone(parser, command_line.SHOWS)
    command_line.add_json(parser, "print a JSON list of what was checked")


def run(args: argparse.Namespace, context: Context) -> int:
    """Prints the findings."""
    asked = CHECKS if args.cluster is None else (*CHECKS, cluster_checks.probe_of(args.cluster))
    found = [finding for check in asked for finding in checks.guarded(check, context)]
    findings = list({finding.text: finding for finding in found}.values())  # one problem may affect several checks
    if args.json:
        render.write_json([{"level": each.level, "remedy": each.remedy, "text": each.text} for each in findings])
    else:
        color = render.use_color(args.color)
        for finding in findings:
            level = render.paint(finding.level.ljust(4), COLORS[finding.level], on=color)
            remedy = f": {finding.remedy}" if finding.remedy else ""
            render.write(f"{level}  {render.escape(finding.text + remedy)}\n")
    return int(any(finding.level == checks.FAIL for finding in findings))
