"""Whatever gflowctl writes, the gateway of many users would have written of the same request: each commit is held
against the judge here. With GFLOW_TEST_DEPTH=full that holds for every gflowctl that any test runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.forked import NURSERY

if TYPE_CHECKING:
    from support.ctl import Ctl

GPUS = [{"index": 0, "model": "NVIDIA L4", "memory_mb": 20480, "state": "idle", "uuid": "GPU-0"}]
COMMANDS = [
    "submit --gpus 1 --gpu-type L4 --time 1h --signal USR1@60 --output o.%j --comment c --notify-on end true",  # 5
    "submit --array 1-4%2 --depends-on 1,2 --hold true",  # 6 to 9
    "submit --param lr=1,2 --param seed=1:2 --name-template {name}-{lr} --max-failures 2 echo {lr} {seed}",  # 10 to 13
    "submit --array 1-4 --depends-on aftercorr:6 --max-retries 2 --retry-on failure,3 --retry-delay 10s true",  # to 17
    "submit --repeat daily\t02:00 --overlap queue true",  # 18
    "submit --singleton --begin now+1h --deadline now+9h --priority 200 --project p --exclusive true",  # 19
    "hold 1,10", "release 1", "release --at now+2h 10", "top 2", "suspend 3", "unsuspend 3", "suspend --release-cpus 3",
    "requeue 3", "cancel 3", "requeue 4", "update 18 --repeat every\t6h", "cancel --run 18", "cancel 18",
    "update 1 --gpus 1 --cpus 3 --memory 5M --name n --command echo\thi --depends-on 2 --max-retries 3 --grace 5s",
    "update 6 --begin now+3h --max-concurrent 1 --comment x", "limit 6 3", "update 6 --max-concurrent 2",
    "update 11 --param lr=7", "update 10 --output p.%j --clear max-failures",
    "update 19 --priority 3 --deadline now+8h --no-auto-cancel", "update 3 --time 5h --comment y --quiet-limit 1h",
    "cancel --name n", "redo 4", "redo --cascade --hold 1", "redo 7-8 --gpus 1", "redo 10 --depends-on 2 --priority 1",
    "reserve create --gpus 1 --start now --for 1h",
    "reserve create --gpu-list 0 --start now+2h --for 1h --repeat daily",
    "reserve cancel 1", "quota set --default-user --max-running-jobs 5", "quota set --project p --max-queued-jobs none",
    "quota remove --default-user", "drain --reason r", "resume", "gpus allow 0", "gpus drain 0 --reason r",
    "gpus resume 0", "gpus allow --default",
]  # fmt: skip


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch, ctl: Ctl) -> Ctl:
    """3 running, 4 failed; whatever is written is judged."""
    monkeypatch.setattr(NURSERY, "is_judged", True)
    ctl.observe(gpus=GPUS)
    for _ in range(4):
        ctl.submit("true")
    ctl.run_job(3)
    ctl.end_job(4, "failed", exit_code=1)
    return ctl


def test_the_gateway_would_write_what_gflowctl_writes(judged: Ctl) -> None:
    for command in COMMANDS:
        before = judged.store.read().records
        done = judged.run(*(word.replace("\t", " ") for word in command.split(" ")))
        assert done.returncode == 0, (command, done.stderr)
        assert judged.store.read().records != before, f"{command} changed nothing"


def test_a_commit_that_the_judge_refuses_is_noticed(judged: Ctl) -> None:
    with judged.store.commit() as commit:
        commit.put("spec", 1, {**judged.store.read().of("spec")[1], "output": "/%q"})
    assert "the judge refuses" in judged.run("update", "1", "--error", "e").stderr
