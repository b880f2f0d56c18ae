"""What users of a shared machine do with gflowctl, Slurm's programs and the API, and what they see of each other."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest
from support.shared_machine import new_shared_machine
from support.waiting import eventually

if TYPE_CHECKING:
    from support.shared_machine import Person, SharedMachine

API = """
from gflowctl.api import Queue
from gflowd.core.errors import Refused
with Queue() as queue:
    (job,) = queue.submit(["sh", "-c", "echo by program"], executor="process").jobs
    print([each.exit_code for each in queue.wait(job)], queue.log(job).data)
    (job,) = queue.submit("sleep 1000", hold=True).jobs
    print([each.state for each in queue.cancel(job).jobs])
    try:
        queue.log(1)
    except Refused as error:
        print(error)
"""


PAGE = """
from gflowctl.context import Context
from gflowctl.view.views import View
from gflowctl.web.pages import job
import os
context = Context(os.environ)
view = View(context, context.store.read())
view.knows(1)
print(job.shown(job.output(view, view.job(1)), None)["trouble"])
"""


@pytest.fixture(scope="module")
def started(machine: SharedMachine) -> SharedMachine:
    machine.write_config(history={"after": "0s"})
    machine.start()
    return machine


@pytest.fixture(scope="module")
def ada(started: SharedMachine) -> Person:
    return started.as_user("gfa")


@pytest.fixture(scope="module")
def bob(started: SharedMachine) -> Person:
    return started.as_user("gfb")


def shown(person: Person, *words: str) -> Any:
    return json.loads(person.ctl("show", "--json", *words).stdout)[0]


def test_what_a_job_printed_and_what_it_was_given_is_its_owners(ada: Person, bob: Person) -> None:
    script = ada.write("s.sh", "#!/bin/sh\necho $MINE\n", 0o755)
    job = ada.submit("--wait", str(script), env={**ada.env, "MINE": "secret"})
    assert ada.log(job) == b"secret\n"
    assert ada.ctl("show", str(job), "--script").stdout == script.read_text()
    assert "MINE=secret" in ada.ctl("show", str(job), "--env", "--unmask").stdout
    for words in (("log",), ("log", "--follow"), ("show", "--env"), ("show", "--script"), ("redo",)):
        assert bob.refused(1, words[0], str(job), *words[1:]) == f"job {job} belongs to gfa"
    record = shown(bob, str(job))
    assert (record["user"], record["state"]) == ("gfa", "finished")
    assert bob.sh(f"cat {record['log']}").returncode == 1


def test_a_redone_chain_has_its_own_ids(ada: Person) -> None:
    first = ada.submit("--wait", "false", check=False)
    ada.submit("--name", "dep", "--depends-on", f"afterok:{first}", "true")
    eventually(lambda: shown(ada, f"{first + 1}")["state"] == "cancelled")
    again = ada.ctl("redo", "--cascade", "--hold", "--parsable", str(first)).stdout.strip()
    assert again == f"{first + 2}-{first + 3}"
    assert [each["id"] for each in shown(ada, f"{first + 3}")["dependencies"]] == [first + 2]
    assert shown(ada, f"{first + 3}")["redone_from"] == first + 1
    ada.ctl("cancel", again)


def test_run_has_its_relay_and_ends_with_its_users_signals(started: SharedMachine, ada: Person, bob: Person) -> None:
    done = ada.run(str(ada.bin / "gflowctl"), "run", "--", "sh", "-c", "cat; id -un; exit 3", input="typed\n")
    assert (done.returncode, done.stdout, done.stderr) == (3, "typed\ngfa\n", "")
    running = ada.begin("run", "--", "sh", "-c", "trap 'echo got; exit 7' USR1; echo up; while :; do sleep 0.1; done")
    assert running.stdout is not None
    assert running.stdout.readline() == b"up\n"
    job = json.loads(ada.ctl("queue", "--json").stdout)[-1]["id"]
    assert bob.refused(1, "cancel", "--signal", "USR1", str(job)) == f"job {job} belongs to gfa"
    ada.until(job, "running")
    started.as_user("root").ctl("cancel", "--signal", "USR1", str(job))
    assert running.communicate(timeout=30)[0] == b"got\n"
    assert running.returncode == 7
    lost = ada.begin("run", "--", "sh", "-c", "echo up; exec sleep 1000")
    assert lost.stdout is not None
    assert lost.stdout.readline() == b"up\n"
    for pid, process in started.of_user("gfa").items():
        if "gflowctl run" in process.words:
            os.kill(pid, signal.SIGKILL)
    lost.communicate()
    job = json.loads(ada.ctl("queue", "--json", "-a").stdout)[-1]["id"]
    eventually(lambda: shown(ada, str(job))["state"] == "cancelled")
    assert ada.sh("ls /var/spool/gflow/users/60001/relays").returncode == 0
    assert bob.sh("ls /var/spool/gflow/users/60001/relays").returncode != 0


def test_slurms_programs_work(ada: Person) -> None:
    place = f"{ada.home}/slurm"
    ada.ctl("slurm-commands", "install", place)
    ada.write("b.sh", "#!/bin/sh\n#SBATCH -n 2\nsrun sh -c 'echo step $SLURM_PROCID'\n", 0o755)
    env = {**ada.env, "PATH": f"{place}:{ada.env['PATH']}"}
    done = ada.sh("sbatch --wait -o out b.sh && sort out && salloc sh -c 'srun -n 1 id -un' && srun id -un", env=env)
    assert done.returncode == 0, done
    assert done.stdout.splitlines()[1:] == ["step 0", "step 1", "gfa", "gfa"]
    held = ada.sh("sbatch --hold --parsable b.sh", env=env).stdout.strip()
    assert f"JobId={held} " in ada.sh(f"scontrol show job {held}", env=env).stdout
    assert ada.sh(f"scancel {held} && squeue -h", env=env).stdout == ""
    assert "SlurmUser               = root(0)\n" in ada.sh("scontrol show config", env=env).stdout


def test_programs_change_and_read_it_too(ada: Person, bob: Person) -> None:
    done = bob.python(API)
    page = bob.python(PAGE)
    assert page.stdout == "/var/spool/gflow/jobs/1/1/u/log: Permission denied; it belongs to gfa\n", page
    assert done.returncode == 0, done
    assert done.stdout.splitlines() == ["[0] b'by program\\n'", "['cancelled']", "job 1 belongs to gfa"], done


def test_a_job_sees_the_daemon_that_runs_it(ada: Person) -> None:
    inside = "gflowctl progress 40% half; gflowctl queue --format jobid,user; gflowctl submit --parsable --hold true"
    job = ada.submit("--wait", "--", "sh", "-c", inside)
    found = ada.log(job).decode().split()
    assert (found[2:4], found[-1]) == ([str(job), "gfa"], str(job + 1))
    assert (shown(ada, str(job))["progress"], shown(ada, str(job))["progress_text"]) == (0.4, "half")
    ada.ctl("cancel", "--all")
    assert ada.ctl("--daemon", "user", "queue", "--json").stdout == "[]\n"


def test_what_left_for_the_history_is_asked_for_through_the_gateway(ada: Person, bob: Person) -> None:
    mine = ada.submit("--wait", "--name", "past", "true")
    eventually(lambda: ada.ctl("queue", "--json").stdout == "[]\n")
    ada.submit("--hold", "--name", "present", "true")  # lets the scheduler archive what has ended
    eventually(lambda: "no job has left" not in ada.ctl("doctor", check=False).stdout)
    assert ada.sh("cat /var/lib/gflow/history.db").returncode != 0
    eventually(lambda: shown(bob, str(mine))["name"] == "past")
    assert "\ngfa," in bob.ctl("stats", "--by", "user", "--csv", "-u", "gfa").stdout
    assert "only jobs that are still in the queue" not in bob.ctl("stats").stderr
    assert ada.ctl("wait", str(mine)).returncode == 0
    assert "gflow_attempts_ended_total" in bob.ctl("metrics").stdout
    ada.ctl("cancel", "--all")


def test_private_jobs_show_how_they_stand_and_not_what_they_run() -> None:
    with new_shared_machine(shared={"launcher": "own", "gateway": "worker", "private_jobs": True}) as machine:
        ada, bob, operator = (machine.as_user(name) for name in ("gfa", "gfb", "gfop"))
        machine.start()
        job = ada.submit("--comment", "mine", "--", "sh", "-c", "echo secret; exit 2")
        assert bob.ctl("wait", str(job), check=False).returncode == 2
        assert (shown(bob, str(job))["state"], shown(bob, str(job))["comment"]) == ("failed", None)
        seen = bob.ctl("show", str(job)).stdout
        assert "secret" not in seen
        assert re.search(r"^Command: +\(private\)$", seen, re.MULTILINE)
        assert "Directory:" not in seen
        script = ada.write("job.sh", "#!/secret\n", 0o755)
        lost = ada.submit(str(script))
        assert ada.ctl("wait", str(lost), check=False).returncode != 0
        assert [shown(each, str(lost))["reason"] for each in (bob, ada)] == [
            "LaunchFailed:(private)",
            "LaunchFailed:its interpreter is missing or cannot be executed: /secret",
        ]
        assert (
            shown(ada, str(job))["command"]
            == shown(operator, str(job))["command"]
            == ["sh", "-c", "echo secret; exit 2"]
        )
        assert "jobs are private" in bob.refused(1, "events")
        assert bob.log(bob.submit("--wait", "echo", "own")) == b"own\n"
        assert bob.sh("cat /var/lib/gflow/snapshot.jsonl /var/lib/gflow/events.jsonl").stdout == ""


def test_of_two_submissions_at_one_moment_that_skip_each_other_one_is_queued(ada: Person) -> None:
    words = ("submit", "--parsable", "--skip-if-queued", "--hold", "--name", "nightly", "true")
    begun = [ada.begin(*words) for _ in range(8)]
    said = {each.communicate() for each in begun}
    assert [each.returncode for each in begun] == [0] * 8
    assert len(said) == 1, said
    names = [job["name"] for job in json.loads(ada.ctl("queue", "--json").stdout)]
    assert names.count("nightly") == 1
    ada.ctl("cancel", "--name", "nightly")
