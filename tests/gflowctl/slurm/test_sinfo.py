"""sinfo, and what gflow has of sacctmgr and sshare: byte for byte as of Slurm 22.05."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

import pytest
from support.ctl import private_ctl

from gflowctl.context import Context
from gflowctl.slurm.report.node_facts import Node
from gflowd.core.slurm import site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ctl import Ctl

NODE = site.node(os.uname().nodename)
GPUS = [
    {"index": 0, "model": "NVIDIA A100-SXM4-80GB", "memory_mb": 81920, "jobs": [1]},
    {"index": 1, "model": "NVIDIA A100-SXM4-80GB", "memory_mb": 81920, "jobs": []},
]


@pytest.fixture(scope="module")
def some() -> Iterator[Ctl]:
    """Two GPUs, of which one is used, and projects; its daemon is not running."""
    with private_ctl() as found:
        found.submit("-P", "ml", "true")
        found.observe(gpus=GPUS, used={"cpus": 3, "memory_mb": 1024}, config={"known_projects": ["ml", "bio"]})
        found.ok("quota", "set", "--default-user", "--max-running-jobs", "4")
        yield found


def told(ctl: Ctl, program: str, *words: str) -> str:
    done = ctl.slurm(program, *words)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def test_sinfo_has_slurms_layouts(some: Ctl) -> None:
    width = max(9, len(NODE))
    assert told(some, "sinfo") == (
        f"PARTITION AVAIL  TIMELIMIT  NODES  STATE NODELIST\ngflow*       up   infinite      1  down* {NODE}\n"
    )
    assert told(some, "sinfo", "-s") == (
        f"PARTITION AVAIL  TIMELIMIT   NODES(A/I/O/T) NODELIST\ngflow*       up   infinite          0/0/1/1 {NODE}\n"
    )
    assert told(some, "sinfo", "-N") == (
        f"{'NODELIST':{width}}  NODES PARTITION STATE \n{NODE:{width}}      1    gflow* down* \n"
    )
    long = told(some, "sinfo", "-l").splitlines()[1:]
    assert long == [
        "PARTITION AVAIL  TIMELIMIT   JOB_SIZE ROOT OVERSUBS     GROUPS  NODES       STATE NODELIST",
        f"gflow*       up   infinite          1   no       NO        all      1       down* {NODE}",
    ]
    assert told(some, "sinfo", "-N", "-l", "-h") == (
        f"{NODE:{width}}      1    gflow*       down* 4       4:1:1   8192        0      1   (null) "
        "gflowd is not runnin\n"
    )
    assert told(some, "sinfo", "-o", "%P") == "PARTITION\ngflow*\n"  # Snakemake
    assert told(some, "sinfo", "-h", "-N", "-o", "%N|%t|%C|%m|%G") == (
        f"{NODE}|down*|3/0/1/4|8192|gpu:nvidia_a100-sxm4-80gb:2\n"
    )
    assert told(some, "sinfo", "-h", "-O", "gresused:40,allocmem:,cpusstate:") == (
        f"{'gpu:nvidia_a100-sxm4-80gb:1':40}10243/0/1/4\n"
    )
    assert told(some, "sinfo", "-h", "-t", "idle,mix") == "gflow*       up   infinite      0    n/a \n"
    assert told(some, "sinfo", "-h", "-N", "-n", "elsewhere") == ""
    assert re.fullmatch(rf"gflowd is not runnin Unknown +Unknown +{NODE}\n", told(some, "sinfo", "-R", "-h"))
    done = some.slurm("sinfo", "-t", "nonsense")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith('sinfo: error: Bad state string: "nonsense"; valid states: unknown,down,')


def test_the_node_is_in_the_state_that_slurm_would_call_it(some: Ctl) -> None:
    states = []
    for used in (0, 3, 4):
        for drain in (None, {"by": "ada", "at": time.time(), "reason": "new disks"}):
            node = Node(Context(some.env, None, some.state.root))
            node.is_up, node.used_cpus, node.drain = True, used, drain
            states.append((node.state, node.counts(), node.cpu_counts()))
            assert node.reason == ("none" if drain is None else "new disks")
    assert states == [
        ("idle", "0/1/0/1", "0/4/0/4"), ("drained", "0/0/1/1", "0/0/4/4"),
        ("mixed", "1/0/0/1", "3/1/0/4"), ("draining", "1/0/0/1", "3/0/1/4"),
        ("allocated", "1/0/0/1", "4/0/0/4"), ("draining", "1/0/0/1", "4/0/0/4"),
    ]  # fmt: skip


def test_sacctmgr_shows_users_projects_and_their_quotas(some: Ctl) -> None:
    user = some.store.read().of("spec")[1]["user"]
    accounts = told(some, "sacctmgr", "-n", "-s", "list", "user", user, "format=account%256")  # Snakemake
    assert accounts == f"{'ml':>256} \n{'bio':>256} \n"
    assert told(some, "sacctmgr", "show", "user").splitlines() == [
        "      User   Def Acct     Admin ", "---------- ---------- --------- ", f"{user:>10}                 None ",
    ]  # fmt: skip
    assert told(some, "sacctmgr", "-n", "-P", "show", "assoc", f"user={user}", "format=account,qos,maxjobs") == (
        "ml|normal|4\nbio|normal|4\n"
    )
    assert told(some, "sacctmgr", "-P", "list", "accounts", "where", "name=bio") == "Account|Descr|Org\nbio|bio|gflow\n"
    assert told(some, "sacctmgr", "-nP", "show", "cluster", "format=cluster,controlhost") == f"gflow|{NODE}\n"
    assert told(some, "sacctmgr", "-nP", "show", "qos", "format=name,priority,maxwall") == "normal|0|\n"
    assert "gres|gpu|1001\n" in told(some, "sacctmgr", "-P", "show", "tres")
    assert told(some, "sacctmgr", "-nP", "show", "user", "no-such-user", "withassoc", "format=account") == ""
    for words, error in {
        "add user x account=y": "gflow has no accounts to change: projects are named in gflow.toml, limits set by .*",
        "modify user x set maxjobs=1": "gflow has no accounts to change: .*",
        "": "no command ''; gflow has show and list",
    }.items():
        done = some.slurm("sacctmgr", *words.split())
        assert (done.returncode, done.stdout) == (1, "")
        assert re.fullmatch(f"sacctmgr: error: {error}\n", done.stderr)
    assert some.slurm("sacctmgr", "show", "user", "format=foo").stderr == "Unknown field 'foo'\n"
    assert some.slurm("sacctmgr", "show", "foo").stderr.startswith("No valid entity in list command\n")


def test_sshare_shows_the_shares_of_users(some: Ctl) -> None:
    assert told(some, "sshare", "-U", "--format", "Account%256", "--noheader") == f"{'ml':>256} \n{'bio':>256} \n"
    user = some.store.read().of("spec")[1]["user"]
    assert told(some, "sshare", "-A", "ml").splitlines() == [
        "Account                    User  RawShares  NormShares    RawUsage  EffectvUsage  FairShare ",
        "-------------------- ---------- ---------- ----------- ----------- ------------- ---------- ",
        f"ml                   {user:>10}          1    1.000000           0      0.000000   1.000000 ",
    ]
    assert "EffectvUsage" in told(some, "sshare", "-e")


def test_where_no_projects_are_configured_any_is_taken_and_none_is_listed(ctl: Ctl) -> None:
    ctl.submit("-P", "ml", "true")
    user = ctl.store.read().of("spec")[1]["user"]
    assert told(ctl, "sacctmgr", "-n", "-s", "list", "user", user, "format=account%256") == ""
    assert told(ctl, "sshare", "-U", "--format", "Account%256", "--noheader") == ""
