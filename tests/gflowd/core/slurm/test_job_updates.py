"""The words of `scontrol update`."""

from __future__ import annotations

import pytest

from gflowd.core.errors import Refused
from gflowd.core.slurm import job_updates


@pytest.mark.parametrize(
    ("words", "argv"),
    [
        ("Job=1 TimeLimit=30", ["--time=30"]),
        ("job 1 timelimit=UNLIMITED", ["--time=0"]),
        ("jobid 1 TimeL=1-00:00:00", ["--time=1-00:00:00"]),
        ("JobId=1 NumCPUs=4 MinMemoryNode=2G", ["--cpus=4", "--memory=2G"]),
        ("JobId=1 Gres=gpu:a100:2", ["--gpus=2", "--gpu-type=a100"]),
        ("JobId=1 ArrayTaskThrottle=3", ["--max-concurrent=3"]),
        ("JobId=1 ArrayTaskThrottle=0", ["--clear=max-concurrent"]),
        ("JobId=1 Dependency=afterok:2", ["--depends-on=afterok:2"]),
        ("JobId=1 Dependency=", ["--clear=depends-on"]),
        ("JobId=1 Priority=7 Nice=5", ["--priority=7", "--nice=5"]),
        ("JobId=1 JobName=x Comment=y", ["--name=x", "--comment=y"]),
        ("JobId=1 StartTime=now+2hours", ["--begin=now+7200s"]),
        ("JobName=x TimeLimit=1", ["--time=1"]),
    ],
)
def test_words_mean_options(words: str, argv: list[str]) -> None:
    asked = job_updates.parse(words.split())
    assert (asked.jobs, asked.name) == (("", "x") if words.startswith("JobName") else ("1", None))
    assert (asked.argv, asked.minutes, asked.holds, asked.notes) == (argv, 0, False, [])


@pytest.mark.parametrize(
    ("word", "minutes"),
    [("TimeLimit=+30", 30), ("TimeLimit=-5", -5), ("TimeLimit+=1:00:00", 60), ("TimeLimit-=10", -10)],
)
def test_a_time_limit_may_be_a_change(word: str, minutes: int) -> None:
    assert job_updates.parse(["JobId=1", word]).minutes == minutes


def test_what_has_no_effect_is_noted_and_priority_0_holds() -> None:
    asked = job_updates.parse(["JobId=1,2_3", "Partition=fast", "priority=0", "TimeLimit=-1"])
    assert (asked.jobs, asked.holds, asked.notes) == ("1,2_3", True, ["partition=fast has no effect"])
    assert asked.argv == ["--time=0"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("TimeLimit=1", "no JobId given"),
        ("JobId=1 Shape=round", "Update of this parameter is not supported: Shape=round"),
        ("JobId=1 M=round", "Update of this parameter is not supported: M=round"),
        ("JobId=1 fast", "Invalid input: fast"),
        ("JobId=1 WorkDir=/", "workdir=/: the directory of a job is fixed at submission"),
        ("JobId=1 Gres=tape:1", "--gres=tape:1: gflow supports GPUs"),
        ("JobId=1 TimeLimit=+x", "'x'"),
        ("JobId=1 MinMemoryNode=0", "minmemorynode=0: all memory of the machine can be asked for only at submission"),
        ("JobId=1 TimeLimit=+\u00b2", "'\u00b2' is not a duration"),
    ],
)
def test_what_cannot_be_is_refused(words: str, said: str) -> None:
    with pytest.raises(Refused) as caught:
        job_updates.parse(words.split())
    assert str(caught.value).startswith(said)
