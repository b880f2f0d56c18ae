"""Checks of `doctor` on clusters: whether they answer, and with a job whether their nodes see the same directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from functools import partial

from gflowctl.admin.checks import FAIL, OK, WARN, Finding
from gflowctl.machine import cluster_states
from gflowd.core.cluster import programs
from gflowd.core.errors import SystemFailed
from gflowd.core.syntax.plurals import noun

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowctl.admin.checks import Check
    from gflowctl.context import Context
    from gflowd.core.cluster.cluster_settings import Cluster

QUICKLY = 10.0  # seconds in which sinfo answers
PATIENCE, AGAIN = 60.0, 0.2  # seconds: for the probe job, and between looks
UNKNOWN = "squeue does not say"
NODE = "node"  # the file that it writes
SEEN_HERE = "[cluster.NAME] directory must be one that this machine and all nodes see under the same name"
COMMANDS = "are Slurm's programs on the PATH, or does command_prefix lead to them?"


def configured(context: Context) -> Iterator[Finding]:
    """Each has a directory that can be written to, and answers."""
    for cluster in context.configuration().clusters.values():
        if (why := _why_unusable(cluster.directory)) is not None:
            yield Finding(FAIL, f"cluster {cluster.name}: {cluster.directory} {why}", SEEN_HERE)
        try:
            found = cluster_states.partitions(cluster, QUICKLY)
        except SystemFailed as error:
            yield Finding(WARN, str(error), COMMANDS)
            continue
        names = list(dict.fromkeys(each.partition for each in found if each.count))
        if not names:
            where = "" if cluster.partition is None else f" in partition {cluster.partition}"
            yield Finding(WARN, f"cluster {cluster.name} has no nodes{where}", "see sinfo")
        else:
            tried = f"gflowctl doctor --cluster {cluster.name} tries a job there"
            told = f"{noun(len(names), 'partition')} {', '.join(names)}"
            yield Finding(OK, f"cluster {cluster.name} answers ({told}); {tried}")


def _why_unusable(directory: str) -> str | None:
    """Asked by a program of its own: the directory may hang."""
    test = ["test", "-d", directory, "-a", "-w", directory, "-a", "-x", directory]
    try:
        done = subprocess.run(test, capture_output=True, check=False, timeout=QUICKLY)
    except subprocess.TimeoutExpired:
        return f"does not answer within {QUICKLY:g} s"
    return "is not a directory that you may write to" if done.returncode else None


def probe_of(name: str) -> Check:
    """A check that hands a job over to the cluster of that name."""
    check = partial(_probe, name=name)
    check.__name__ = f"cluster {name}"  # type: ignore[attr-defined]
    return check


def _probe(context: Context, *, name: str) -> Iterator[Finding]:
    (cluster,) = cluster_states.chosen(context, name)
    if (why := _why_unusable(cluster.directory)) is not None:
        yield Finding(FAIL, f"cluster {cluster.name}: {cluster.directory} {why}", SEEN_HERE)
        return
    place = tempfile.mkdtemp(prefix="gflow-probe-", dir=cluster.directory)
    try:
        yield _tried(cluster, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _tried(cluster: Cluster, place: str) -> Finding:
    """Of a job that writes its node's name into the new directory `place`."""
    path, began = os.path.join(place, NODE), time.monotonic()
    words = (
        "sbatch", "--parsable", "--no-requeue", "--job-name=gflow-probe", "--time=1", "--chdir=/",
        "--output=/dev/null", "--error=/dev/null", *programs.submission(cluster),
    )  # fmt: skip
    script = f"#!/bin/sh\necho \"$SLURMD_NODENAME\" >'{path}.new' && mv '{path}.new' '{path}'\n"
    job = cluster_states.asked(cluster, words, text=script).split(";")[0].strip()
    named = f"cluster {cluster.name}: the probe job {job}"
    try:
        while time.monotonic() < began + PATIENCE:
            if (node := _read(path)) is not None:
                took = time.monotonic() - began
                return Finding(OK, f"{named} ran on {node} and wrote into {cluster.directory} within {took:.1f} s")
            if (state := _state(cluster, job)) is None:
                os.listdir(place)  # on NFS, what is there now
                if _read(path) is None:
                    return Finding(FAIL, f"{named} is over, but wrote nothing into {cluster.directory}", SEEN_HERE)
            time.sleep(AGAIN)
        return Finding(WARN, f"{named} has not run within {PATIENCE:g} s ({state}); it was cancelled", "see sinfo")
    finally:
        with contextlib.suppress(SystemFailed):
            cluster_states.asked(cluster, ("scancel", job))


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip() or "a node"
    except OSError:
        return None


def _state(cluster: Cluster, job: str) -> str | None:
    """Its state and reason in Slurm's words; None once it has ended."""
    try:
        found = cluster_states.asked(cluster, ("squeue", "--noheader", f"--jobs={job}", "--format=%T %r")).strip()
    except SystemFailed:
        return UNKNOWN
    return found or None


CHECKS: tuple[Check, ...] = (configured,)
