"""Real attempts of a daemon for many users: job.sh as another user, in a control group of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from stage import live
from support.waiting import eventually

from gflowd.core.execution import job_script
from gflowd.core.execution.observations import LiveJob
from gflowd.effects.shared_mode import attempt_directory, job_groups
from gflowd.effects.shared_mode.job_groups import JobGroups
from gflowd.paths import Runtime, Shared, State
from gflowd.workers.base import Wiring

UID = 60001  # without a name: none is needed here


class SharedJobs:
    """`wiring`: of a daemon for many users."""

    def __init__(self, wiring: Wiring, groups: JobGroups, place: Path) -> None:
        self.wiring, self.groups, self.place = wiring, groups, place
        self.state = wiring.state
        self.processes: list[subprocess.Popen[bytes]] = []

    def own(self, job_id: int) -> Path:
        return Path(self.state.own_attempt(job_id, 1))

    def prepare(self, job_id: int, text: str) -> None:
        key = (job_id, 1)
        environment = self.place / "environment.sh"
        environment.write_text("export PATH=/usr/bin:/bin\n")
        environment.chmod(0o644)
        launch = job_script.Launch(
            title="test",
            directory=os.fsencode(self.state.attempt(*key)),
            own=os.fsencode(self.state.own_attempt(*key)),
            bell=os.fsencode(attempt_directory.bell(self.state, key)),
            environment=os.fsencode(environment),
            variables=(),
            cwd=b"/",
            umask=0o022,
            command=(b"/bin/sh", b"-c", text.encode()),
        )
        attempt_directory.prepare(self.state, key, job_script.job_script(launch), (UID, UID))
        self.groups.make(key)

    def start(self, job_id: int, text: str, before: str = "exec") -> LiveJob:
        """Starts `text` in its group under job.sh, which `before` runs; the job as it is before it is seen to begin."""
        self.prepare(job_id, text)
        script = f"{before} /bin/sh {self.state.attempt(job_id, 1)}/job.sh"
        self.run(job_id, script)
        return live(job_id, uid=UID)

    def run(self, job_id: int, script: str, uid: int = UID) -> subprocess.Popen[bytes]:
        """Runs something in the group of a job."""
        join = f"echo 0 >{self.groups.path((job_id, 1))}/cgroup.procs || exit 9"
        words = ["/bin/sh", "-c", f'{join}; exec setpriv --reuid {uid} --regid {uid} --clear-groups sh -c "$1"', "sh"]
        process = subprocess.Popen([*words, script], stdin=subprocess.DEVNULL, start_new_session=True)
        self.processes.append(process)
        return process

    def command_runs(self, job_id: int, program: str) -> bool:
        """Whether the job's own program runs already, not only the script that starts it: `lives` is said of both."""
        members = Path(self.groups.path((job_id, 1)), "cgroup.procs").read_text().split()
        return any(program == _name(pid) for pid in members)

    def wait(self) -> None:
        for process in self.processes:
            process.wait(60)


def _name(pid: str) -> str | None:
    try:
        return Path("/proc", pid, "comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None


@contextmanager
def shared_jobs(wiring: Wiring) -> Iterator[SharedJobs]:
    """A place that other users reach, and groups."""
    if os.geteuid() != 0:
        pytest.skip("only root starts jobs of others")
    place = Path(tempfile.mkdtemp(prefix="gflow-shared-"))
    place.chmod(0o711)
    groups = job_groups.find(str(place / "state"), by_systemd=False)
    if groups is None:
        place.rmdir()
        pytest.skip("no control groups that we may make")
    state = State(str(place / "state"))
    os.mkdir(state.root, 0o711)
    state.share(Shared(spool=str(place)))
    os.mkdir(state.jobs, 0o711)
    os.chmod(state.jobs, 0o711)
    config = replace(wiring.config, shared_launcher="own", start_grace=60.0)
    made = SharedJobs(replace(wiring, state=state, runtime=Runtime(str(place)), config=config), groups, place)
    try:
        yield made
    finally:
        for name in os.listdir(groups.root):
            if "." in name and name.partition(".")[0].isdecimal():
                groups.kill((int(name.partition(".")[0]), int(name.partition(".")[2])))
        made.wait()
        eventually(lambda: (groups.close(age=0.0), not os.path.exists(groups.root))[1])
        shutil.rmtree(place)
