"""The two smallest queues: task-spooler, with as many slots as there are cores, and nq, which knows only one."""

from __future__ import annotations

import os

from peers.peer import CORES, LONG, ONCE, Scale, answer, debian, debian_version, private, processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from peers.peer import Words


class TaskSpooler:
    """`tsp`, its server started by the first command."""

    name = "tsp"
    # Each queued job is a process connected to the server, which takes 1,000 of them and lets the next wait.
    scale = Scale(ONCE - {"rate", "arrays"}, loop=200, links=200, waiting=900)

    def __init__(self, place: str) -> None:
        self.place = place
        self.environ: dict[str, str] = {}

    def install(self) -> str:
        debian("tsp", "task-spooler")
        return debian_version("task-spooler")

    def start(self) -> None:
        self.environ = {**private(self.place), "TS_SOCKET": f"{self.place}/socket"}
        answer(self, "tsp", "-S", str(CORES))

    def stop(self) -> None:
        answer(self, "tsp", "-K")

    def submit(self, *command: str) -> Words:
        return ["tsp", *command]

    def after(self, *command: str) -> Words:
        return ["tsp", "-d", *command]

    def burst(self, count: int, *command: str) -> list[Words]:
        return self.rate(count, *command)

    def rate(self, count: int, *command: str) -> list[Words]:
        return [self.submit(*command) for _ in range(count)]

    def occupy(self, count: int) -> list[Words]:
        return [["tsp", "-S", str(count)], *(self.submit(*LONG) for _ in range(count))]

    def queued(self, count: int) -> list[Words]:
        return [self.submit("true") for _ in range(count)]

    def listing(self) -> Words | None:
        return ["tsp", "-l"]

    def finish(self, *command: str) -> None:
        answer(self, "sh", "-c", '"$@" && exec tsp -w', "sh", *self.submit(*command))

    def drained(self) -> bool:
        states = [row.split()[1:2] for row in answer(self, "tsp", "-l").splitlines()[1:]]
        return ["running"] not in states and ["queued"] not in states

    def pids(self) -> list[int]:
        return [pid for pid, name in processes(self.place) if name == "tsp"]


class Nq:
    """`nq`, which has no daemon: a queued job is a process that waits for the locks of those before it."""

    name = "nq"
    scale = Scale(frozenset({"one", "loop", "chain", "busy"}), loop=200, links=200)

    def __init__(self, place: str) -> None:
        self.place = place
        self.environ: dict[str, str] = {}

    def install(self) -> str:
        debian("nq", "nq")
        return debian_version("nq")

    def start(self) -> None:
        self.environ = {**private(self.place), "NQDIR": f"{self.place}/queue"}

    def stop(self) -> None:
        """Nothing: what runs is swept away with the place."""

    def submit(self, *command: str) -> Words:
        return ["nq", *command]

    def after(self, *command: str) -> Words:
        return self.submit(*command)

    def burst(self, count: int, *command: str) -> list[Words]:
        return [self.submit(*command) for _ in range(count)]

    def rate(self, count: int, *command: str) -> list[Words]:
        return self.burst(count, *command)

    def occupy(self, count: int) -> list[Words]:
        return [self.submit(*LONG) for _ in range(min(count, 1))]

    def queued(self, count: int) -> list[Words]:
        return self.burst(count, "true")

    def listing(self) -> Words | None:
        return None

    def finish(self, *command: str) -> None:
        answer(self, "sh", "-c", 'id=$("$@") && exec nq -w "$id"', "sh", *self.submit(*command))

    def drained(self) -> bool:
        jobs = [name for name in os.listdir(self.environ["NQDIR"]) if name.startswith((",", ".,"))]
        answer(self, "nq", "-w", *(name.lstrip(".") for name in jobs))
        return True

    def pids(self) -> list[int]:
        return [pid for pid, name in processes(self.place) if name == "nq"]
