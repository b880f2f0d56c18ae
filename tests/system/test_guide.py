"""The examples of the documents are true: what a reader would paste is run, and what the page says comes out.

Heavy programs (`python train.py`, torchrun) are small stand-ins on the PATH; everything else is real.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from support import pages
from support.machine import ROOT, Machine, new_machine

if TYPE_CHECKING:
    from collections.abc import Iterator

MAN = ROOT / "man"
STAND_INS = {
    "python": f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n',
}

FILES = {
    "train.py": "import sys; print(*sys.argv[1:])",
    "part.sh": "#!/bin/sh\necho part $GFLOW_ARRAY_TASK_ID",
    "train.sbatch": '#!/bin/sh\n#SBATCH --time=5\necho "$@"',
    "grid.csv": "lr,layers\n0.1,2\n0.01,4\n",
    "jobs.jsonl": '{"command": ["python", "train.py"], "gpus": 1}\n',
    "Makefile": "dataset:\n\ttrue\n",
}


@pytest.fixture(scope="module")
def reader() -> Iterator[Machine]:
    """A machine as the documents assume it: four GPUs, many cores, and the programs that they call."""
    with new_machine() as found:
        for name, text in STAND_INS.items():
            (found.bin / name).write_text(text)
            (found.bin / name).chmod(0o755)
        found.write_config(scheduler={"cpus": 64}, executor={"type": "process"}, gpu={"simulate": "4x24G"})
        found.start()
        yield found


def shell(reader: Machine, command: str) -> str:
    """What a reader sees who types that."""
    done = reader.run("sh", "-c", command)
    assert done.returncode == 0, done
    return done.stdout + done.stderr


def test_the_session_about_arrays_and_sweeps_is_true(reader: Machine) -> None:
    page = (MAN / "gflow.7").read_text()
    with reader.visit():
        for block in pages.examples(pages.section(page, ".SS Arrays and sweeps")):
            for command, expected in pages.steps(block):
                assert shell(reader, command).strip() == expected, command


def test_every_example_of_submit_runs(reader: Machine) -> None:
    earlier = reader.jobs().keys()
    with reader.visit():
        for name, text in FILES.items():
            (reader.work / name).write_text(text)
        for block in pages.examples((MAN / "gflowctl-submit.inc").read_text()):
            for command, _ in pages.steps(block):
                shell(reader, command)
        jobs = reader.jobs()
        ids = sorted(jobs.keys() - earlier)
        tonight = [number for number in ids if jobs[number]["begin_at"]]
        reader.cancel(*tonight)
        reader.ctl("wait", f"{ids[0]}-{ids[-1]}", check=False)
        jobs = reader.jobs()
        assert [number for number in ids if jobs[number]["state"] != "finished"] == tonight
        elements = [number for number in ids if jobs[number]["array_id"]]
        said = sorted((reader.attempt(number) / "log").read_text().strip() for number in elements)
    parts = [f"part {index}" for index in range(1, 21)]
    grid = [f"--lr {lr} --seed {seed}" for lr in (0.1, 0.01) for seed in (1, 2, 3)]
    assert said == sorted([*parts, *grid, "--lr 0.1 --layers 2", "--lr 0.01 --layers 4"])
