#!/usr/bin/env python3
"""Feeds every parser with what a coverage-guided fuzzer (atheris) comes up with. See `make fuzz`.

    fuzz.py SECONDS [NAME...]

Each parser gets an equal share of the time, in a process of its own. Ends with 1 when one raised what it must not; the
input is then kept beside the interpreter's virtual environment.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGETS = "fuzz_targets"  # in tests/gflowd/core
FINDINGS = os.path.join(sys.prefix, "findings")


def main() -> int:
    sys.path[:0] = [ROOT, os.path.join(ROOT, "tests", "gflowd", "core")]
    if sys.argv[1] == "--one":
        return one(sys.argv[2], sys.argv[3:])
    targets = importlib.import_module(TARGETS).TARGETS

    names = sys.argv[2:] or list(targets)
    seconds = max(1, int(sys.argv[1]) // len(names))
    failed = [name for name in names if not holds(name, targets[name][1], seconds)]
    print(f"fuzz: {len(names) - len(failed)} of {len(names)} parsers held {seconds} s each")
    for name in failed:
        print(f"fuzz: {name} did not; the input is in {FINDINGS}")
    return int(bool(failed))


def holds(name: str, words: Sequence[str], seconds: int) -> bool:
    """Runs the fuzzer on one parser; shows what it says only when it found something."""
    os.makedirs(FINDINGS, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gf-fuzz-") as place:
        dictionary, corpus = os.path.join(place, "words"), os.path.join(place, "corpus")
        os.mkdir(corpus)
        with open(dictionary, "w", encoding="ascii") as file:
            file.writelines('"' + "".join(f"\\x{byte:02x}" for byte in word.encode()) + '"\n' for word in words)
        for number, word in enumerate(words):
            with open(os.path.join(corpus, str(number)), "wb") as seed:
                seed.write(word.encode())
        kept = os.path.join(FINDINGS, name.replace(" ", "-") + "-")
        options = [f"-max_total_time={seconds}", f"-dict={dictionary}", f"-artifact_prefix={kept}", "-max_len=4096"]
        command = [sys.executable, os.path.abspath(__file__), "--one", name, *options, corpus]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        print(done.stdout[-4000:])
    return done.returncode == 0


def one(name: str, options: list[str]) -> int:
    """Is the fuzzer of one parser; it ends the process itself."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["gflowd", "gflowctl", "tomllib", "tarfile"]):
        targets = importlib.import_module(TARGETS)
    atheris.Setup(["fuzz", *options], lambda data: targets.run(name, data))
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
