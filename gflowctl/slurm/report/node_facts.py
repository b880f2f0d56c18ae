"""What sinfo tells of the one node and the one partition: the title and the content of each column."""

from __future__ import annotations

import os
import re
import time

from gflowctl.machine import drain
from gflowctl.slurm.report.facts import NULL, STANDARD
from gflowd.core.slurm import site

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gflowctl.context import Context

    Tell = Callable[["Node"], str]

USUAL = "%9P %.5a %.10l %.6D %.6t %N"
LONG = "%9P %.5a %.10l %.10s %.4r %.8h %.10g %.6D %.11T %N"
SUMMARY = "%9P %.5a %.10l %.16F %N"
NODES = "%{width}N %.6D %.9P %6t"
LONG_NODES = "%{width}N %.6D %.9P %.11T %4c %.8z %.6m %.8d %.6w %.8f %20E"
REASONS = "%20E %9u %19H %N"
LEAST_WIDTH = 9  # of a node's name
COMPACT = {
    "allocated": "alloc", "mixed": "mix", "drained": "drain", "draining": "drng", "idle": "idle", "down": "down",
    "unknown": "unk",
}  # fmt: skip
STATES = (  # those that sinfo(1) can be asked for
    "unknown", "down", "idle", "allocated", "mixed", "future", "drain", "drained", "draining", "no_respond", "reserved",
    "perfctrs", "cloud", "completing", "powering_down", "powered_down", "power_down", "powering_up", "fail", "maint",
    "reboot", "planned", "blocked",
)  # fmt: skip


class Node:
    """The machine as the daemon last saw it. `is_shown`: whether the node is among those that were asked for."""

    def __init__(self, context: Context) -> None:
        self.is_shown = True
        self.seen = context.observed
        self.name = site.node(os.uname().nodename)
        self.drain = drain.of(context.store.read())
        self.is_up = context.daemon_runs
        self.cpus = self.seen.cpus or 0
        self.used_cpus = self.seen.used_cpus or 0

    @property
    def state(self) -> str:
        """One of `COMPACT`."""
        if not self.is_up:
            return "down" if self.seen.is_known else "unknown"
        if self.drain is not None:
            return "draining" if self.used_cpus else "drained"
        if not self.used_cpus:
            return "idle"
        return "allocated" if self.used_cpus >= self.cpus else "mixed"

    def matches(self, asked: str) -> bool:
        """Whether it is in a state that sinfo was asked for."""
        return self.state == asked or COMPACT[self.state] == asked or (asked == "drain" and self.drain is not None)

    @property
    def gres(self) -> str:
        """`gpu:nvidia_a100-sxm4-80gb:4`: what --gres takes; (null) without GPUs."""
        return self._gres({model: count for model, count in self._models(lambda _: True).items() if count})

    @property
    def gres_used(self) -> str:
        """As `gres`, of the GPUs that jobs have."""
        return self._gres(self._models(bool))

    def _models(self, counts: Callable[[list[int]], bool]) -> dict[str, int]:
        found: dict[str, int] = {}
        for gpu in self.seen.gpus:
            kind = re.sub(r"[^a-z0-9_.-]+", "_", gpu.model.lower())
            found[kind] = found.get(kind, 0) + counts(gpu.jobs)
        return found

    def _gres(self, models: dict[str, int]) -> str:
        return ",".join(f"gpu:{model}:{count}" for model, count in models.items()) or NULL

    @property
    def reason(self) -> str:
        """Why it starts no jobs."""
        if not self.is_up:
            return "gflowd is not running"
        return "none" if self.drain is None else self.drain.get("reason") or "drained"

    @property
    def reason_user(self) -> str:
        """Who let it start no more."""
        return UNKNOWN if self.drain is None else str(self.drain["by"])

    @property
    def reason_at(self) -> str:
        """Since when it starts none."""
        return UNKNOWN if self.drain is None else time.strftime(STANDARD, time.localtime(self.drain["at"]))

    def counts(self, *, total: bool = True) -> str:
        """`0/1/0/1`: nodes that are allocated, idle, other, and all."""
        taken, idle = self.state in ("allocated", "mixed", "draining"), self.state == "idle"
        numbers = [taken, idle, not taken and not idle, True] if total else [taken, idle]
        return "/".join(str(int(number and self.is_shown)) for number in numbers)

    def cpu_counts(self) -> str:
        """`2/6/0/8`: CPUs that are allocated, idle, other, and all."""
        left = self.cpus - self.used_cpus
        closed = not self.is_up or self.drain is not None
        return f"{self.used_cpus}/{0 if closed else left}/{left if closed else 0}/{self.cpus}"


UNKNOWN = "Unknown"


def _always(text: str) -> Tell:
    return lambda _: text


def _shown(tell: Tell, missing: str = "") -> Tell:
    return lambda node: tell(node) if node.is_shown else missing


def _compact(node: Node) -> str:
    return COMPACT[node.state] + "*" * (not node.is_up)


def _long(node: Node) -> str:
    return node.state + "*" * (not node.is_up)


LETTERS: dict[str, tuple[str, Tell]] = {
    "a": ("AVAIL", _always("up")),
    "A": ("NODES(A/I)", lambda node: node.counts(total=False)),
    "b": ("ACTIVE_FEATURES", _always(NULL)),
    "B": ("MAX_CPUS_PER_NODE", _always("UNLIMITED")),
    "c": ("CPUS", _shown(lambda node: str(node.cpus), "0")),
    "C": ("CPUS(A/I/O/T)", _shown(Node.cpu_counts, "0/0/0/0")),
    "d": ("TMP_DISK", _always("0")),
    "D": ("NODES", _shown(_always("1"), "0")),
    "e": ("FREE_MEM", lambda _: str(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20)),
    "E": ("REASON", lambda node: node.reason),
    "f": ("AVAIL_FEATURES", _always(NULL)),
    "F": ("NODES(A/I/O/T)", Node.counts),
    "g": ("GROUPS", _always("all")),
    "G": ("GRES", _shown(lambda node: node.gres)),
    "h": ("OVERSUBSCRIBE", _always("NO")),
    "H": ("TIMESTAMP", lambda node: node.reason_at),
    "I": ("PRIO_JOB_FACTOR", _always("1")),
    "l": ("TIMELIMIT", _always("infinite")),
    "m": ("MEMORY", _shown(lambda node: str(node.seen.memory_mb or 0), "0")),
    "M": ("PREEMPT_MODE", _always("OFF")),
    "n": ("HOSTNAMES", _shown(lambda node: node.name)),
    "N": ("NODELIST", _shown(lambda node: node.name)),
    "o": ("NODE_ADDR", _shown(lambda node: node.name)),
    "O": ("CPU_LOAD", lambda _: f"{os.getloadavg()[0]:.2f}"),
    "p": ("PRIO_TIER", _always("1")),
    "P": ("PARTITION", _always(f"{site.PARTITION}*")),
    "r": ("ROOT", _always("no")),
    "R": ("PARTITION", _always(site.PARTITION)),
    "s": ("JOB_SIZE", _always("1")),
    "S": ("ALLOCNODES", _always("all")),
    "t": ("STATE", _shown(_compact, "n/a")),
    "T": ("STATE", _shown(_long, "n/a")),
    "u": ("USER", lambda node: node.reason_user),
    "U": ("USER", lambda node: node.reason_user),
    "v": ("VERSION", _always(site.VERSION)),
    "V": ("CLUSTER", _always(site.CLUSTER)),
    "w": ("WEIGHT", _always("1")),
    "X": ("SOCKETS", _shown(lambda node: str(node.cpus), "0")),
    "Y": ("CORES", _always("1")),
    "z": ("S:C:T", _shown(lambda node: f"{node.cpus}:1:1", "0:0:0")),
    "Z": ("THREADS", _always("1")),
}
_SAME = {
    "available": "a", "nodeai": "A", "features_act": "b", "maxcpuspernode": "B", "cpus": "c", "cpusstate": "C",
    "disk": "d", "nodes": "D", "freemem": "e", "reason": "E", "features": "f", "nodeaiot": "F", "groups": "g",
    "gres": "G", "oversubscribe": "h", "timestamp": "H", "priorityjobfactor": "I", "time": "l", "memory": "m",
    "preemptmode": "M", "nodehost": "n", "nodelist": "N", "nodeaddr": "o", "cpusload": "O", "prioritytier": "p",
    "partition": "P", "root": "r", "partitionname": "R", "size": "s", "allocnodes": "S", "statecompact": "t",
    "statelong": "T", "user": "u", "userlong": "U", "version": "v", "cluster": "V", "weight": "w", "sockets": "X",
    "cores": "Y", "socketcorethread": "z", "threads": "Z",
}  # fmt: skip
NAMES: dict[str, tuple[str, Tell]] = {
    **{name: LETTERS[letter] for name, letter in _SAME.items()},
    "allocmem": ("ALLOCMEM", lambda node: str(node.seen.used_memory_mb or 0)),
    "comment": ("COMMENT", _always(NULL)),
    "defaulttime": ("DEFAULTTIME", _always("n/a")),
    "extra": ("EXTRA", _always(NULL)),
    "gresused": ("GRES_USED", _shown(lambda node: node.gres_used)),
    "statecomplete": ("STATECOMPLETE", _shown(_long, "n/a")),
}
