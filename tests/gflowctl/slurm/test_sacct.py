"""sacct: tables byte for byte as of Slurm 22.05, which was asked for the same, and what tools parse of them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from support.ctl import private_ctl

from gflowctl.slurm import sacct
from gflowd.core.job.model import Used
from gflowd.core.slurm import site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ctl import Ctl

NODE = site.node(os.uname().nodename)
DASHES = "------------ ---------- ---------- ---------- ---------- ---------- -------- \n"
HEADER = f"JobID           JobName  Partition    Account  AllocCPUS      State ExitCode \n{DASHES}"
USED = Used(memory_mb=512, memory_source="cgroup", cpu_seconds=65.25, cpu_source="cgroup")


@pytest.fixture(scope="module")
def some() -> Iterator[Ctl]:
    """1 finished, 2 failed, 3 running, 4 cancelled while running, 5 to 8 an array of which 5 runs, 9 held; 10 of the
    history, two days old.
    """
    with private_ctl() as found:
        found.submit(
            "-n", "train", "-t", "10", "-m", "2G", "-g", "1", "-c", "2", "-P", "ml", "--comment", "a b", "true"
        )
        found.end_job(1, exit_code=0, used=USED)
        found.submit("-n", "bad", "true")
        found.end_job(2, "failed", exit_code=3, reason="NonZeroExit")
        found.submit("-n", "run", "true")
        found.run_job(3)
        found.submit("-n", "stop", "true")
        found.run_job(4)
        found.ok("cancel", "4")
        found.end_job(4, "cancelled", signal=15, reason="CancelledByUser")
        found.ok("submit", "-n", "arr", "--array", "0-3", "--max-concurrent", "2", "true")
        found.run_job(5)
        found.submit("-n", "held", "--hold", "true")
        found.submit("-n", "old", "-P", "bio", "true")
        found.end_job(10, exit_code=0)
        raw = dict(found.store.read().of("phase")[10])
        with found.store.commit() as commit:
            commit.put("phase", 10, {**raw, **{key: raw[key] - 2 * 86400 for key in ("ended_at", "started_at")}})
        found.archive(10)
        yield found


def told(ctl: Ctl, *words: str) -> str:
    done = ctl.slurm("sacct", *words)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def test_the_usual_table_is_slurms(some: Ctl) -> None:
    assert told(some, "-j", "1,2,5") == (
        f"{HEADER}"
        "1                 train      gflow         ml          2  COMPLETED      0:0 \n"
        "1.batch           batch                    ml          2  COMPLETED      0:0 \n"
        "2                   bad      gflow                     1     FAILED      3:0 \n"
        "2.batch           batch                                1     FAILED      3:0 \n"
        "5_0                 arr      gflow                     1    RUNNING      0:0 \n"
        "5_0.batch         batch                                1    RUNNING      0:0 \n"
        "5_[1-3%2]           arr      gflow                     1    PENDING      0:0 \n"
    )
    assert told(some, "-j", "999") == HEADER
    assert told(some, "-X", "-j", "") == told(some, "-X")
    assert told(some, "-h").startswith("Usage: sacct ")
    assert told(some, "-b", "-X", "-j", "1") == (
        "JobID             State ExitCode \n------------ ---------- -------- \n1             COMPLETED      0:0 \n"
    )
    assert told(some, "-n", "-X", "-P", "-j", "2") == "2|bad|gflow||1|FAILED|3:0\n"
    assert told(some, "-X", "-p", "--delimiter=;", "-j", "2", "-o", "jobid,exit") == "JobID;ExitCode;\n2;3:0;\n"
    assert told(some, "-X", "-j", "4", "-o", "jobid,state").splitlines()[2] == "4            CANCELLED+ "
    assert told(some, "-j", "1.batch", "-o", "jobid%8,jobname%-10,state%.3,elapsed,end%0", "-n") == (
        " 1.batch batch         00:01:00  \n"
    )


def test_all_fields_tell_what_gflow_knows(some: Ctl) -> None:
    names = "JobIDRaw,State,NodeList,Elapsed,ElapsedRaw,CPUTimeRAW,TotalCPU,MaxRSS,ReqMem,AllocTRES,NCPUS,NNodes,User"
    user = some.store.read().of("spec")[1]["user"]
    tres = "cpu=2,gres/gpu=1,mem=2G,node=1"
    job, step = told(some, "-n", "-P", "-j", "1", "-o", names).splitlines()
    assert job == f"1|COMPLETED|{NODE}|00:01:00|60|120|01:05.250||2G|billing=2,{tres}|2|1|{user}"
    assert step == f"1.batch|COMPLETED|{NODE}|00:01:00|60|120|01:05.250|512M||{tres}|2|1|"
    only = told(some, "-n", "-P", "-X", "-j", "1", "-o", "MaxRSS,TRESUsageInTot,AveCPU,Comment,Timelimit,TimelimitRaw")
    assert only == "512M|cpu=00:01:05,mem=512M|00:01:05|a b|00:10:00|10\n"
    assert told(some, "-n", "-P", "-X", "--units=G", "-j", "1", "-o", "MaxRSS,ReqMem") == "0.50G|2.00G\n"
    uid = os.getuid()
    assert told(some, "-n", "-P", "-j", "4", "-o", "State,ExitCode,Reason") == (
        f"CANCELLED by {uid}|0:15|None\nCANCELLED|0:15|\n"
    )
    waiting = "State,Start,End,NodeList,Elapsed,AllocTRES,Reason,Eligible,Timelimit"
    assert told(some, "-n", "-P", "-j", "9", "-o", waiting) == (
        "PENDING|Unknown|Unknown|None assigned|00:00:00||JobHeldUser|Unknown|UNLIMITED\n"
    )
    every = told(some, "-P", "-j", "1,3,9", "-o", "ALL").splitlines()
    assert {line.count("|") for line in every} == {every[0].count("|")}
    assert told(some, "-l", "-j", "1").splitlines()[0].split()[:3] == ["JobID", "JobIDRaw", "JobName"]
    listed = told(some, "--helpformat")
    assert listed.startswith("Account             AdminComment        AllocCPUS           AllocNodes         \n")
    assert {"MaxRSS", "Planned", "WorkDir"} <= set(listed.split())


def test_jobs_are_chosen_by_their_time_and_state(some: Ctl) -> None:
    def ids(*words: str) -> str:
        return told(some, "-X", "-n", "-P", "-o", "jobid", *words).replace("\n", " ").strip()

    assert ids() == "1 2 3 4 5_0 5_[1-3%2]"
    assert ids("-S", "now-3days") == "1 2 3 4 5_0 5_[1-3%2] 10"
    assert ids("-S", "now-3days", "-E", "now-1days", "-s", "CD") == "10"
    assert ids("-s", "R,PD") == "3 5_0 5_[1-3%2]"
    assert ids("-s", "F") == ""
    assert ids("-s", "f,timeout", "-S", "now-1hours", "-E", "now") == "2"
    assert ids("-s", "S", "-S", "now-1hours", "-E", "now") == ""
    assert ids("-j", "1,2,10", "-s", "CD") == "1 10"
    assert ids("-j", "1,10", "-S", "now-1hours") == "1"
    assert ids("-S", "now-3days", "-A", "ml,bio") == "1 10"
    assert ids("-S", "now-1hours", "--name", "bad,arr") == "2 5_0 5_[1-3%2]"
    assert ids("-S", "now-1hours", "-N", NODE) == "1 2 3 4 5_0"
    assert ids("-a", "-S", "now-1hours", "-u", str(os.getuid()), "-s", "CA", "-E", "now") == "4"
    assert ids("-j", "5_0", "-j", "5_[2-3]", "-j", "1") == "1 5_0 5_2 5_3"


EFFICIENCY = "--format=JobID,JobName,Comment,Elapsed,TotalCPU,NNodes,NCPUS,MaxRSS,ReqMem"
TOOLS = {  # command lines of tools as they are, and what each of them reads there
    ("-X",): rf"(?s:{re.escape(HEADER)}.*)",  # parsl: by the exit status
    ("-X", "--noheader", "--format=jobid,state%20", "--job", "1,2"): (
        "1                       COMPLETED \n2                          FAILED \n"  # parsl
    ),
    ("-o", "JobID,State,NodeList", "--parsable2", "-j", "1", "-j", "5"): (  # submitit
        rf"JobID\|State\|NodeList\n1\|COMPLETED\|{NODE}\n1.batch\|COMPLETED\|{NODE}\n5_0\|RUNNING\|{NODE}\n"
        rf"5_0.batch\|RUNNING\|{NODE}\n5_\[1-3%2\]\|PENDING\|None assigned\n"
    ),
    (  # Snakemake, as the next two
        "-X", "--parsable2", "--clusters", "all", "--noheader", "--format=JobIdRaw,State", "--starttime",
        "2020-01-01T00:00", "--endtime", "now", "--name", "train",
    ): r"1\|COMPLETED\n",
    ("-j", "2.0", "--format=Reason", "--noheader"): "",
    ("-nu", "USER", "-o", "Account%256", "|", "tail", "-1"): " {257}\n",
    ("--name=train", "--parsable2", "--noheader", EFFICIENCY): (
        r"1\|train\|a b\|00:01:00\|01:05.250\|1\|2\|\|2G\n1.batch\|batch\|\|00:01:00\|01:05.250\|1\|2\|512M\|\n"
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", TOOLS)
def test_what_tools_ask_for_is_what_they_parse(some: Ctl, words: tuple[str, ...]) -> None:
    user = some.store.read().of("spec")[1]["user"]
    assert re.fullmatch(TOOLS[words], told(some, *(word.replace("USER", user) for word in words)))


WRONG = {
    "-j abc": "Bad job/step specified: abc",
    "-o foo": 'Invalid field requested: "foo"',
    "-s foo": "Invalid job state specified: FOO; valid are .*",
    "-u no-such-user": "Invalid user id: no-such-user",
    "-S foo": r"Invalid time specification \(pos=0\): foo",
    "-M elsewhere": "No cluster 'elsewhere' known; the only one is gflow",
    "-l -o state": r"Options -o\(--format\) and -l\(--long\) or -b\(--brief\) are mutually exclusive",
    "--units=X": "Invalid unit type specified: X; valid are K, M, G, T, P",
    "--json": "--json: gflow has its own JSON: gflowctl queue --json --all",
}


@pytest.mark.parametrize("words", WRONG)
def test_what_is_wrong_is_said_in_one_line(some: Ctl, words: str) -> None:
    done = some.slurm("sacct", *words.split())
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(f"sacct: error: {WRONG[words]}\n", done.stderr)


def test_stray_words_are_passed_over() -> None:
    assert sacct.without_pipe(["-X", "|", "tail", "-1"]) == (["-X"], 1)
    assert sacct.without_pipe(["-X", "|", "tail"]) == (["-X"], None)
    assert sacct.without_pipe(["-X", "|", "head", "-1"]) == (["-X"], None)
    assert sacct.without_pipe(["-X", "stray"]) == (["-X", "stray"], None)
