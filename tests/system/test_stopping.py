"""Time limits and cancelling: the ladder, each step once, over the whole tree of the job's processes."""

from __future__ import annotations

import sys
import textwrap
from datetime import datetime, timedelta

from support.machine import GATE, Machine, alive, kill
from support.stop_ladder import HOUR, let_pass
from support.waiting import eventually

COUNTER = textwrap.dedent("""
    import os, signal, time
    def note(number, frame):
        with open("got", "a") as file:
            file.write(signal.Signals(number).name + "\\n")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, note)
    open("ready", "w").close()
    while True:
        time.sleep(0.05)
""")


def counting(machine: Machine, *options: str) -> int:
    """A running job that notes each signal and does not end."""
    job_id = machine.submit("--time", "1h", *options, "--", sys.executable, "-c", COUNTER)
    eventually((machine.work / "ready").exists)
    machine.until(job_id, "running")
    return job_id


def test_over_its_time_limit_a_job_is_timed_out(either: Machine) -> None:
    job_id = either.submit("--time", "1s", "--wrap", "sleep 100")
    assert either.wait(job_id) == 124
    job = either.job(job_id)
    asked, began, ended = (datetime.fromisoformat(job[name]) for name in ("submitted_at", "started_at", "ended_at"))
    assert asked < began < ended
    assert ended - asked > timedelta(seconds=1), "it counts from the start of the job's process"
    assert (job["state"], job["reason"]) == ("timeout", "TimeLimit")


def test_within_its_time_limit_a_job_is_left_alone(either: Machine) -> None:
    job_id = either.submit("--time", "2m", "--wrap", "sleep 0.3")
    assert either.wait(job_id) == 0


def test_what_traps_its_signals_gets_each_once_and_then_is_killed(either: Machine) -> None:
    job_id = counting(either, "--grace", "1h")
    either.ctl("update", str(job_id), "--time", "1s")
    eventually(lambda: either.lines("got"))
    let_pass(either, job_id, HOUR / 2)
    eventually(lambda: len(either.lines("got")) > 1)
    let_pass(either, job_id, HOUR)
    assert either.wait(job_id) == 124
    assert either.lines("got") == ["SIGINT", "SIGTERM"]


def test_an_enforcer_killed_in_between_sends_nothing_twice(own: Machine) -> None:
    job_id = counting(own, "--grace", "1h")
    own.ctl("cancel", str(job_id))
    for seen in (["SIGINT"], ["SIGINT", "SIGTERM"]):
        eventually(lambda seen=seen: own.lines("got")[: len(seen)] == seen)
        pid = own.worker("timeout_enforcer")
        kill(pid)
        eventually(lambda pid=pid: own.pids().get("timeout_enforcer", pid) != pid)
        let_pass(own, job_id, HOUR / 2 * len(seen))
    assert own.wait(job_id) == 130
    assert own.lines("got") == ["SIGINT", "SIGTERM"]


def test_a_daemon_restarted_in_between_sends_nothing_twice(own: Machine) -> None:
    job_id = counting(own, "--grace", "1h")
    own.ctl("cancel", str(job_id))
    for seen in (["SIGINT"], ["SIGINT", "SIGTERM"]):
        eventually(lambda seen=seen: own.lines("got")[: len(seen)] == seen)
        own.gflowd("restart")
        let_pass(own, job_id, HOUR / 2 * len(seen))
    assert own.wait(job_id) == 130
    assert own.lines("got") == ["SIGINT", "SIGTERM"]


def test_a_job_may_use_its_grace_to_save_its_work(either: Machine) -> None:
    text = "trap 'sleep 0.5; echo saved >checkpoint; exit 0' INT; touch ready; while :; do sleep 0.05; done"
    job_id = either.submit("--grace", "40s", "--time", "1h", "--", "sh", "-c", text)
    eventually((either.work / "ready").exists)
    either.ctl("update", str(job_id), "--time", "1s")
    assert either.wait(job_id) == 124
    assert either.lines("checkpoint") == ["saved"]


def test_what_ignores_its_signals_is_killed(either: Machine) -> None:
    ids = []
    for n, ignored in enumerate(("TERM", "INT", "INT TERM HUP QUIT")):
        text = f"trap '' {ignored}; touch ready.{n}; sleep 1000; {GATE}"
        ids.append(either.submit("--grace", "1s", "--", "sh", "-c", text))
    eventually(lambda: len(list(either.work.glob("ready.*"))) == 3)
    either.cancel(*ids)
    for job_id in ids:
        assert either.job(job_id)["state"] == "cancelled"
        assert either.of_job(job_id) == {}


def test_grace_zero_kills_at_once(either: Machine) -> None:
    job_id = counting(either, "--grace", "0s")
    either.cancel(job_id)
    assert either.lines("got") == []


def test_a_stopped_job_can_be_cancelled(either: Machine) -> None:
    job_id = either.submit("--wrap", "kill -STOP $$; echo went on; sleep 100")
    either.until(job_id, "running")
    eventually(lambda: any(stopped(pid) for pid in either.of_job(job_id)))
    either.cancel(job_id)
    assert either.job(job_id)["state"] == "cancelled"


def stopped(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


ESCAPES = {
    "a child in the background": "sleep 1000 & ",
    "a session of its own": "setsid sleep 1000 & ",
    "a double fork": "(setsid sh -c 'sleep 1000 & sleep 1000 & exit' &) ; ",
    "all descriptors closed": (
        "setsid sh -c 'exec sleep 1000' </dev/null >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- & "
    ),
    "signals ignored": "(trap '' INT TERM HUP; setsid sleep 1000 &) ; ",
}


def test_cancel_reaches_the_whole_tree(either: Machine) -> None:
    ids = {
        name: either.submit("-c", "0", "--grace", "1s", "--", "sh", "-c", f"{text} touch 'ready {name}'; sleep 1001")
        for name, text in ESCAPES.items()
    }
    eventually(lambda: len(list(either.work.glob("ready*"))) == len(ids))
    for job_id in ids.values():
        eventually(lambda job_id=job_id: "sleep 1000 " in either.of_job(job_id).values())
    pids = {name: either.of_job(job_id) for name, job_id in ids.items()}
    for name, found in pids.items():
        assert any(words == "sleep 1000 " for words in found.values()), (name, found)
    either.cancel(*ids.values())
    for name, found in pids.items():
        assert not [words for pid, words in found.items() if alive(pid)], name


def test_strays_are_ended_and_the_state_is_the_commands(either: Machine) -> None:
    ids = {
        name: either.submit("-c", "0", "--grace", "1s", "--", "sh", "-c", f"{text} echo done; exit 0")
        for name, text in ESCAPES.items()
    }
    either.wait(*ids.values())
    for name, job_id in ids.items():
        job = either.job(job_id)
        assert (job["state"], job["reason"], job["exit_code"]) == ("finished", None, 0), name
        assert either.of_job(job_id) == {}, name
        assert either.log(job_id) == b"done\n", name


def test_a_fork_bomb_of_modest_size_is_ended(either: Machine) -> None:
    child = "setsid sh -c 'while :; do (sleep 0.3 &) ; sleep 0.02; done' &"
    text = f"for i in 1 2 3 4 5 6 7 8; do {child} done; touch ready; wait"
    job_id = either.submit("--grace", "1s", "--", "sh", "-c", text)
    eventually((either.work / "ready").exists)
    either.cancel(job_id)
    assert either.of_job(job_id) == {}


def test_another_jobs_processes_are_never_touched(either: Machine) -> None:
    """Cancelled is a job that was submitted from inside the other, whose variables it has seen."""
    text = f"gflowctl submit --parsable --grace 1s -- sleep 100 >inner; {GATE}; echo well"
    outer = either.submit("--", "sh", "-c", text)
    eventually(lambda: either.lines("inner"))
    inner = int(either.lines("inner")[0])
    either.until(inner, "running")
    either.cancel(inner)
    assert either.job(outer)["state"] == "running"
    either.open_gate()
    assert either.wait(outer) == 0
    assert either.log(outer) == b"well\n"


def test_cancelling_a_queued_job_keeps_it_from_running(up: Machine) -> None:
    blocker = up.submit("-c", "8", "--wrap", GATE)
    up.until(blocker, "running")
    ids = [up.submit("--wrap", "echo $GFLOW_JOB_ID >>ran") for _ in range(3)]
    assert "Cancelled" in up.ctl("cancel", str(ids[1])).stdout
    assert up.wait(ids[1]) == 130
    up.open_gate()
    up.wait(*ids, blocker)
    up.ran_exactly_once([ids[0], ids[2]])


def test_cancelling_what_has_ended_is_no_error(up: Machine) -> None:
    job_id = up.submit("true")
    up.wait(job_id)
    done = up.ctl("cancel", str(job_id))
    assert "already ended" in done.stderr
    assert up.job(job_id)["state"] == "finished"


def test_cancel_all_and_by_name(up: Machine) -> None:
    ids = [up.submit("-n", name, "sleep", "100") for name in ("a", "b", "a")]
    held = up.submit("--hold", "-n", "b", "true")
    up.until_in(ids, "running")
    up.ctl("cancel", "--name", "a")
    up.wait(ids[0], ids[2])
    assert up.job(ids[1])["state"] == "running"
    up.ctl("cancel", "--all")
    assert up.wait(ids[1], held) == 130


def test_cancelled_in_the_middle_of_its_start_it_ends_all_the_same(either: Machine) -> None:
    text = "for n in 0 1 2 3 4 5; do id=$(gflowctl submit --parsable --grace 1s sleep 1000); echo $id;"
    done = either.run("sh", "-c", f"{text} sleep 0.0$n; gflowctl cancel $id >&2; done")
    ids = list(map(int, done.stdout.split()))
    assert len(ids) == 6
    assert either.wait(*ids) == 130
    for job_id in ids:
        assert either.of_job(job_id) == {}
