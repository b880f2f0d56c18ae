"""Jobs that a cluster is to run, as gflowctl takes, changes and shows them. No cluster is asked anything."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from gflowd.core.job.model import SLURM, Ended, Identity, Run, Running, Started, Starting

if TYPE_CHECKING:
    from support.ctl import Ctl


@pytest.fixture
def known(ctl: Ctl) -> Ctl:
    """It knows the clusters `hpc` and `lab`."""
    ctl.observe(config={"clusters": ["hpc", "lab"]})
    return ctl


def handed_over(node: str | None = None, cluster_id: str | None = None) -> Run:
    return Run(executor=SLURM, launched_at=time.time(), cluster="hpc", cluster_id=cluster_id, node=node)


def test_a_job_names_its_cluster_wherever_options_stand(known: Ctl) -> None:
    script = known.home / "job.sh"
    script.write_text("#!/bin/sh\n# GFLOW --cluster=lab --cpus 64\ntrue\n")
    known.submit("--cluster", "hpc", "-g", "8", "-c", "64", "true")  # more than this machine has
    known.submit(str(script))
    known.submit("--cluster", "auto", str(script))
    known.ok("submit", "--from", "-", input='{"command": ["true"], "cluster": "lab"}\n')
    assert [known.spec(number).cluster for number in (1, 2, 3, 4)] == ["hpc", "lab", "auto", "lab"]
    assert [job["cluster"] for job in known.jobs()] == ["hpc", "lab", "auto", "lab"]
    assert known.ok("queue", "-f", "CLUSTER").split() == ["CLUSTER", "hpc", "lab", "auto", "lab"]
    assert "Cluster: hpc\n" in _plain(known.ok("show", "1"))
    told = "Cluster: auto: one that can have it, where it does not start here in time\n"
    assert told in _plain(known.ok("show", "3"))
    assert known.spec(int(known.ok("redo", "--parsable", "1"))).cluster == "hpc"


def test_what_no_cluster_can_have_is_refused(known: Ctl) -> None:
    for words, said in (
        (["--cluster", "hcp"], "'hcp' is not a cluster of gflow.toml (did you mean hpc?) (they are hpc, lab)"),
        (["--cluster", "hpc", "-g", "1", "--shared", "--gpu-memory", "4G"], "--shared and --gpu-memory are for this"),
        (["--cluster", "auto", "--exclusive"], "--exclusive and --memory all mean this machine"),
        (["--cluster", "auto", "--memory", "all"], "--exclusive and --memory all mean this machine"),
        (["--cluster", "hpc", "--executor", "tmux"], "--executor and --gpu-prefer are for jobs of this machine"),
    ):
        assert said in known.fails(1, "submit", *words, "true")
    assert known.jobs() == []
    assert known.run("run", "--cluster", "hpc", "true").returncode == 2


def test_what_no_node_is_large_enough_for_is_refused(known: Ctl) -> None:
    node = {"cpus": 32, "memory_mb": 32000, "gpus": [["a100", 2]], "time_limit": 3600.0}
    known.observe(config={"clusters": ["hpc", "lab"]}, clusters={"hpc": {"nodes": [node]}, "lab": {"nodes": None}})
    for words in (["-c", "33"], ["-m", "40G"], ["-g", "3"], ["-g", "h100:1"], ["-t", "2h"]):
        said = known.fails(1, "submit", "--cluster", "hpc", *words, "true")
        assert said == "--cluster hpc: no node of the cluster has as much; gflowctl info --cluster shows its nodes"
        known.submit("--cluster", "lab", *words, "true")  # of which nothing is known
    known.submit("--cluster", "hpc", "-c", "32", "-m", "20G", "-g", "a100:2", "-t", "1h", "true")
    assert "has as much" in known.fails(1, "update", "6", "-c", "64")
    known.observe(config={"clusters": ["hpc"]}, clusters={"hpc": {"nodes": [node]}})
    said = known.fails(1, "submit", "--cluster", "auto", "-c", "64", "true")
    assert said == "64 CPUs asked for, but this machine gives 4, and no cluster has nodes for it"
    known.submit("--cluster", "auto", "-c", "20", "true")


def test_without_clusters_none_can_be_named(ctl: Ctl) -> None:
    said = ctl.fails(1, "submit", "--cluster", "auto", "true")
    assert said == "--cluster: no cluster is configured; see [cluster.NAME] in gflow.toml(5)"
    file = ctl.home / ".config/gflow/gflow.toml"
    file.parent.mkdir(parents=True)
    file.write_text(f'[cluster.hpc]\ndirectory = "{ctl.home}"\n')
    assert ctl.submit("--cluster", "hpc", "true") == 1  # as the file has it before the daemon has read it


def test_a_queued_job_goes_elsewhere_by_update(known: Ctl) -> None:
    known.submit("-g", "1", "--gpu-memory", "1G", "true")
    known.submit("true")
    assert "whole GPUs" in known.fails(1, "update", "1", "--cluster", "hpc")
    assert "'x' is not a cluster" in known.fails(1, "update", "2", "--cluster", "x")
    known.ok("update", "2", "--cluster", "hpc", "-c", "64")
    assert known.spec(2).cluster == "hpc"
    assert "this machine gives 4" in known.fails(1, "update", "2", "--clear", "cluster")
    known.ok("update", "2", "--clear", "cluster", "-c", "1")
    assert known.spec(2).cluster is None


def test_an_old_job_is_done_again_where_it_is_said_if_that_can_be(known: Ctl) -> None:
    node = {"cpus": 32, "memory_mb": 32000, "gpus": [], "time_limit": None}
    known.submit("--cluster", "hpc", "-c", "16", "true")
    known.submit("true")
    for job_id in (1, 2):
        known.end_job(job_id, "failed", exit_code=1)
    known.observe(config={"clusters": ["lab"]}, clusters={"lab": {"nodes": [node]}})
    gone = "'hpc' is not a cluster of gflow.toml (they are lab)"
    assert known.fails(1, "redo", "1") == f"job 1: --cluster: {gone}"
    assert known.fails(1, "redo", "--cluster", "hpc", "2") == f"job 2: --cluster: {gone}"
    assert known.fails(1, "requeue", "1") == f"job 1 cannot run once more: --cluster: {gone}"
    assert gone in known.slurm("scontrol", "requeue", "1").stderr
    assert "this machine gives 4" in known.fails(1, "redo", "--cluster", "none", "1")
    assert "no node of the cluster has as much" in known.fails(1, "redo", "--cluster", "lab", "-c", "64", "2")
    assert "whole GPUs" in known.fails(1, "redo", "--cluster", "lab", "-g", "1", "--shared", "--gpu-memory", "1G", "2")
    for words, cluster in (
        (("--cluster", "lab", "1"), "lab"), (("--cluster", "lab", "2"), "lab"), (("--cluster", "auto", "2"), "auto"),
        (("--cluster", "none", "-c", "2", "1"), None), (("2",), None),
    ):  # fmt: skip
        assert known.spec(int(known.ok("redo", "--parsable", *words))).cluster == cluster
    known.ok("requeue", "2")


def test_none_is_this_machine(known: Ctl) -> None:
    script = known.home / "job.sh"
    script.write_text("#!/bin/sh\n# GFLOW --cluster=lab\ntrue\n")
    known.submit("--cluster", "none", str(script))
    known.submit(str(script))
    assert [known.spec(number).cluster for number in (1, 2)] == [None, "lab"]
    known.ok("update", "2", "--cluster", "none")
    assert known.spec(2).cluster is None


def test_it_is_shown_where_it_is_there_and_under_which_name(known: Ctl) -> None:
    for name in ("hpc", "hpc", "auto", "hpc"):
        known.submit("--cluster", name, "true")
    started = Started(at=time.time(), mono=0.0, identity=Identity("slurm:7_2", 1, 0))
    known.set_phase(1, Starting(run=handed_over()))
    known.set_phase(2, Starting(run=handed_over(cluster_id="123")))
    known.set_phase(3, Running(run=handed_over("n2", "7_2"), started=started))
    ended = Ended(state="failed", reason="NodeFail", ended_at=time.time(), run=handed_over("n3", "9"))
    known.set_phase(4, ended)
    known.observe(reasons={"2": "Cluster:Resources", "3": "Cluster:Resources"})
    places = known.ok("queue", "-a", "-f", "NODELIST(REASON)").splitlines()[1:]
    assert places == ["hpc", "hpc (Cluster:Resources)", "n2", "(NodeFail)"]
    for job_id, told in (
        (1, "hpc, which has not named it yet"), (2, "hpc, there job 123"),
        (3, "hpc (auto: it could not start here in time), there job 7_2 on n2"), (4, "hpc, there job 9 on n3"),
    ):  # fmt: skip
        assert f"Cluster: {told}\n" in _plain(known.ok("show", str(job_id)))
    assert "Process:" not in known.ok("show", "3")
    known.observe(reasons={"3": "ClusterUnreachable"}, clusters={"hpc": {"unreachable": "squeue: no answer"}})
    said = "its cluster does not answer; nothing is known of it until that does: squeue: no answer"
    assert said in " ".join(known.ok("show", "3").split())
    assert known.ok("queue", "3", "-f", "NODELIST(REASON)").splitlines()[1:] == ["n2 (ClusterUnreachable)"]
    told = [(job["executor"], job["cluster"], job["cluster_id"], job["node"]) for job in known.jobs("3,4")]
    assert told == [("slurm", "hpc", "7_2", "n2"), ("slurm", "hpc", "9", "n3")]
    assert "srun --jobid=7_2 --overlap --pty bash" in known.fails(1, "attach", "3")
    assert "it has not started there" in known.fails(1, "attach", "1")


def _plain(shown: str) -> str:
    return "".join(f"{' '.join(line.split())}\n" for line in shown.splitlines())
