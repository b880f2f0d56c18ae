"""Who can open which GPU's device file on a machine of several users. The kernel asks its filters first, so files of
NVIDIA's numbers do without a driver: what no filter refuses fails later, in another way.
"""

from __future__ import annotations

import json
import os
import shutil
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
    machine.begin()
    return found


def probe(machine: SharedMachine) -> str:
    """A line of the shell that prints the numbers of the files that no filter closes."""
    name = f"{machine.root}/dev/nvidia$n"
    return f'for n in 0 1 255; do (: <>{name}) 2>&1 | grep -q "not permitted" || echo $n; done'


def opens(person: Person) -> list[str]:
    return person.sh(probe(person.machine)).stdout.split()


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


# Launches one job for each set of GPUs, by both executors, as the scheduler does, and says what the filters lack.
LAUNCH = r"""
import json, os, time
from gflowd import paths
from gflowd.config import loader
from gflowd.core.gpu.device import Gpu
from gflowd.core.job.model import Job, Run, Spec, Starting, Wish
from gflowd.paths import Runtime, State
from gflowd.workers.scheduler.scratch import Scratch
from gflowd.workers.scheduler.shared_launcher import SharedLauncher

state, runtime = State("/var/lib/gflow"), Runtime("/run/gflow", of_many=True)
config = loader.load("/etc/gflow/gflow.toml", {}, system=True)
launcher = SharedLauncher(state, runtime, Scratch(state, state.root), config)
paths.passable_directory(state.path("env", "60001"))
fd = os.open(state.environment("e", 60001), os.O_WRONLY | os.O_CREAT, 0o400)
os.write(fd, b"PATH=/usr/bin:/bin")
os.fchown(fd, 60001, -1)
batch = []
for job_id, executor, gpu_ids in json.loads(sys.argv[2]):
    uuids = tuple(f"GPU-{n}" for n in gpu_ids)
    spec = Spec(user="gfa", uid=60001, name="n", cwd="/", env="e", submitted_at=1.0, command=("sh", "-c", sys.argv[1]))
    run = Run(executor=executor, launched_at=1.0, gpu_ids=tuple(gpu_ids), gpu_uuids=uuids)
    batch.append((Job(job_id, spec, Wish(), Starting(run=run)), run))
gpus = tuple(Gpu(index=n, uuid=f"GPU-{n}", model="M", memory_mb=1, minor=1 - n) for n in range(2))
launcher.guard(gpus, [job for job, _ in batch])
launcher.launch(batch)
launcher.guard(gpus, [job for job, _ in batch])
while launcher.reap():
    time.sleep(0.02)
print(launcher.open_gpus)
"""


def test_a_job_opens_the_gpus_that_it_was_given_only(machine: SharedMachine) -> None:
    machine.stop()
    executors = ("process", "tmux") if shutil.which("tmux") else ("process",)
    wanted = [(), (0,), (1,), (0, 1)]
    jobs = [
        (80 + 10 * number + n, name, gpus) for number, name in enumerate(executors) for n, gpus in enumerate(wanted)
    ]
    done = machine.as_user("root").python(LAUNCH, f"{probe(machine)}; sh -c '{probe(machine)}'", json.dumps(jobs))
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr
    for job_id, _, gpu_ids in jobs:
        log = machine.own(job_id) / "log"
        eventually(lambda log=log: log.exists() and log.read_text().count("255") == 2)  # type: ignore[misc]
        mine = sorted(str(1 - n) for n in gpu_ids)
        assert log.read_text().split() == [*mine, "255"] * 2, "and so do its children"
    assert opens(machine.as_user("gfa")) == ["255"], "logins stay shut out while the daemon is down"
