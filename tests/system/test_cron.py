"""Lines of a crontab, run as cron runs them: what they print would be mailed. docs/cron.md explains them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from support.machine import MARK, Machine, new_machine
from support.waiting import eventually

from gflowd.paths import State


@pytest.fixture(scope="module")
def crontab() -> Iterator[Machine]:
    """A machine whose state is where gflowctl looks when nothing in its environment says where."""
    with new_machine() as found:
        found.state = State(str(found.home / ".local/state/gflow"))
        found.env["GFLOW_STATE_DIR"] = found.state.root
        found.write_config(executor={"type": "process"})
        found.start()
        yield found


def line(machine: Machine, text: str) -> tuple[str, int]:
    """What cron would mail, and the status."""
    around = {"HOME": machine.home, "LOGNAME": "ada", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
    words = [f"{name}={value}" for name, value in (around | {MARK: machine.env[MARK]}).items()]
    text = text.replace("gflowctl", str(machine.bin / "gflowctl"))
    done = subprocess.run(
        ["/usr/bin/env", "-i", *words, "/bin/sh", "-c", text], cwd=machine.home, check=False, timeout=60, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.stdout, done.returncode


def test_a_line_is_silent_when_all_is_well_and_says_what_failed(crontab: Machine) -> None:
    job = crontab.home / "job.sh"
    job.write_text('#!/bin/sh\necho "$HOME $PATH $PWD"\nexit ${1:-0}\n')
    assert line(crontab, "gflowctl submit --wait ./job.sh >/dev/null") == ("", 0)
    assert crontab.log(1).decode() == f"{crontab.home} /usr/bin:/bin {crontab.home}\n"
    said = "gflowctl: job 2 (job.sh) failed: NonZeroExit (the command ended with exit code 3); gflowctl log 2 shows its"
    assert line(crontab, "gflowctl submit --wait ./job.sh 3 >/dev/null") == (f"{said} output\n", 3)
    mail, status = line(crontab, "gflowctl submit --wait -a 1-7 ./job.sh 4 >/dev/null")
    assert (mail.count("\n"), status) == (6, 4)
    assert mail.startswith("gflowctl: job 3_1 (job.sh) failed: "), mail
    assert mail.endswith("gflowctl: ... and 2 more\n"), mail


def test_a_line_waits_behind_an_earlier_run_or_leaves_it_alone(crontab: Machine) -> None:
    gated = "--name nightly --wrap 'until [ -e gate ]; do sleep 0.02; done'"
    first = int(line(crontab, f"gflowctl submit --parsable {gated}")[0])
    assert line(crontab, f"gflowctl submit --skip-if-queued --parsable {gated}") == (f"{first}\n", 0)
    second = int(line(crontab, f"gflowctl submit --singleton --parsable {gated}")[0])
    eventually(lambda: crontab.job(first)["state"] == "running" and crontab.job(second)["reason"] == "Dependency")
    assert line(crontab, f"gflowctl submit --wait --skip-if-queued {gated} >/dev/null") == ("", 0)
    (crontab.home / "gate").touch()
    assert line(crontab, f"gflowctl wait {second}") == ("", 0)
    assert crontab.job(second)["started_at"] >= crontab.job(first)["ended_at"]
