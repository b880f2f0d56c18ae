"""Who can open which GPU's device file on a machine of several users. The kernel asks its filters first, so files of
NVIDIA's numbers do without a driver: what no filter refuses fails later, in another way.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from support.groups import WHY_NO_FILTER
from support.nvidia import VARIABLE, Cards
from support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from support.shared_machine import Person, SharedMachine

pytestmark = pytest.mark.skipif(WHY_NO_FILTER is not None, reason=str(WHY_NO_FILTER))


@pytest.fixture(scope="module", autouse=True)
def cards(machine: SharedMachine, fake_nvml: Path) -> Cards:
    """Two GPUs, /dev/nvidia1 and /dev/nvidia0, whose files everybody may open, as far as their modes go."""
    place = machine.root / "dev"
    place.mkdir(mode=0o755)
    for minor in (0, 1, 255):
        path = place / f"nvidia{minor}"
        os.mknod(path, 0o020666, os.makedev(195, minor))
        path.chmod(0o666)
    shutil.copy(fake_nvml, place)
    found = Cards(place / "gpus", 2)
    found.set("a", minor=1)
    found.set("b", minor=0)
    machine.as_user("root").env |= {"LD_LIBRARY_PATH": str(place), VARIABLE: str(found.file)}
    machine.write_config(gpu={"poll_interval": 1}, shared={"enforce_gpus": "everyone"})
    machine.start()
    return found


def probe(machine: SharedMachine) -> str:
    """A line of the shell that prints the numbers of the files that no filter closes."""
    name = f"{machine.root}/dev/nvidia$n"
    return f'for n in 0 1 255; do (: <>{name}) 2>&1 | grep -q "not permitted" || echo $n; done'


def opens(person: Person) -> list[str]:
    return person.sh(probe(person.machine)).stdout.split()


def has_said(person: Person, job_id: int, words: list[str]) -> bool:
    return person.log(job_id).decode().split() == words


def told(machine: SharedMachine) -> dict[str, Any]:
    done = machine.as_user("root").run(str(machine.programs / "gflowd"), "status", "--system", "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_nobody_but_root_opens_a_gpu_outside_of_jobs(machine: SharedMachine) -> None:
    user, root = machine.as_user("gfa"), machine.as_user("root")
    eventually(lambda: told(machine)["enforce_gpus"] == "everyone")
    eventually(lambda: opens(user) == ["255"])
    assert opens(root) == ["0", "1", "255"]
    assert told(machine)["open_gpus"] is None
    lines = root.run(str(machine.programs / "gflowd"), "status", "--system").stdout
    assert "\nGPUs      jobs can open only those they were given, logins none (enforce_gpus)\n" in lines


def test_jobs_of_users_know_and_open_their_own(machine: SharedMachine, cards: Cards) -> None:
    """And so do the processes that they start, without a terminal and in one."""
    gfa, gfb = machine.as_user("gfa"), machine.as_user("gfb")
    look, wait = probe(machine), "while [ ! -e go ]; do sleep 0.05; done"
    line = f"{look}; setsid -w sh -c '{look}'; echo $CUDA_VISIBLE_DEVICES; {wait}"
    uuids, executors = cards.uuids, ("process", "tmux") if shutil.which("tmux") else ("process",)
    for executor in executors:
        jobs = [
            (person, person.submit("--executor", executor, *options, "--wrap", line), [*mine, *mine, *named])
            for person, options, mine, named in (
                (gfa, ("-g", "1"), ("1", "255"), (uuids["a"],)),
                (gfb, ("-g", "1"), ("0", "255"), (uuids["b"],)),
                (gfb, (), ("255",), ()),
            )
        ]
        for person, job_id, said in jobs:
            person.until(job_id, "running")
            eventually(partial(has_said, person, job_id, said))
        for person in (gfa, gfb):
            person.write("go", "")
        assert [person.wait(job_id) for person, job_id, _ in jobs] == [0, 0, 0]
        for person in (gfa, gfb):
            (person.work / "go").unlink()


def test_logins_stay_shut_out_while_the_daemon_is_down_and_come_in_when_that_is_not_wanted(
    machine: SharedMachine,
) -> None:
    gfa = machine.as_user("gfa")
    machine.stop()
    assert opens(gfa) == ["255"]
    machine.write_config(shared={"enforce_gpus": "jobs"})
    machine.start()
    eventually(lambda: opens(gfa) == ["0", "1", "255"])
    machine.stop()


def test_daemons_of_users_keep_off_what_roots_has_given_and_it_believes_only_whom_it_trusts(
    machine: SharedMachine, cards: Cards
) -> None:
    gfa, gfb = machine.as_user("gfa"), machine.as_user("gfb")
    places = {"GFLOW_STATE_DIR": f"{gfa.home}/gflow", "GFLOW_CONFIG": str(gfa.write("own.toml", "gpu.poll_interval=1"))}
    own = {**gfa.env, **places, **{name: machine.as_user("root").env[name] for name in ("LD_LIBRARY_PATH", VARIABLE)}}

    def mine(*words: str, program: str = "gflowctl") -> str:
        done = gfa.run(str(gfa.bin / program), *words, env=own)
        assert done.returncode == 0, done
        return done.stdout

    def states(found: dict[str, Any]) -> list[tuple[str, str | None]]:
        return [(gpu["state"], gpu["cause"]) for gpu in found["gpus"]]

    wait = "while [ ! -e go ]; do sleep 0.05; done"
    machine.start()
    first = gfb.submit("-g", "1", "--wrap", wait)
    gfb.until(first, "running")
    mine("start", program="gflowd")
    elsewhere = ("unmanaged", "allocated by another gflow daemon")
    eventually(lambda: states(json.loads(mine("status", "--json", program="gflowd"))) == [elsewhere, ("idle", None)])
    mine("submit", "-g", "1", "--wrap", wait)
    eventually(lambda: states(told(machine))[1] == ("idle", "claimed by gfa, whose claims are not honoured"))
    machine.write_config(gpu={"trust_claims_of": ["gfa"]})
    machine.daemon.send_signal(signal.SIGHUP)
    eventually(lambda: states(told(machine))[1] == elsewhere)
    gfa.write("go", "")
    eventually(lambda: states(told(machine))[1] == ("idle", None))
    mine("stop", program="gflowd")
    gfb.write("go", "")
    assert gfb.wait(first) == 0
    machine.stop()
