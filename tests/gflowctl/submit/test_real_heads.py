"""Heads of real scripts, with what a real Slurm (22.05, one node, every partition, account and GPU type known) made of
each: gflow makes the same of them, in a fresh directory and before gflowd ever ran.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gflowctl import main
from gflowctl.context import Context
from gflowctl.submit import enqueue
from gflowctl.submit.drafting import Drafter
from gflowd.core.errors import GflowError
from gflowd.core.syntax import durations, memory, ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowd.core.job.model import Spec

HEADS = Path(__file__).parent.parent.parent / "data" / "sbatch-heads.jsonl"
# What made the inputs nameless made these of other words; Slurm had read the words.
NAMELESS = ("--signal=user@example.org", "--signal=B:user@example.org", "--accountacct")
UNKNOWN = "no job "  # a dependency on a job of another cluster
CUT = "# --> Generally depends on your nb of subjects."


def made_of(spec: Spec) -> dict[str, object]:
    """What gflow made of a head, in Slurm's terms."""
    family = spec.family
    return {
        "cpus": spec.cpus,
        "time": spec.time_limit,
        "gpus": spec.gpus,
        "array": None if family is None else (family.ranges, family.max_concurrent),
        "tasks": 1 if spec.tasks is None else spec.tasks.count or 1,
        "memory_mb": spec.memory_mb,
    }


def meant_by_slurm(head: str, told: dict[str, Any]) -> dict[str, object]:
    """What Slurm told of the same job; a part that depends on the site is left out."""
    wanted: dict[str, object] = {"tasks": int(told["tasks"])}
    wanted["time"] = None if told["time"] == "UNLIMITED" else durations.parse(told["time"])
    array, _, at_a_time = (told["array"] or "").partition("%")
    most = int(at_a_time) if at_a_time else None
    wanted["array"] = (ranges.ascending(ranges.parse(array)), most) if array else None
    if told["oversubscribe"] != "NO" and "--cpus-per-gpu" not in head:  # which Slurm counts only at the start
        wanted["cpus"] = int(told["cpus"])
    if told["gres"] is not None:
        count = told["gres"].rpartition(":")[2]
        wanted["gpus"] = int(count) if count.isdigit() else 1
    if told["minmem"] != "0" and re.search(r"^#SBATCH[^#]*--mem[= ]", head, re.MULTILINE):
        wanted["memory_mb"] = memory.parse(told["minmem"])
    return wanted


@pytest.fixture(autouse=True)
def kept_umask() -> Iterator[None]:
    """gflowctl takes its process's umask for the job's, and has one of its own."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_real_heads_mean_what_they_mean_to_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    context = Context({"GFLOW_STATE_DIR": str(tmp_path / "state"), "HOME": str(tmp_path)})
    parser = main.parser("submit")
    refused, other = {}, {}
    cases = [json.loads(line) for line in HEADS.read_text().splitlines()]
    for case in cases:
        head = case["head"]
        if head.endswith(CUT):
            continue
        Path("job.sh").write_text(f"{head}\ntrue\n")
        try:
            draft = Drafter(parser.parse_args(["job.sh"]), context).draft()
            (new,) = enqueue.rehearse([draft], context)
        except GflowError as error:
            refused[head] = str(error)
            continue
        made, meant = made_of(new.spec), meant_by_slurm(head, case["slurm"])
        wrong = {name: (made[name], value) for name, value in meant.items() if made[name] != value}
        if wrong:
            other[head] = wrong
    assert other == {}
    assert not [said for said in refused.values() if not any(each in said for each in (*NAMELESS, UNKNOWN))]
    assert len(refused) <= len(cases) * 0.02
    assert not (tmp_path / "state").exists()
