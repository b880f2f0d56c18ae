"""The journal of events of a real daemon: complete over stops, kills, and the loss and renaming of the file."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.machine import GATE, end
from support.waiting import eventually

from gflowd.storage.journal import lines
from gflowd.storage.journal.reader import Reader

if TYPE_CHECKING:
    from support.machine import Machine


def story(machine: Machine, job_id: int) -> list[str]:
    """The kinds of the events of a job."""
    found = map(json.loads, machine.ctl("events", "--json", str(job_id)).stdout.splitlines())
    return [event["kind"].removeprefix("job_") for event in found]


def test_the_events_of_a_job_over_kills_and_restarts(machine: Machine) -> None:
    """Each once, and a follower that began before all of this sees all of them, in the order of their ids."""
    machine.write_config(executor={"type": "process"}, events={"keep": "64K"})
    before = machine.submit("false")
    seen_by_follower = machine.work / "seen"
    with seen_by_follower.open("wb") as output:
        follower = machine.begin(
            "events", "--follow", "--json", "--after", "0-0", stdout=output, stderr=subprocess.DEVNULL
        )
    machine.start()
    machine.wait(before)
    eventually(lambda: story(machine, before) == ["submitted", "started", "ended"])
    running = machine.submit("--max-retries", "1", "--wrap", f"{GATE}; exit 1")
    machine.until(running, "running")
    end(*machine.pids().values())
    machine.open_gate()
    held = int(machine.ctl("submit", "--parsable", "--hold", "-a", "1-120", "true").stdout.partition("-")[0])
    machine.start()
    machine.wait(running)
    whole = ["submitted", "started", "ended", "requeued", "started", "ended"]
    eventually(lambda: story(machine, running) == whole)
    machine.stop()
    Path(machine.state.path(lines.CURRENT)).rename(machine.state.path(lines.OLDER))
    machine.ctl("cancel", str(held))
    machine.start()
    eventually(lambda: len(story(machine, held)) == 121)
    end(machine.worker("scheduler"))
    last = machine.submit("true")
    machine.wait(last)
    eventually(lambda: story(machine, last) == ["submitted", "started", "ended"])
    machine.stop()
    assert story(machine, running) == [] or story(machine, running) == whole
    kept = [event["id"] for event in Reader(machine.state).read()]
    eventually(lambda: kept[-1].encode() in seen_by_follower.read_bytes())
    follower.send_signal(signal.SIGINT)
    assert follower.wait(60) == 130
    seen = [json.loads(line) for line in seen_by_follower.read_bytes().splitlines()]
    assert [event["id"] for event in seen][-len(kept) :] == kept
    pairs = [tuple(map(int, event["id"].split("-"))) for event in seen]
    assert pairs == sorted(set(pairs))
    facts = [fact(event) for event in seen if "job" in event]
    assert len(set(facts)) == len(facts)
    daemon = [(event["kind"], event.get("unclean")) for event in seen if event["kind"].startswith("daemon")]
    started, stopped = "daemon_started", ("daemon_stopped", None)
    assert daemon == [(started, False), (started, True), stopped, (started, False), stopped]
    restarted = [event["worker"] for event in seen if event["kind"] == "worker_restarted"]
    assert restarted == ["scheduler"]
    assert [event["kind"] for event in seen if event.get("job") == running] == [f"job_{each}" for each in whole]


def fact(event: dict[str, Any]) -> tuple[Any, ...]:
    return event["kind"], event["job"], event["attempt"]
