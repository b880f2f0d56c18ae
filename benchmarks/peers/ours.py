"""gflow itself as one of the peers, with either executor."""

from __future__ import annotations

import json
import os
import shutil

import gflowd
from peers.peer import CORES, LONG, ONCE, SIZES, Missing, Scale, answer, private, processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rig import Bench

    from peers.peer import Words


class Ours:
    """gflow in the plain environment of a Bench. With `single`, a long queue is of single jobs, not arrays."""

    def __init__(self, place: str, bench: Bench, executor: str, *, single: bool = False) -> None:
        self.name = f"gflow {executor}"
        parts = ONCE | {"growth"} if executor == "process" else ONCE
        if single:
            self.name, parts = "gflow process, single jobs", frozenset({"growth"})
        self.scale = Scale(parts, loop=200, links=200, rate=1_000, sizes=SIZES)
        self.place, self.bench, self.executor, self.single = place, bench, executor, single
        self.environ: dict[str, str] = {}

    def install(self) -> str:
        if self.executor == "tmux" and shutil.which("tmux") is None:
            raise Missing("tmux is not installed")
        return gflowd.__version__

    def start(self) -> None:
        self.environ = {
            **private(self.place, self.bench.environ["PATH"]),
            "GFLOW_STATE_DIR": f"{self.place}/state",
            "GFLOW_EXECUTOR__TYPE": self.executor, "GFLOW_EXECUTOR__GRACE": "1s",
        }  # fmt: skip
        answer(self, "gflowd", "start")

    def stop(self) -> None:
        answer(self, "gflowctl", "cancel", "--all")
        answer(self, "gflowd", "stop")

    def submit(self, *command: str) -> Words:
        return ["gflowctl", "submit", "--parsable", *command]

    def after(self, *command: str) -> Words:
        return self.submit("-d", "@", *command)

    def burst(self, count: int, *command: str) -> list[Words]:
        return [self.submit("--array", f"1-{count}", "--cpus", "0", *command)]

    def rate(self, count: int, *command: str) -> list[Words]:
        return [self.submit("--array", f"1-{count}", *command)]

    def occupy(self, count: int) -> list[Words]:
        return [
            self.submit("--cpus", str(CORES), *LONG),
            *(self.submit("--cpus", "0", *LONG) for _ in range(count - 1)),
        ]

    def queued(self, count: int) -> list[Words]:
        if count == 1:
            return [self.submit("true")]
        if not self.single:
            return [self.submit("--array", f"1-{count}", "true")]
        path = os.path.join(self.place, "jobs.jsonl")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(json.dumps({"command": ["true", str(number)]}) + "\n" for number in range(count))
        return [self.submit("--from", path)]

    def listing(self) -> Words | None:
        return ["gflowctl", "queue", *(() if self.single else ("-r",))]

    def finish(self, *command: str) -> None:
        answer(self, "gflowctl", "submit", "--wait", *command)

    def drained(self) -> bool:
        left = ",".join(str(job["id"]) for job in json.loads(answer(self, "gflowctl", "queue", "--json")))
        if left:
            answer(self, "gflowctl", "wait", left)
        return True

    def pids(self) -> list[int]:
        status = json.loads(answer(self, "gflowd", "status", "--json"))
        tmux = [pid for pid, name in processes(self.place) if name.startswith("tmux: server")]
        return [status["pid"], *(worker["pid"] for worker in status["workers"]), *tmux]
