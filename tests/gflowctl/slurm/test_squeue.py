"""squeue: layouts byte for byte as of Slurm 22.05, which was asked for the same, and what tools parse of it."""

from __future__ import annotations

import csv
import os
import re
from typing import TYPE_CHECKING

import pytest
from support.ctl import private_ctl
from support.imports import TOO_DEAR_FOR_SUBMIT, imported

from gflowd.core.slurm import site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ctl import Ctl

NODE = site.node(os.uname().nodename)
HEADER = "             JOBID PARTITION     NAME     USER ST       TIME  NODES NODELIST(REASON)\n"


@pytest.fixture(scope="module")
def some() -> Iterator[Ctl]:
    """1 queued, 2 held, 3 running, 4 finished, 5 failed, 6 cancelled; 7 to 16 an array of which 7 runs; 17 ended an
    hour ago.
    """
    with private_ctl() as found:
        found.submit("-n", "train", "-t", "10", "-m", "200M", "--comment", "a b", "true")
        found.submit("-n", "a-very-long-job-name-indeed", "-P", "ml", "--hold", "true")
        found.submit("-n", "train", "-t", "1h", "-g", "1", "-m", "2G", "true")
        found.run_job(3, gpu_ids=(0,))
        found.submit("-n", "done", "true")
        found.end_job(4, exit_code=0)
        found.submit("-n", "bad", "true")
        found.end_job(5, "failed", exit_code=3, reason="NonZeroExit")
        found.submit("-n", "gone", "true")
        found.ok("cancel", "6")
        found.ok("submit", "-n", "arr", "--array", "0-9", "--max-concurrent", "2", "true")
        found.run_job(7, since=3700)
        found.submit("-n", "old", "true")
        found.end_job(17, exit_code=0)
        raw = dict(found.store.read().of("phase")[17])
        with found.store.commit() as commit:
            commit.put("phase", 17, {**raw, "ended_at": raw["ended_at"] - 3600})
        yield found


def told(ctl: Ctl, *words: str, **variables: str) -> str:
    done = ctl.slurm("squeue", *words, env=ctl.env | variables)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def timeless(text: str) -> str:
    """Without the times that go on while a test looks."""
    text = re.sub(r" [1-9]:\d\d (?= *(?:1 |1:00:00|\S+$))", " M:SS ", text, flags=re.MULTILINE)
    return re.sub(r" 1:\d\d:\d\d (?= *1 )", " 1:MM:SS ", text)


def test_the_usual_layout_is_slurms(some: Ctl) -> None:
    user = some.store.read().of("spec")[1]["user"][:8].rjust(8)
    waits = "(DaemonDown)"
    assert timeless(told(some)) == (
        f"{HEADER}"
        f"                 1     gflow    train {user} PD       0:00      1 {waits}\n"
        f"                 2     gflow a-very-l {user} PD       0:00      1 (JobHeldUser)\n"
        f"         7_[1-9%2]     gflow      arr {user} PD       0:00      1 {waits}\n"
        f"                 3     gflow    train {user}  R       M:SS      1 {NODE}\n"
        f"               7_0     gflow      arr {user}  R    1:MM:SS      1 {NODE}\n"
    )
    long = told(some, "-l").splitlines()
    assert re.fullmatch(r"\w{3} \w{3} \d\d \d\d:\d\d:\d\d \d{4}", long[0])
    assert (
        long[1]
        == "             JOBID PARTITION     NAME     USER    STATE       TIME TIME_LIMI  NODES NODELIST(REASON)"
    )
    assert long[2] == f"                 1     gflow    train {user}  PENDING       0:00     10:00      1 {waits}"
    assert (
        timeless(long[5]) == f"                 3     gflow    train {user}  RUNNING       M:SS   1:MM:SS      1 {NODE}"
    )
    start = told(some, "--start", "-j", "1,3").splitlines()
    assert start == [
        f"{HEADER[:49]}          START_TIME  NODES SCHEDNODES           NODELIST(REASON)",
        f"                 1     gflow    train {user} PD                 N/A      1 (null)               {waits}",
    ]
    steps = told(some, "-s").splitlines()
    assert steps[0] == "         STEPID     NAME PARTITION     USER      TIME NODELIST"
    assert timeless(steps[1]) == f"        3.batch    batch     gflow {user}      M:SS {NODE}"
    assert len(steps) == 3


CHOSEN = {
    "": "1 2 7_[1-9%2] 3 7_0",
    "-t all": "6 4 5 1 2 7_[1-9%2] 3 7_0",
    "--states=R,cd": "4 3 7_0",
    "-t pending -r": "1 2 7_1 7_2 7_3 7_4 7_5 7_6 7_7 7_8 7_9",
    "-n train,done": "1 3",
    "--name=arr": "7_[1-9%2] 7_0",
    "-A ml": "2",
    "--me -t F": "5",
    "-u ,": "",
    "-t ,": "",
    "-R res -t all": "",
    "-j 4": "",
    "-j 4 -t all": "4",
    "-j 1,999": "1",
    "-j 7": "7_[1-9%2] 7_0",
    "-j 7_3": "7_3",
    "-j 8": "7_1",
    "-j 7_[3-4]": "7_3 7_4",
    "-j 7_99": "",
    "-j 17,4 -t all": "4",
    "-S i -t R,PD": "1 2 3 7_0 7_[1-9%2]",
    "-S -i -t R,PD": "7_[1-9%2] 7_0 3 2 1",
    "-S -M,i": "7_0 3 1 2 7_[1-9%2]",
    "-p gpu -q any": "1 2 7_[1-9%2] 3 7_0",
    "-w localhost -t R": "3 7_0",
    "--only-job-state -a -t R": "3 7_0",
}


@pytest.mark.parametrize("words", CHOSEN)
def test_options_choose_and_sort_jobs(some: Ctl, words: str) -> None:
    assert told(some, "-h", "-o", "%i", *words.split()).split() == CHOSEN[words].split()


def test_variables_stand_for_options(some: Ctl) -> None:
    assert told(some, SQUEUE_FORMAT="%A %t", SQUEUE_STATES="R").splitlines() == ["JOBID ST", "3 R", "7 R"]
    assert told(some, "-h", "-j", "7", "-o", "%i", SLURM_BITSTR_LEN="4") == "7_[...%2]\n7_0\n"
    assert told(some, "-h", "-o", "%i", SQUEUE_ARRAY="1", SQUEUE_NAMES="arr", SQUEUE_SORT="-i").split()[0] == "7_9"
    assert (
        told(some, "-j", "3", SQUEUE_FORMAT2="jobid:5,state")
        == "JOBIDSTATE               \n3    RUNNING             \n"
    )
    assert re.fullmatch(r"\d{4} \d\d\n", told(some, "-h", "-o", "%S", "-j", "3", SLURM_TIME_FORMAT="%Y %H"))


def test_each_letter_and_name_tells_something(some: Ctl) -> None:
    row = told(some, "-h", "-j", "3", "-o", "%A|%F|%K|%T|%L|%l|%D|%C|%c|%m|%b|%r|%N|%P|%a|%Q|%B|%q|%h|%y|%E|%Z")
    home = some.home
    row = re.sub(r"\|5\d:\d\d\|", "|MM:SS|", row)
    asked = f"3|3|N/A|RUNNING|MM:SS|1:00:00|1|1|1|2G|gres:gpu:1|None|{NODE}|gflow|(null)|10"
    assert row == f"{asked}|{NODE}|normal|OK|0|(null)|{home}\n"
    assert told(some, "-h", "-j", "1", "-o", "%k %m %e %S %N %B") == "a b 200M N/A N/A  n/a\n"
    assert told(some, "-h", "-j", "7_1", "-o", "%i %F %K %l %e") == "7_1 7 1 UNLIMITED N/A\n"
    stamps = told(some, "-h", "-j", "3", "-O", "submittime:|,starttime:|,endtime:").strip().split("|")
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", stamp) for stamp in stamps)
    assert told(some, "-h", "-j", "3", "-O", "tres-alloc:60").strip() == "cpu=1,mem=2G,node=1,billing=1,gres/gpu=1"
    from gflowctl.slurm.report import squeue_fields

    letters, names = "|".join(f"%{each}" for each in squeue_fields.LETTERS), ",".join(squeue_fields.NAMES)
    assert told(some, "-o", letters, "-t", "all").count("\n") == 9
    assert told(some, "-O", names, "-t", "all").count("\n") == 9
    for letter in squeue_fields.LETTERS:
        assert squeue_fields.key(letter)


TOOLS = {  # command lines of tools as they are, and what each of them reads there
    ("--noheader", "--format=%i %t", "--job", "1,3"): r"1 PD\n3 R\n",  # parsl
    ("--noheader", "-o", "%i %t", "-t", "all", "-p", "Q", "-u", "USER"): r"6 CA\n4 CD\n5 F\n(?s:.*)7_0 R\n",  # nextflow
    ("--user=USER", "--states=PD", "--noheader", "--format=%i", "-r"): r"1\n2\n7_1\n(7_\d\n){8}",  # batchtools
    ("--user=USER", "--states=R,S,CG,RS,SI,SO,ST", "--noheader", "--format=%i", "-r"): r"3\n7_0\n",
    ("--format", "%A|%u|%t|%.15j|%Z", "--noheader"): r"1\|\w+\|PD\|          train\|/.*\n(?s:.*)",  # pysqa
    ("--format=%i|%T", "--states=all", "--noheader", "--name", "done"): r"4\|COMPLETED\n",  # Snakemake
    ("-j", "3"): rf"{re.escape(HEADER)} +3 .*\n",  # cromwell, cryoSPARC: by the exit status
}


@pytest.mark.parametrize("words", TOOLS)
def test_what_tools_ask_for_is_what_they_parse(some: Ctl, words: tuple[str, ...]) -> None:
    user = some.store.read().of("spec")[1]["user"]
    assert re.fullmatch(TOOLS[words], told(some, *(word.replace("USER", user) for word in words)))


def test_simple_slurm_reads_it_as_csv(some: Ctl) -> None:
    text = told(some, "--me", "-o", '"%i","%j","%t","%M","%L","%D","%C","%m","%b","%R"')
    rows = list(csv.DictReader(text.splitlines()))
    assert list(rows[0]) == [
        "JOBID", "NAME", "ST", "TIME", "TIME_LEFT", "NODES", "CPUS", "MIN_MEMORY", "TRES_PER_NODE", "NODELIST(REASON)",
    ]  # fmt: skip
    assert (rows[3]["JOBID"], rows[3]["ST"], rows[3]["TRES_PER_NODE"]) == ("3", "R", "gres:gpu:1")


WRONG = {
    "-j 999": "slurm_load_jobs error: Invalid job id specified",
    "-j 17": "slurm_load_jobs error: Invalid job id specified",
    "-j 999_1": "slurm_load_jobs error: Invalid job id specified",
    "-j abc": "squeue: error: Invalid job id: abc",
    "-t nonsense": "squeue: error: Invalid job state specified: NONSENSE; valid are PENDING,.*",
    "-w elsewhere": "squeue: error: Invalid node name elsewhere",
    "-M elsewhere": "squeue: error: No cluster 'elsewhere' known; the only one is gflow",
    "-S 9": "squeue: error: Invalid sort specification: 9",
    "-i 0": "squeue: error: Invalid iterate value: 0",
    "-l -o %i": "squeue: error: --format and --long are mutually exclusive; give one of them",
    "--json": "squeue: error: --json: gflow has its own JSON: gflowctl queue --json",
    "strange": "squeue: error: Unrecognized option: strange",
}


@pytest.mark.parametrize("words", WRONG)
def test_what_is_wrong_is_said_in_one_line(some: Ctl, words: str) -> None:
    done = some.slurm("squeue", *words.split())
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(WRONG[words] + "\n", done.stderr)


def test_unknown_users_and_fields_are_told_beside_the_rest(some: Ctl) -> None:
    done = some.slurm("squeue", "-u", "no-such-user")
    assert (done.returncode, done.stdout) == (0, HEADER)
    assert done.stderr == "squeue: error: Invalid user: no-such-user\n\n"
    done = some.slurm("squeue", "-h", "-j", "3", "-o", "%i %;")
    assert (done.stdout, done.stderr) == ("3 %;\n", "squeue: error: Invalid job format specification: ;\n")
    assert told(some, "-M", "gflow", "-o", "%i", "-j", "3") == "CLUSTER: gflow\nJOBID\n3\n"


def test_jobs_of_the_last_minutes_are_found_in_the_history_too(ctl: Ctl) -> None:
    ctl.submit("-n", "a", "true")
    ctl.end_job(1, exit_code=0)
    ctl.archive(1)
    assert told(ctl, "-h", "-t", "all", "-o", "%i %t") == "1 CD\n"
    assert told(ctl, "-h", "-j", "1", "-t", "all", "-o", "%i %t") == "1 CD\n"
    assert told(ctl, "-h") == ""


def test_squeue_imports_no_more_than_queue(ctl: Ctl) -> None:
    ctl.observe()
    ctl.submit("true")
    program = "import sys; sys.argv = ['squeue']; from gflowctl.slurm.main import main; main('squeue', [])\n"
    program += "import json; modules = [*sys.modules]; print(json.dumps(modules), file=sys.stderr)"
    brought = imported(ctl, program="import sys, orjson, json; print(json.dumps([*sys.modules]), file=sys.stderr)")
    assert not (imported(ctl, program=program) & (TOO_DEAR_FOR_SUBMIT | {"argparse"})) - brought - {
        "gflowctl.view.jobs", "gflowctl.view.views",
    }  # fmt: skip
