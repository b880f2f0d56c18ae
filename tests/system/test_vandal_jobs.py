"""Jobs that do harm to themselves, by mistake or on purpose: they end, and nobody else is hurt."""

from __future__ import annotations

import pytest
from support.machine import GATE, Machine, alive
from support.waiting import eventually

# Each generation lives an instant, in a session of its own, with no descriptor of the job's, deaf to INT and TERM.
COMET = """\
trap '' INT TERM HUP
exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
sleep 0.05
setsid sh comet.sh </dev/null >/dev/null 2>&1 &
"""
RECORDS = {
    "its exit status": "echo 999 >exit; echo nonsense >exit",
    "its process": "echo 1 1 >pid",
    "its lock": "rm alive; mkdir alive",
    "its log": "rm log log.end; mkdir log.end; ln -s $OLDPWD/precious log; echo x >log.cut",
    "its script": "echo exit 9 >job.sh",
    "all of it": "rm -rf ../1; mkdir ../1; ln -s / ../1/log.cut",
}


def well(machine: Machine, pids: dict[str, int]) -> None:
    """The daemon is the same, and jobs run."""
    assert machine.result("echo", "next") == "next\n"
    assert machine.pids() == pids


def test_a_job_that_never_stops_forking_is_ended(own: Machine) -> None:
    pids = own.pids()
    (own.work / "comet.sh").write_text(COMET)
    job_id = own.submit("--grace", "1s", "--wrap", f"sh comet.sh & {GATE}")
    own.until(job_id, "running")
    eventually(lambda: any(words.startswith("sh comet.sh") for words in own.of_job(job_id).values()))
    own.cancel(job_id)
    eventually(lambda: not own.of_job(job_id))
    well(own, pids)


def test_what_a_forking_job_leaves_behind_is_ended_too(own: Machine) -> None:
    pids = own.pids()
    (own.work / "comet.sh").write_text(COMET)
    job_id = own.submit("--grace", "1s", "--wrap", "sh comet.sh & sleep 0.3; exit 6")
    assert own.wait(job_id) == 6
    eventually(lambda: not own.of_job(job_id))
    well(own, pids)


@pytest.mark.parametrize("what", RECORDS)
def test_a_job_that_spoils_its_own_records_ends_and_hurts_nobody(own: Machine, what: str) -> None:
    (own.work / "precious").write_text("mine\n")
    own.write_config(logs={"max_size": "1M"}, daemon={"start_grace": 4})
    own.gflowd("restart")
    pids = own.pids()
    other = own.submit("--wrap", f"{GATE}; exit 3")
    job_id = own.submit("--wrap", f"cd {own.attempt(other).parent.parent}/$GFLOW_JOB_ID/1; {RECORDS[what]}; exit 5")
    job = own.ended(job_id)
    assert job["state"] in ("failed", "finished")
    own.ctl("log", str(job_id), check=False)
    own.open_gate()
    assert own.wait(other) == 3
    assert (own.work / "precious").read_text() == "mine\n"
    well(own, pids)


def test_a_job_that_kills_or_stops_its_own_shell_can_be_cancelled(own: Machine) -> None:
    pids = own.pids()
    for number in ("KILL", "STOP"):
        name = f"ready-{number}"
        text = f"trap '' HUP; kill -{number} $PPID; touch {name}; while :; do sleep 0.1; done"
        job_id = own.submit("--grace", "1s", "--", "sh", "-c", text)
        eventually((own.work / name).exists)
        mine = own.of_job(job_id)
        own.cancel(job_id)
        assert not [pid for pid in mine if alive(pid)]
    well(own, pids)
