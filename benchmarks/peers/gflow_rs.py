"""The gflow of which ours is a reimplementation, written in Rust: `runqd` on PyPI, with either executor."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys

from peers.peer import LONG, ONCE, PATH, SIZES, Failed, Missing, Scale, answer, private, processes, until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from peers.peer import Words

LARGEST = 1_000  # elements of an array, which it refuses to go beyond
NEVER = "64"  # GPUs: a job that wants more than there are waits, while one that wants none always starts at once
CONFIG = '[daemon]\nhost = "127.0.0.1"\nport = {port}\n[executor]\ntype = "{executor}"\n'


class GflowRs:
    """Its daemon, hosted by us as `gflowd start` would host it, in a home of its own."""

    def __init__(self, place: str, cache: str, executor: str) -> None:
        self.name, self.place, self.executor = f"gflow-rs {executor}", place, executor
        self.cache = os.path.join(cache, "runqd")
        self.programs = os.path.join(self.cache, "bin")
        # In tmux each job takes a second; without, an end is noticed by a look every ten seconds.
        self.scale = Scale(ONCE - {"arrays"}, loop=10, links=5, rate=20, calm=1.5)
        if executor == "process":
            self.scale = Scale(ONCE | {"growth"}, loop=200, links=3, rate=200, sizes=SIZES, calm=0.2)
        self.environ: dict[str, str] = {}
        self.daemon: subprocess.Popen[bytes] | None = None
        self.port = 0

    def install(self) -> str:
        if self.executor == "tmux" and shutil.which("tmux") is None:
            raise Missing("tmux is not installed")
        if not os.path.exists(os.path.join(self.programs, "gbatch")):
            steps = (
                [sys.executable, "-m", "venv", "--clear", self.cache],
                [f"{self.programs}/python", "-m", "pip", "install", "-qq", "--disable-pip-version-check", "runqd"],
            )
            for words in steps:
                done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
                if done.returncode:
                    raise Missing(f"pip install runqd failed: {''.join(done.stderr.strip().splitlines()[-1:])}")
        self.environ = private(self.place, f"{self.programs}:{PATH}")
        return answer(self, "gflowd", "--version").split()[1]

    def start(self) -> None:
        self.environ = private(self.place, f"{self.programs}:{PATH}")
        home = self.environ["HOME"]
        # A job ends by a `gcancel` that its login shell must find, else it stays Running for ever.
        with open(os.path.join(home, ".profile"), "w", encoding="utf-8") as file:
            file.write(f"export PATH={self.programs}:$PATH\n")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        os.makedirs(f"{home}/config/gflow")
        with open(f"{home}/config/gflow/gflow.toml", "w", encoding="utf-8") as file:
            file.write(CONFIG.format(port=self.port, executor=self.executor))
        self.daemon = subprocess.Popen(
            [f"{self.programs}/gflowd", "-vvv"], env=self.environ,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until(lambda: self._ask("/info"), 20, "the start of its daemon")
        except Failed as error:
            raise Missing(str(error)) from None

    def stop(self) -> None:
        if self.daemon:
            self.daemon.terminate()
            try:
                self.daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()
        self.daemon = None

    def _ask(self, path: str) -> bytes:
        """What its daemon answers; nothing while it is not there."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        except OSError:
            return b""
        finally:
            connection.close()

    def submit(self, *command: str) -> Words:
        return ["gbatch", *command]

    def after(self, *command: str) -> Words:
        return self.submit("-d", "@", *command)

    def burst(self, count: int, *command: str) -> list[Words]:
        return [self.submit("--array", f"1-{count}", *command)]

    def rate(self, count: int, *command: str) -> list[Words]:
        return self.burst(count, *command)

    def occupy(self, count: int) -> list[Words]:
        return [self.submit(*LONG) for _ in range(count)]

    def queued(self, count: int) -> list[Words]:
        parts = [min(LARGEST, count - done) for done in range(0, count, LARGEST)]
        arrays: list[Words] = [["--array", f"1-{part}"] if part > 1 else [] for part in parts]
        return [self.submit("--gpus", NEVER, *array, "true") for array in arrays]

    def listing(self) -> Words | None:
        return ["gqueue"]

    def finish(self, *command: str) -> None:
        answer(self, *self.submit(*command))
        until(self.drained, 60, "to notice the end of a job")

    def drained(self) -> bool:
        found = self._ask("/jobs")
        return found.startswith(b"[") and b'"state":"Running"' not in found and b'"state":"Queued"' not in found

    def pids(self) -> list[int]:
        assert self.daemon
        return [self.daemon.pid, *(pid for pid, name in processes(self.place) if name.startswith("tmux: server"))]
