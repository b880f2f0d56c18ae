#!/usr/bin/env python3
"""Shows gflow at work: a separate daemon in a temporary directory and a mix of jobs; then cleans everything up.

Run by `make demo`. Checks what it shows: exit status 0 only when each job ended as it should and nothing was left.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.path.dirname(sys.executable)
PATIENCE = 30.0  # seconds that anything here may take

TRAIN = ["--gpus", "1", "--", "python3", os.path.join(HERE, "train.py"), "--epochs", "6", "--pause", "0.4"]

# what each job is, by name: the options and command that submit it, and how it must end
JOBS = {
    "circle-1": ([*TRAIN, "--out", "model.json"], 0),
    "circle-2": ([*TRAIN, "--seed", "2"], 0),
    "waits": (["--gpus", "1", "--wrap", "echo got GPU $CUDA_VISIBLE_DEVICES"], 0),
    "words": (["--", os.path.join(HERE, "pipeline.sh")], 0),
    "fails": (["--wrap", "echo no such data set; exit 3"], 3),
    "too-slow": (["--time", "1s", "--", "sleep", "300"], 124),
    "unwanted": (["--", "sleep", "300"], 130),
}
STATES = {0: "finished", 3: "failed", 124: "timeout", 130: "cancelled"}


class Wrong(Exception):
    """The demonstration has failed."""


class Demo:
    """One demonstration in the directory `root`; `ids` are its jobs by name."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.ids: dict[str, int] = {}
        ours = {name: value for name, value in os.environ.items() if not name.startswith("GFLOW_")}
        self.environ = {
            **ours,
            "PATH": f"{BIN}:{ours.get('PATH', os.defpath)}",
            **({} if sys.prefix == sys.base_prefix else {"VIRTUAL_ENV": sys.prefix}),
            "GFLOW_STATE_DIR": os.path.join(root, "state"),
            "GFLOW_SCHEDULER__CPUS": "8",  # enough for all jobs, so that only GPUs are short
        }

    def quietly(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=self.root, env=self.environ, text=True, capture_output=True, timeout=PATIENCE, check=False
        )

    def show(self, *words: str, status: int = 0, last: int | None = None) -> str:
        """Runs a command and prints it with what it prints; raises `Wrong` when it ends with another status."""
        print(f"\n$ {shlex.join(words).replace(HERE, 'examples')}", flush=True)
        done = self.quietly(*words)
        lines = (done.stdout + done.stderr).splitlines()
        if last is not None and len(lines) > last:
            print(f"... ({len(lines) - last} lines before these)")
            lines = lines[-last:]
        for line in lines:
            print(line)
        if status or words[1] == "wait":
            print(f"(exit status {done.returncode})")
        if done.returncode != status:
            raise Wrong(f"{words[0]} {words[1]} ended with {done.returncode}, not {status}")
        return done.stdout

    def jobs(self) -> dict[str, dict[str, Any]]:
        """Every job by name, as `queue --json` tells."""
        return {job["name"]: job for job in json.loads(self.quietly("gflowctl", "queue", "--all", "--json").stdout)}

    def until(self, wanted: str, fits: Callable[[dict[str, dict[str, Any]]], bool]) -> dict[str, dict[str, Any]]:
        """The jobs once `fits` says so of them."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            jobs = self.jobs()
            if fits(jobs):
                return jobs
            time.sleep(0.05)
        states = ", ".join(f"{name} {job['state']} ({job['reason']})" for name, job in self.jobs().items())
        raise Wrong(f"{wanted}: waited {PATIENCE:.0f} s in vain; now {states}")

    def start(self) -> None:
        """Starts the daemon on two GPUs, real ones where it finds two."""
        if shutil.which("tmux", path=self.environ["PATH"]) is None:
            print("tmux is not installed: jobs run as plain process groups.")
        if os.path.exists("/dev/nvidiactl"):
            self.quietly("gflowd", "start", "--gpus", "0,1")
            if self.gpus_found() >= 2:
                print("The demo uses two real GPUs of this machine.")
                self.show("gflowd", "status")
                return
            self.quietly("gflowd", "stop")
        print("gflow cannot use two GPUs here: it SIMULATES two, and labels them as simulated everywhere.")
        self.show("gflowd", "start", "--simulate-gpus", "2x24G")

    def gpus_found(self) -> int:
        """How many GPUs the daemon sees, once it has looked."""
        deadline = time.monotonic() + 3
        while True:
            gpus = json.loads(self.quietly("gflowd", "status", "--json").stdout)["gpus"]
            if gpus or time.monotonic() > deadline:
                return len(gpus)
            time.sleep(0.1)

    def submit(self) -> None:
        for name, (words, _) in JOBS.items():
            said = self.show("gflowctl", "submit", "--name", name, *words)
            self.ids[name] = int(said.split()[-1])

    def id(self, name: str) -> str:
        return str(self.ids[name])

    def watch(self) -> None:
        """Two jobs have a GPU each, the third waits; one is cancelled."""
        running = ("circle-1", "circle-2", "unwanted")
        jobs = self.until(
            "two GPU jobs at once and a third that waits",
            lambda jobs: (
                all(jobs[name]["state"] == "running" for name in running)
                and (jobs["waits"]["state"], jobs["waits"]["reason"]) == ("queued", "Resources")
            ),
        )
        if sorted(jobs["circle-1"]["gpu_ids"] + jobs["circle-2"]["gpu_ids"]) != [0, 1]:
            raise Wrong("the two GPU jobs do not have GPUs 0 and 1")
        self.show("gflowctl", "queue")
        self.show("gflowctl", "info")
        self.show("gflowctl", "cancel", self.id("unwanted"))

    def results(self) -> None:
        """Each job's own exit status, as `wait` hands it on."""
        for name, (_, status) in JOBS.items():
            self.show("gflowctl", "wait", self.id(name), status=status)
        self.show("gflowctl", "queue", "--all")
        self.show("gflowctl", "log", self.id("circle-1"))
        self.show("gflowctl", "log", self.id("words"), last=2)
        self.show("gflowctl", "show", self.id("too-slow"))
        for name, job in self.jobs().items():
            if job["state"] != STATES[JOBS[name][1]]:
                raise Wrong(f"job {name} is {job['state']}, not {STATES[JOBS[name][1]]}")
        self.check_burst()

    def check_burst(self) -> None:
        """The log of pipeline.sh holds each of its 163,840 numbered lines."""
        text = self.quietly("gflowctl", "log", self.id("words")).stdout
        numbers = [line.split()[0] for line in text.splitlines() if line[:12].isdigit()]
        if numbers != [f"{number:012}" for number in range(1, 163841)]:
            raise Wrong(f"the log of words is not complete: {len(numbers)} of 163840 lines")
        print(f"\nThe log of job {self.id('words')} holds all {len(numbers):,} numbered lines.")

    def stop(self) -> None:
        self.show("gflowd", "stop")
        deadline = time.monotonic() + 5
        while (left := leftovers(self.root)) and time.monotonic() < deadline:
            time.sleep(0.05)
        if left:
            raise Wrong(f"processes were left behind: {left}")


def leftovers(root: str) -> list[int]:
    """Processes, ours excepted, that name `root` in their command line or environment: daemon, jobs, tmux server."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for part in ("cmdline", "environ"):
                with open(f"/proc/{pid}/{part}", "rb") as file:
                    if os.fsencode(root) in file.read() and int(pid) != os.getpid():
                        found.append(int(pid))
                        break
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


def clean_up(root: str) -> None:
    """Ends what is left of the demonstration, however far it came, and removes its directory."""
    subprocess.run(
        [os.path.join(BIN, "gflowd"), "--state-dir", os.path.join(root, "state"), "stop"],
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    for pid in leftovers(root):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    shutil.rmtree(root, ignore_errors=True)
    if os.path.exists(root):
        shutil.rmtree(root)  # once more, now that its last writer is dead


def ended(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ended)
    began = time.monotonic()
    root = tempfile.mkdtemp(prefix="gflow-demo-")
    try:
        demo = Demo(root)
        demo.start()
        demo.submit()
        demo.watch()
        demo.results()
        demo.stop()
    except Wrong as wrong:
        print(f"demo: {wrong}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; cleaning up", file=sys.stderr)
        return 130
    finally:
        clean_up(root)
    print(f"\nAll seven jobs ended as they should, in {time.monotonic() - began:.0f} s.", end=" ")
    print("Nothing is left: no process, no tmux server, no directory.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
