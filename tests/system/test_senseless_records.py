"""Records with a right checksum that make no sense: nothing ends because of them, and everything else goes on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.machine import Machine

from gflowd.storage.store import Store

GIVEN = Path(__file__).parent.parent / "data" / "senseless-records.jsonl"
SPEC = {"command": ["true"], "name": "x", "user": "gfa", "cwd": "/tmp", "env": "0" * 32, "submitted_at": 1.0}
RUN = {"executor": "process", "launched_at": 1.0}
STARTED = {"at": 1.0, "mono": 1.0, "identity": {"boot": "b", "pid": 1, "start": 1}}
SIBLINGS: list[tuple[str, int | str | None, Any]] = [
    ("spec", None, {**SPEC, "submitted_at": 1e300}),
    ("spec", None, {**SPEC, "gpus": True}),
    ("spec", None, {**SPEC, "name": "n" * (1 << 20)}),
    ("spec", None, {**SPEC, "gpus": 10**30}),
    ("spec", None, {**SPEC, "family": {"ranges": [[0, 10**9, 1]]}}),
    ("spec", None, {**SPEC, "family": {"ranges": [[5, 1, 1]]}}),
    ("spec", None, {**SPEC, "family": {"ranges": [[1, 5, 0]]}}),
    ("spec", None, {**SPEC, "family": {"axes": [{"names": ["a", "b"], "rows": [["1"]]}]}}),
    ("spec", None, {**SPEC, "family": {"ranges": [[1, 1, 1]]}, "name_template": "{zzz}"}),
    ("spec", None, {**SPEC, "needs": {"dependencies": [{"kind": "whenever", "id": 1}]}}),
    ("spec", None, {**SPEC, "needs": {"dependencies": [{"kind": "afterok"}]}}),
    ("spec", None, {**SPEC, "shared": True, "gpus": 1}),
    ("spec", None, {**SPEC, "early_signal": {"number": "USR1", "before": 1.0}}),
    ("spec", "seven", SPEC),
    ("spec", 10**18, SPEC),
    ("wish", 1, {"cancelled_at": "now"}),
    ("wish", 1, {"top_at": 1e308}),
    ("phase", 1, {"is": ["ended"]}),
    ("phase", 1, {"is": "running"}),
    ("phase", 1, {"is": "running", "run": RUN, "started": {**STARTED, "identity": 5}}),
    ("phase", 1, {"is": "ended", "state": "sleeping", "ended_at": 1.0}),
    ("phase", 1, {"is": "ended", "state": "failed", "ended_at": 1.0, "lingers": True}),
    ("phase", 999_998, {"is": "ended", "state": "failed", "ended_at": 1.0}),
    ("limit", 1, {"max_concurrent": 0}),
    ("promise", 1, {"at": 5.0}),
    ("promise", 1, {"since": 1.0, "at": "soon", "by": []}),
    ("usage", "gfa", {"usage": -5.0, "at": 1.0}),
    ("runs", "0 gfa x", {"user": "gfa", "gpus": 0, "name": "x", "runs": []}),
    ("runs", "another", {"user": "gfa", "gpus": 0, "name": "x", "runs": [[1.0, 1.0]]}),
    ("quota", "user:gfa", {"max_running_jobs": "none"}),
    ("quota", "nobody", {"max_running_jobs": 1}),
    ("reservation", 1, {"user": "gfa"}),
    ("reservation", 2, {"user": "gfa", "start": 253402300000.0, "duration": 86400.0, "created_at": 1.0,
                        "created_by": "gfa", "gpus": 1, "repeat": "daily"}),
    ("reservation", 3, {"user": "gfa", "start": 1.0, "duration": 0, "created_at": 1.0, "created_by": "gfa", "gpus": 1,
                        "repeat": "daily"}),
    ("reservation", 4, {"user": "gfa", "start": 1.0, "duration": 60.0, "created_at": 1.0, "created_by": "gfa",
                        "gpus": 1, "repeat": "yearly"}),
    ("setting", "drain", {"by": "gfa"}),
    ("setting", "gpus.allow", {"gpus": ["all"]}),
    ("setting", "gpus.drained", {"GPU-1": {}}),
    ("setting", "gpus.ignored", [{"pid": 5}]),
    ("setting", "gpus.resumed", [1]),
    ("scheduler", 0, {"generation": "next"}),
    ("header", 0, {"format": 1, "has": "quota"}),
    ("attempt", "1.1", {"is": "resting"}),
    ("zzz", 1, {"x": 1}),
]  # fmt: skip
COMMANDS = (
    "queue", "queue -a", "queue --json -a", "queue --tree", "queue --start", "show 1", "show --json 1", "info",
    "info --json", "stats", "stats --json", "doctor --json", "quota list", "reserve list", "reserve list --timeline",
    "gpus ignore", "gpus topology", "log 1", "hold 2", "release 2", "top 2", "update 2 --priority 3", "limit 2 3",
    "drain --reason x", "resume", "requeue 1", "cancel 2", "redo 1", "wait --timeout 5s 1", "close-sessions --all",
    "new",
    "quota set --default-user --max-queued-jobs 9999", "quota remove --default-user",
    "reserve create --start now+1h --duration 1h --gpus 1", "show 999999", "cancel --dry-run --all", "attach 1",
    "backup kept.tar.gz --force", "gpus allow all",
)  # fmt: skip


def given() -> list[tuple[str, int | str | None, Any]]:
    return [(each["kind"], each["id"], each["value"]) for each in map(json.loads, GIVEN.read_text().splitlines())]


RECORDS = [*given(), *SIBLINGS]
OWN = ("scheduler", "header")  # the daemon writes these itself, and so what stood there is gone


def put(machine: Machine, kind: str, record_id: int | str | None, value: Any) -> int | str:
    """Writes a record as any program may that has the store; its id."""
    with Store(machine.state).commit() as commit:
        key = commit.allocate() if record_id is None else record_id
        commit.put(kind, key, value)
    return key


def told(machine: Machine) -> str:
    """What doctor says, on one line."""
    done = machine.ctl("doctor", "--json", check=False)
    assert done.returncode in (0, 1), done
    assert not [each for each in json.loads(done.stdout) if each["level"] == "FAIL"], done
    return done.stdout


def restarts(machine: Machine) -> int:
    return sum(worker["restarts"] for worker in machine.status()["workers"])


def names(keys: list[int | str]) -> set[tuple[str, int | str]]:
    """Kind and id of each of `RECORDS`, once."""
    return {(kind, key) for (kind, _, _), key in zip(RECORDS, keys, strict=True)}


def check_all_goes_on(machine: Machine, keys: list[int | str], waits: int) -> None:
    """A job runs, no process of the daemon has ended, and those aside are named."""
    assert machine.result("-g", "1", "echo", "on") == "on\n"
    said = told(machine)
    aside = {(kind, str(key)) for kind, key in names(keys) if kind not in OWN}
    assert {name for name in aside if f"the record {' '.join(name)} makes no sense: " not in said} == set()
    assert machine.job(1)["state"] == "finished"
    assert machine.job(waits)["state"] == "held"
    assert restarts(machine) == 0


def test_records_that_make_no_sense_are_named_and_everything_else_goes_on(machine: Machine) -> None:
    machine.start("--simulate-gpus", "2")
    assert machine.ended(machine.submit("true"))["state"] == "finished"
    waits = machine.submit("--hold", "true")
    keys = [put(machine, *record) for record in RECORDS]
    check_all_goes_on(machine, keys, waits)
    logged = re.findall(r"makes no sense\" kind=(\S+) id=(\S+) why=(.*)", machine.daemon_log())
    assert len(logged) == len(set(logged)) >= len(names(keys)) - len(OWN)
    machine.gflowd("restart", "--simulate-gpus", "2")
    check_all_goes_on(machine, keys, waits)


def test_a_daemon_starts_on_records_that_make_no_sense_and_keeps_them_when_it_writes_the_file_anew(
    machine: Machine,
) -> None:
    machine.start("--simulate-gpus", "2")
    assert machine.ended(machine.submit("true"))["state"] == "finished"
    waits = machine.submit("--hold", "true")
    machine.stop()
    keys = [put(machine, *record) for record in RECORDS]
    store = Store(machine.state)
    with store.commit() as commit:
        commit.rewrite(commit.fold())
    assert store.read().aside.keys() == names(keys) - {("header", 0)}
    machine.start("--simulate-gpus", "2")
    check_all_goes_on(machine, keys, waits)


@pytest.mark.parametrize("value", [{"generation": 999, "pid": 1}, {"generation": 2**53, "pid": 1}, None])
def test_a_scheduler_that_was_replaced_in_the_records_alone_takes_its_place_again(
    machine: Machine, value: dict[str, int] | None
) -> None:
    machine.start()
    for _ in range(3):
        put(machine, "scheduler", 0, value)
        assert machine.result("echo", "on") == "on\n"
    assert restarts(machine) == 0
    assert machine.daemon_log().count("takes its place again") == 3


def test_no_command_trips_over_records_that_make_no_sense(machine: Machine) -> None:
    """`Machine.run` fails the test that sees a traceback."""
    machine.start("--simulate-gpus", "2")
    assert machine.ended(machine.submit("true"))["state"] == "finished"
    machine.ctl("submit", "-a", "1-4", "--hold", "true")
    for record in RECORDS:
        put(machine, *record)
    for words in COMMANDS:
        done = machine.ctl(*words.split(), check=False)
        assert done.returncode in (0, 1, 2, 3, 75), done
        assert "cannot make sense" not in done.stdout, done
    machine.stop()
    for words in COMMANDS:
        assert machine.ctl(*words.split(), check=False).returncode in (0, 1, 2, 3, 75)
    machine.start()
    assert machine.result("echo", "on") == "on\n"
