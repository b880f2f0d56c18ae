"""All that users own, or may write, is in the spool; root's state and runtime directories hold nothing of it. So users
who fill the file system that theirs is on keep nobody from the queue.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest
from support.shared_machine import new_shared_machine
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shared_machine import Person, SharedMachine

SPOOL = "/var/spool/gflow"
UNTIL_TOLD = 'echo >"$TMPDIR/kept"; until [ -e go ]; do sleep 0.1; done'
SLURMS = f"#!/bin/sh\n#SBATCH --output=out.%j\n{UNTIL_TOLD}\nsrun -n 1 true\n"
# What users have there while their jobs run.
PLACES = (
    "env/[0-9a-f]{32}", "env/[0-9a-f]{32}.sh", "scripts/[0-9a-f]{32}", "outputs/[^/]+", "relays/[^/]+/alive",
)  # fmt: skip


def of_users(machine: SharedMachine, *places: str) -> dict[str, str]:
    """What users own or may write there, by path. A socket of root's at which they may ask is not theirs."""
    line = f"find {' '.join(places)} ! -type l -printf '%U %G %m %y %p\\n'"
    found = {}
    for each in machine.as_user("root").sh(line).stdout.splitlines():
        uid, gid, mode, kind, path = each.split(" ", 4)
        if uid != "0" or gid != "0" or (int(mode, 8) & 0o022 and (kind, path) != ("s", "/run/gflow/gate.sock")):
            found[path] = each
    return found


def test_nothing_of_users_is_in_roots_directories_whatever_their_jobs_do() -> None:
    with new_shared_machine(executor={"grace": 1}, logs={"max_size": "64K"}) as machine:
        machine.start()
        gfa, gfb = machine.as_user("gfa"), machine.as_user("gfb")
        ids = {name: begin_all_kinds(machine.as_user(name)) for name in ("gfa", "gfb")}
        attended = gfa.begin("run", "--", "sh", "-c", UNTIL_TOLD)
        for name, jobs in ids.items():
            machine.as_user(name).until_in(jobs, "running", "suspended", "cancelled", "failed")
        eventually(lambda: sum("until" in each.words for each in machine.of_user("gfa").values()) >= 4)
        assert of_users(machine, "/var/lib/gflow", "/run/gflow") == {}

        theirs = of_users(machine, SPOOL)
        wanted = [f"{SPOOL}/users/{person.uid}/{place}" for person in (gfa, gfb) for place in PLACES]
        wanted += [f"{SPOOL}/jobs/[0-9]+/1/u/{name}" for name in ("log", "pid", "exit", *TMUX)]
        wanted += [rf"{SPOOL}/gflow-\w+/[0-9]+/kept"]
        missing = [each for each in wanted if not any(re.fullmatch(each, path) for path in theirs)]
        assert missing == [f"{SPOOL}/users/60002/relays/[^/]+/alive"], "only gfa has used gflowctl run"

        for person, jobs in ((gfa, ids["gfa"]), (gfb, ids["gfb"])):
            person.write("go", "")
            person.ctl("unsuspend", "--all", check=False)
            person.wait(*jobs)
        assert attended.communicate(timeout=60)[1] == b""
        eventually(lambda: not machine.of_user("gfa") and not machine.of_user("gfb"))
        assert not [path for path in of_users(machine, SPOOL) if path.endswith("tmux.sock")]
        machine.stop()
        assert of_users(machine, "/var/lib/gflow", "/run/gflow") == {}


TMUX = ("tmux.sock",) if shutil.which("tmux") else ()


def begin_all_kinds(person: Person) -> list[int]:
    """Jobs of which some wait for the file `go`."""
    script = str(person.write("job.sh", f"#!/bin/sh\ngflowctl progress 1/2\n{UNTIL_TOLD}\n", 0o755))
    slurms = str(person.write("slurm.sh", SLURMS, 0o755))
    ids = [
        person.submit("--cpus", "0", "--executor", "process", script),
        person.submit("--cpus", "0", slurms),
        person.submit("--cpus", "0", "--max-retries", "1", "--retry-on", "failure", "--", "sh", "-c", "exit 3"),
        person.submit("--cpus", "0", "--", "sh", "-c", f"yes | head -c 300000; {UNTIL_TOLD}"),
    ]
    if TMUX:
        ids.append(person.submit("--cpus", "0", "--executor", "tmux", script))
    first = person.ctl("submit", "--parsable", "--cpus", "0", "--array", "1-2", "--output", "all", script).stdout
    ids += [int(first.partition("_")[0].partition("-")[0])]
    suspended, cancelled = (person.submit("--cpus", "0", script) for _ in range(2))
    for job in (suspended, cancelled):
        person.until(job, "running")
    person.ctl("suspend", str(suspended))
    person.ctl("cancel", str(cancelled))
    return [*ids, suspended, cancelled]


@pytest.fixture
def small() -> Iterator[SharedMachine]:
    """A machine whose spool, and nothing else, is a file system of 8 MiB."""
    with new_shared_machine(executor={"type": "process"}, gpu={"simulate": "1"}) as machine:
        made = machine.as_user("root").sh(f"mkdir {SPOOL} && mount -t tmpfs -o mode=711,size=8M spool {SPOOL}")
        assert made.returncode == 0, made
        machine.start()
        yield machine


@pytest.mark.parametrize("executor", ["process", *(["tmux"] if TMUX else [])])
@pytest.mark.parametrize("of", ["bytes", "inodes"])
def test_jobs_that_end_while_the_spool_is_full_have_ended_and_give_their_gpu_on(
    small: SharedMachine, of: str, executor: str
) -> None:
    gfa, gfb, root = (small.as_user(name) for name in ("gfa", "gfb", "root"))
    script = str(gfb.write("job.sh", "#!/bin/sh\nuntil [ -e go ]; do sleep 0.1; done\nexit 4\n", 0o755))
    mine = gfa.submit("--executor", executor, "--", "sleep", "1000")
    ends = gfb.submit("--gpus", "1", "--executor", executor, script)
    unfound = gfb.submit("--executor", executor, "--", "sh", "-c", "until [ -e go ]; do sleep 0.1; done; no-such-thing")
    following = gfb.submit("--gpus", "1", "--executor", executor, script)
    for person, job in ((gfa, mine), (gfb, ends), (gfb, unfound)):
        person.until(job, "running")
    if of == "inodes":
        root.sh(f"mount -o remount,nr_inodes=$(($(df --output=iused {SPOOL} | tail -n 1) + 20)) {SPOOL}")
    place = f"{SPOOL}/jobs/{mine}/1/u"
    fill = {"bytes": "cat /dev/zero >more", "inodes": "for i in $(seq 100); do mkdir $i || exit; done"}[of]
    assert "No space left" in gfa.sh(f"cd {place} && {fill}").stderr

    gfb.write("go", "")
    assert [gfb.ended(job)["exit_code"] for job in (ends, unfound)] == [4, 127]
    eventually(lambda: gfb.job(following)["gpu_ids"] == [0])
    assert gfb.job(following)["state"] == "starting", "there is no room to begin it"
    gfa.sh(f"cd {place} && rm -r more [0-9]*")
    assert gfb.ended(following)["exit_code"] == 4
    assert small.daemon.poll() is None


@pytest.mark.parametrize("where", ["jobs/{job}/1/u", "users/60001/env", "users/60001/relays", "gflow-*/{job}"])
def test_who_fills_the_spool_stops_no_change_of_the_queue(small: SharedMachine, where: str) -> None:
    gfa, gfb, root = (small.as_user(name) for name in ("gfa", "gfb", "root"))
    script = str(gfb.write("job.sh", "#!/bin/sh\nuntil [ -e go ]; do sleep 0.1; done\nexit 4\n", 0o755))
    runs, stopped = (gfb.submit(script) for _ in range(2))
    waits, unwanted = (gfb.submit("--hold", script) for _ in range(2))
    assert gfa.run(str(gfa.bin / "gflowctl"), "run", "true").returncode == 0
    mine = gfa.submit("--", "sleep", "1000")
    for person, job in ((gfa, mine), (gfb, runs), (gfb, stopped)):
        person.until(job, "running")
    place = root.sh(f"cd {SPOOL}/{where.format(job=mine)} && echo $PWD/$(ls | head -n 1)").stdout.strip()
    place = f"{place}x" if place.endswith("/") else place
    assert "No space left" in gfa.sh(f"chmod u+w {place}; cat /dev/zero >>{place}").stderr

    gfb.ctl("cancel", str(unwanted))
    gfb.until(unwanted, "cancelled")
    gfb.ctl("release", str(waits))
    gfb.ctl("submit", "--hold", script)  # with what is kept already
    assert "No space left" in gfb.refused(3, "submit", "true", env={**gfb.env, "ANEW": "x" * 5000})
    gfb.ctl("cancel", str(stopped))
    gfb.until(stopped, "cancelled")
    assert gfb.job(runs)["state"] == "running"
    gfb.write("go", "")
    root.sh(f"truncate -s 0 {place}")
    assert [gfb.ended(job)["exit_code"] for job in (runs, waits)] == [4, 4]
    assert small.daemon.poll() is None
