"""Jobs start as their submitters, by gflow's own program: the launcher alone, on a machine of several users."""

from __future__ import annotations

import json
import re
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.machine import ROOT
from support.shared_machine import ACCOUNTS
from support.waiting import eventually

if TYPE_CHECKING:
    from support.shared_machine import SharedMachine

UID = ACCOUNTS["gfa"]
EXECUTORS = ["process", pytest.param("tmux", marks=pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux"))]
NAMES = ("process", "tmux") if shutil.which("tmux") else ("process",)
STANDARD_SIGNALS = 0x7FFFFFFF & ~(3 << 20)  # tmux ignores those of background processes (TTIN, TTOU)
# Launches the jobs that it is told of and waits until all that it started has ended; prints what it did not start.
LAUNCH = r"""
import json, os, time
from gflowd import log, paths
from gflowd.config import loader
from gflowd.core.job.model import Job, Run, Spec, Starting, Wish
from gflowd.paths import Runtime, State
from gflowd.workers.scheduler.upkeep.scratch import Scratch
from gflowd.workers.scheduler.launching.shared_launcher import SharedLauncher

state, runtime = State("/var/lib/gflow"), Runtime("/run/gflow", of_many=True)
state.share(paths.Shared())
runtime.prepare()
for place in (state.root, state.jobs, state.users):
    paths.passable_directory(place)
config = loader.load("/etc/gflow/gflow.toml", {}, system=True)
launcher = SharedLauncher(state, runtime, Scratch(state, state.root), config)
batch = []
for said in json.loads(sys.argv[1]):
    job_id, executor = said.pop("id"), said.pop("executor")
    environment = b"PATH=/usr/bin:/bin\0MINE=it's\0"
    name = paths.content_name(environment)
    spec = {"user": "gfa", "uid": 60001, "name": "n", "cwd": "/", "env": name, "submitted_at": 1.0, **said}
    spec["command"] = tuple(spec["command"])
    paths.passable_directory(state.kept("env", spec["uid"]))
    kept = state.environment(name, spec["uid"])
    if not os.path.exists(kept):
        fd = os.open(kept, os.O_WRONLY | os.O_CREAT, 0o400)
        os.write(fd, environment)
        os.fchown(fd, spec["uid"] or 0, -1)
        os.close(fd)
    run = Run(executor=executor, launched_at=1.0)
    batch.append((Job(job_id, Spec(**spec), Wish(), Starting(run=run)), run))
os.environ["SECRET_OF_OURS"] = "x"
launcher.launch(batch)
if "again" in sys.argv:
    SharedLauncher(state, runtime, Scratch(state, state.root), config).launch(batch)
while launcher.reap():
    time.sleep(0.02)
print(json.dumps({f"{a}": b for (a, _), b in launcher.deferred.items()}))
"""


@pytest.fixture(scope="module", autouse=True)
def settled(machine: SharedMachine) -> None:
    machine.write_config()
    limits = machine.root / "etc/security/limits.conf"
    limits.write_text(f"{limits.read_text()}\ngfa hard nofile 4711\n")


def launch(machine: SharedMachine, *jobs: dict[str, Any], words: tuple[str, ...] = ()) -> dict[str, str]:
    done = machine.as_user("root").python(LAUNCH, json.dumps(jobs), *words)
    assert done.returncode == 0, done.stderr
    deferred: dict[str, str] = json.loads(done.stdout)
    return deferred


def job(job_id: int, line: str, executor: str = "process", **fields: Any) -> dict[str, Any]:
    return {"id": job_id, "executor": executor, "command": ["/bin/sh", "-c", line], **fields}


def log(machine: SharedMachine, job_id: int) -> str:
    return (machine.own(job_id) / "log").read_bytes().decode().replace("\r\n", "\n")


def barred(machine: SharedMachine, job_id: int) -> str:
    return (machine.attempt(job_id) / "barred").read_text()


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_job_runs_as_its_submitter_with_all_that_pam_says(machine: SharedMachine, executor: str) -> None:
    job_id = 2 if executor == "tmux" else 1
    text = (
        "id -u; id -Gn; cat /proc/self/loginuid; echo; grep ^0: /proc/self/cgroup; cat /proc/self/oom_score_adj;"
        " grep -E 'open files' /proc/self/limits; grep -E 'NoNew|SigIgn|SigBlk|CapPrm' /proc/self/status; pwd; umask;"
        ' echo "$MINE $SECRET_OF_OURS"; env | grep -c -E "^(HOME|USER|INVOCATION_ID)="; exit 7'
    )
    assert launch(machine, job(job_id, text, executor, umask=0o027)) == {}
    said = log(machine, job_id)
    ignored = int(re.findall(r"SigIgn:\t(\w+)", said)[0], 16)
    assert ignored & STANDARD_SIGNALS == 0
    assert re.sub(r"SigIgn.*|/gflow-\w+", "", said).split() == [
        str(UID), "gfa", "gflab", str(UID), f"0::/{job_id}.1", "0", "Max", "open", "files", "1024", "4711", "files",
        "SigBlk:", "0" * 16, "CapPrm:", "0" * 16, "NoNewPrivs:", "0", "/", "0027", "it's", "0",
    ]  # fmt: skip
    assert (machine.own(job_id) / "exit").read_text() == "7\n"
    assert (executor == "tmux") == (machine.own(job_id) / "log.end").exists()
    assert machine.of_user("gfa") == {}


def test_root_keeps_its_part_and_the_submitter_has_the_rest(machine: SharedMachine) -> None:
    assert launch(machine, job(3, "echo x", output="out-%j", cwd=str(machine.as_user("gfa").work))) == {}
    shown = machine.as_user("root").sh(
        "cd /var/spool/gflow/jobs; stat -c '%n %u %a' 3 3/1 3/1/* 3/u 3/u/*; find 3 ! -uid 60001"
    )
    assert shown.stdout.splitlines() == [
        "3 0 711", "3/1 0 711", f"3/1/begin {UID} 500", f"3/1/bell {UID} 600", f"3/1/job.sh {UID} 500",
        f"3/1/u {UID} 700", f"3/u {UID} 700", *(line for line in shown.stdout.splitlines() if "opened" in line),
        "3", "3/1",
    ]  # fmt: skip
    assert (machine.as_user("gfa").work / "out-3").read_text() == "x\n"
    assert machine.as_user("gfb").sh("cat /var/spool/gflow/jobs/3/1/job.sh").returncode == 1
    assert (machine.root / "run/gflow/pam_login.py").stat().st_mode & 0o777 == 0o600


def test_launching_again_runs_nothing_again(machine: SharedMachine) -> None:
    ran = machine.as_user("gfa").work / "ran"
    assert (
        launch(machine, *(job(i, f"echo {i} >>{ran}; sleep 0.3", e) for i, e in enumerate(NAMES, 11)), words=("again",))
        == {}
    )
    assert sorted(ran.read_text().split()) == [str(i) for i, _ in enumerate(NAMES, 11)]


def test_the_session_lasts_until_the_last_process_has_ended(machine: SharedMachine) -> None:
    done = machine.as_user("gfa").work / "done"
    assert launch(machine, job(4, f"env -i setsid sh -c 'sleep 0.4; echo >{done}' & exit 3")) == {}
    assert done.exists()
    assert (machine.own(4) / "exit").read_text() == "3\n"


def test_who_may_not_start_one_is_told_why(machine: SharedMachine) -> None:
    expired = "User account has expired; Your account has expired; please contact your system administrator."
    cases = {
        21: (
            {"uid": ACCOUNTS["gfx"], "user": "gfx"}, f"PAM (service gflow) refuses gfx: {expired}"
        ),
        22: ({"user": "gfold"}, "user 60001 was gfold and is gfa now"),
        23: ({"uid": 60099, "user": "ghost"}, "user 60099, ghost, is no longer a user of this machine"),
        24: ({"uid": None}, "it is not known which user of this machine submitted it"),
        25: ({"uid": 0, "user": "root"}, "jobs of root are not allowed ([shared] allow_root)"),
        26: ({"env": "gone"}, "No such file or directory: /var/spool/gflow/users/60001/env/gone"),
    }  # fmt: skip
    jobs = [job(job_id, "id -u >>/tmp/never", **fields) for job_id, (fields, _) in cases.items()]
    assert launch(machine, *jobs, job(27, "exit 0")) == {}
    assert {job_id: barred(machine, job_id) for job_id in cases} == {i: f"{why}\n" for i, (_, why) in cases.items()}
    assert (machine.own(27) / "exit").read_text() == "0\n"
    assert launch(machine, *jobs) == {}  # nothing starts after all


def test_a_job_keeps_no_way_to_privileges_where_that_is_configured(machine: SharedMachine) -> None:
    machine.write_config(shared={"no_new_privs": True})
    assert launch(machine, job(5, "grep NoNew /proc/self/status")) == {}
    machine.write_config(shared={"no_new_privs": False})
    assert log(machine, 5) == "NoNewPrivs:\t1\n"


# How the user whose program it is would open the terminals of a job of gfa's, and what is found of sessions.
OPEN = r"""
from types import SimpleNamespace
from gflowctl.admin import sessions
from gflowctl.view import terminals
from gflowd.core.errors import Refused
from gflowd.core.job.model import Identity, Job, Run, Running, Spec, Started, Wish
from gflowd.paths import Shared, State

environ = {"TERM": "x", "S": "s"}
context = SimpleNamespace(state=State("/var/lib/gflow"), environ=environ)
context.state.share(Shared())
spec = Spec(command=("x",), name="n", cwd="/", env="e", submitted_at=1.0, user=sys.argv[2], uid=60001)
started = Started(at=1.0, mono=1.0, identity=Identity(pid=1, start=1, boot="b"))
running = Running(run=Run(executor="tmux", launched_at=1.0), started=started)
try:
    print(*terminals.attach(context, Job(6, spec, Wish(), running)))
except Refused as error:
    print(error)
found = sessions.found(context, [Job(6, spec, Wish(), running)])
print([each[:2] for each in found])
if sys.argv[1] == "close":
    print([sessions.close(each) for each in found])
"""


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux")
def test_its_terminal_is_its_owners_alone(machine: SharedMachine) -> None:
    go = machine.as_user("gfa").work / "go"
    begun = machine.as_user("root").begin_program(
        sys.executable, "-B", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{LAUNCH}",
        json.dumps([job(6, f"until [ -e {go} ]; do sleep 0.05; done", "tmux")]),
    )  # fmt: skip
    socket = "/var/spool/gflow/jobs/6/1/u/tmux.sock"
    listed = f"tmux -S {socket} list-sessions -F '#S'"
    eventually(lambda: machine.as_user("gfa").sh(listed).stdout == "gflow-6\n")
    assert "Permission denied" in machine.as_user("gfb").sh(listed).stderr

    def seen(name: str, how: str = "look", user: str = "gfa") -> list[str]:
        return machine.as_user(name).python(OPEN, how, user).stdout.splitlines()

    words = f"['tmux', '-S', '{socket}', 'attach-session', '-t', '=gflow-6:'] {{'TERM': 'x', 'S': 's'}}"
    assert seen("gfa") == [words, "[('gflow-6', 6)]"]
    assert seen("gfb") == seen("gfop") == ["job 6 belongs to gfa", "[]"]
    others = f"['runuser', '--pty', '--user=gfa', '--', 'tmux', '-S', '{socket}', 'attach-session', '-t', '=gflow-6:']"
    assert seen("root") == [others + " {'TERM': 'x'}", "[('gflow-6', 6)]"]
    assert seen("root", user="gfb") == ["gfb is no longer user 60001 of this machine", "[('gflow-6', 6)]"]
    # for root it is opened by a process of the owner's, on a terminal of its own
    line = f"runuser --pty --user=gfa -- tmux -S {socket} attach-session -t =gflow-6:"
    attached = machine.as_user("root").begin_program("env", "TERM=xterm", "script", "-qfec", line, "/dev/null")
    clients = f"tmux -S {socket} list-clients -F '#{{client_user}} #{{client_tty}}'"
    eventually(lambda: re.fullmatch(r"gfa /dev/pts/\d+\n", machine.as_user("gfa").sh(clients).stdout))

    assert seen("gfb", "close")[1:] == ["[]", "[]"]
    assert seen("root", "close")[1:] == ["[('gflow-6', 6)]", "[True]"]
    attached.communicate()
    go.touch()
    assert begun.communicate()[0] == b"{}\n"
    assert not (machine.root / socket[1:]).exists()
    assert machine.of_user("gfa") == {}
    (machine.root / socket[1:]).touch()  # as of a server that was killed
    assert seen("gfa", "close")[1:] == ["[('gflow-6', 6)]", "[False]"]
