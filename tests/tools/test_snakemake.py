"""Snakemake with its executor for Slurm, unmodified."""

from __future__ import annotations

import pytest
from slurm_site import Site

pytest.importorskip("snakemake_executor_plugin_slurm")
SNAKEFILE = """\
rule all:
    input: "sum.txt"

rule part:
    output: "part{number}.txt"
    threads: 2
    resources: mem_mb=1000, runtime=5
    shell: "echo {wildcards.number} {threads} >{output}"

rule sum:
    input: expand("part{number}.txt", number=[1, 2, 3])
    output: "sum.txt"
    resources: mem_mb=1000, runtime=5
    shell: "cat {input} >{output}"

rule broken:
    output: "never.txt"
    resources: mem_mb=1000, runtime=5
    shell: "exit 3"
"""
COMMAND = (
    "snakemake --executor slurm --jobs 4 --latency-wait 5 --default-resources {resources} "
    "--slurm-init-seconds-before-status-checks 1 --seconds-between-status-checks 1 {words} 2>&1"
)


@pytest.mark.parametrize("resources", ["mem_mb=1000", "mem_mb=1000 slurm_account=lab slurm_partition=debug"])
def test_a_small_workflow(site: Site, resources: str) -> None:
    (site.work / "Snakefile").write_text(SNAKEFILE)
    said = site.shell(COMMAND.format(resources=resources, words=""))
    assert "5 of 5 steps (100%) done" in said
    assert site.lines("sum.txt") == ["1 2", "2 2", "3 2"]


def test_a_rule_that_fails(site: Site) -> None:
    (site.work / "Snakefile").write_text(SNAKEFILE)
    said = site.shell(COMMAND.format(resources="mem_mb=1000", words="broken"), status=1)
    assert "Error in rule broken" in said
    assert "FAILED" in said
