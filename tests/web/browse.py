#!/usr/bin/env python3
"""The page in a real browser, with a realistic queue: pictures, keyboard, no script, other sites, console errors.

Usage: browse.py PLAYWRIGHT_CORE CHROMIUM PICTURES (the beginning of their names). Run by `make web-test`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent), str(HERE)]  # the packages before the tests of that name

import scene  # noqa: E402 -- a script: its neighbours are found by the line above
from support.machine import Machine, new_machine  # noqa: E402 -- likewise

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def served(machine: Machine) -> Iterator[str]:
    """gflowctl web, by the address that it prints."""
    words = [str(machine.bin / "gflowctl"), "web", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(words, env=machine.env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            assert process.wait(20) == 0


def main() -> None:
    """Fails where anything is wrong."""
    library, chromium, pictures = sys.argv[1:]
    with new_machine(Machine) as machine:
        machine.write_config(scheduler={"cpus": 16, "memory": "512G"})
        scene.past(machine)
        machine.start("--simulate-gpus", "4x40G")
        try:
            ids = scene.make(machine)
            with served(machine) as url:
                pages = {
                    "queue": "/", "ended": "/?state=ended", "job": f"/jobs/{ids['train']}",
                    "failed": f"/jobs/{ids['fails']}", "attempts": f"/jobs/{ids['retried']}",
                    "waiting": f"/jobs/{ids['queued']}", "array": f"/jobs/{ids['array']}", "gpus": "/gpus",
                    "reservations": "/reservations", "statistics": "/statistics",
                    "ask": f"/ask?do=cancel&job={ids['queued']}&job={ids['train']}",
                }  # fmt: skip
                told = {"pages": pages, "job": str(ids["train"]), "hostile": str(ids["hostile"])}
                words = ["node", str(Path(__file__).parent / "look.mjs"), library, chromium, url, pictures]
                env = os.environ | {"TMPDIR": str(machine.root)}  # where Chromium leaves files
                subprocess.run(words, input=json.dumps(told), text=True, check=True, timeout=300, env=env)
        finally:
            machine.ctl("cancel", "--all")
            machine.ctl("wait", *map(str, machine.jobs()), check=False)


if __name__ == "__main__":
    main()
