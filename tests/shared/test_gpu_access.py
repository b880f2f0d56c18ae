"""Who can open which GPU's device file on a machine of several users. The kernel asks its filters first, so files of
NVIDIA's numbers do without a driver: what no filter refuses fails later, in another way.
"""

from __future__ import annotations

import json
import os
import shutil
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
