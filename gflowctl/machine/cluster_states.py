"""Asks the clusters of the configuration how they are. Waits for their answers; hands nothing over."""

from __future__ import annotations

import subprocess

from gflowctl.output import render
from gflowctl.view import views
from gflowd.core.cluster import programs
from gflowd.core.errors import Refused, SystemFailed
from gflowd.core.job.model import ENDED_STATES, STATES
from gflowd.core.job.records import PHASE, phase_name
from gflowd.core.request.cluster_options import FOR_ALL_USERS
from gflowd.core.syntax import memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from gflowctl.context import Context
    from gflowd.core.cluster.cluster_settings import Cluster
    from gflowd.core.cluster.programs import Nodes

TIMEOUT = 30.0  # seconds
NONE = "no cluster is configured; see [cluster.NAME] in gflow.toml(5)"


def chosen(context: Context, name: str | None) -> list[Cluster]:
    """That of the configuration with this name, or all. Raises `Refused` if there is none."""
    if context.state.shared is not None:
        raise Refused(f"--cluster: {FOR_ALL_USERS}")
    known = context.configuration().clusters
    if not known:
        raise Refused(NONE)
    if name is None:
        return list(known.values())
    if name not in known:
        raise Refused(f"{name[:40]!r} is not a cluster of gflow.toml (they are {', '.join(known)})")
    return [known[name]]


def asked(cluster: Cluster, words: Sequence[str], timeout: float = TIMEOUT, text: str = "") -> str:
    """What one of Slurm's programs says there. Raises `SystemFailed` with why it does not."""
    command = programs.words(cluster, words)
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout, check=False, input=text.encode())
    except OSError as error:
        raise SystemFailed(f"cluster {cluster.name}: {command[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise SystemFailed(f"cluster {cluster.name}: {words[0]} did not answer within {timeout:g} s") from None
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())[:300]
        raise SystemFailed(f"cluster {cluster.name}: {said or f'{words[0]} ended with status {done.returncode}'}")
    return done.stdout.decode(errors="replace")


def partitions(cluster: Cluster, timeout: float = TIMEOUT) -> list[Nodes]:
    """Its nodes by partition and state, of the partition that jobs go to, if the configuration names one. Raises
    `SystemFailed`.
    """
    found = programs.partitions(asked(cluster, programs.PARTITIONS, timeout))
    wanted = None if cluster.partition is None else cluster.partition.split(",")
    return [nodes for nodes in found if wanted is None or nodes.partition in wanted]


def numbers(context: Context) -> dict[str, dict[str, int]]:
    """By cluster how many of its jobs that have not ended are in each state."""
    view = views.View(context, context.store.read())
    found: dict[str, dict[str, int]] = {}
    for job_id, phase in view.fold.of(PHASE).items():
        name = (phase.get("run") or {}).get("cluster")
        if name is None or view.has_ended(job_id):
            continue
        by_state = found.setdefault(name, {})
        state = phase_name(phase)
        by_state[state] = by_state.get(state, 0) + 1
    order = [state for state in STATES if state not in ENDED_STATES]
    return {name: {state: by[state] for state in order if state in by} for name, by in found.items()}


def document(context: Context, name: str | None) -> list[dict[str, Any]]:
    """As `info --cluster --json`: each cluster with its nodes, or with why it does not answer."""
    jobs = numbers(context)
    found = []
    for cluster in chosen(context, name):
        nodes: list[Nodes] = []
        trouble = None
        try:
            nodes = partitions(cluster)
        except SystemFailed as error:
            trouble = str(error)
        found.append(
            {
                "name": cluster.name, "engine": cluster.engine, "directory": cluster.directory, "trouble": trouble,
                "jobs": jobs.get(cluster.name, {}), "nodes": [_record(each) for each in nodes],
            }
        )  # fmt: skip
    return found


def _record(nodes: Nodes) -> dict[str, Any]:
    return {
        "partition": nodes.partition, "state": nodes.state, "count": nodes.count, "cpus": nodes.cpus,
        "memory_mb": nodes.memory_mb, "time_limit": nodes.time_limit, "gpus": nodes.gpus,
    }  # fmt: skip


def page(context: Context, name: str | None, *, color: bool) -> str:
    """The same for people."""
    return "\n".join(_block(each, color=color) for each in document(context, name))


def _block(found: Mapping[str, Any], *, color: bool) -> str:
    jobs = ", ".join(f"{number} {state}" for state, number in found["jobs"].items()) or "none"
    head = [
        f"{render.paint('Cluster:'.ljust(11), render.BOLD, on=color)}{found['name']} ({found['engine']})",
        f"{render.paint('Directory:'.ljust(11), render.BOLD, on=color)}{render.escape(found['directory'])}",
        f"{render.paint('Jobs:'.ljust(11), render.BOLD, on=color)}{jobs}",
    ]
    if found["trouble"] is not None:
        trouble = render.paint(render.escape(found["trouble"]), render.RED, on=color)
        head.append(f"{render.paint('Trouble:'.ljust(11), render.BOLD, on=color)}{trouble}")
        return "".join(f"{line}\n" for line in head)
    columns = [
        render.Column("PARTITION", flexible=True), render.Column("STATE"), render.Column("NODES", right=True),
        render.Column("CPUS", right=True), render.Column("MEMORY", right=True), render.Column("TIMELIMIT", right=True),
        render.Column("GPUS", flexible=True),
    ]  # fmt: skip
    rows = [
        (None, [each["partition"], each["state"], str(each["count"]), each["cpus"], _memory(each["memory_mb"]),
                each["time_limit"], each["gpus"] or "-"])
        for each in found["nodes"]
    ]  # fmt: skip
    wide = render.terminal_columns() if render.is_terminal() else 0
    return "".join(f"{line}\n" for line in head) + render.table(columns, rows, color=color, columns_wide=wide)


def _memory(text: str) -> str:
    """`32000+`, in MiB, as `31G+`."""
    number = text.rstrip("+")
    return f"{memory.about(int(number))}{text[len(number) :]}" if number.isdecimal() else text
