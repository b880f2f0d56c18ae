"""Notifications of the real daemon: a job asks, and somebody is told."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import receivers
from support.machine import Machine, kill
from support.waiting import eventually


@pytest.fixture
def web(tmp_path: Path) -> Iterator[receivers.Receiver]:
    with receivers.web(tmp_path / "web") as made:
        yield made


def test_the_notifier_comes_when_a_job_asks_and_loses_nothing_when_killed(
    machine: Machine, web: receivers.Receiver, tmp_path: Path
) -> None:
    sendmail, mails = tmp_path / "sendmail", tmp_path / "mails"
    sendmail.write_text(f'#!/bin/sh\necho "$@" >> {mails}.to\ncat >> {mails}\n')
    sendmail.chmod(0o755)
    machine.write_config(**{"notifications.mail": {"sendmail": str(sendmail)}})
    machine.start()
    machine.wait(machine.submit("true"))
    assert "notifier" not in machine.pids()
    assert not os.path.exists(machine.state.outbox)

    web.answers(503)
    script = tmp_path / "a.sh"
    script.write_text("#!/bin/sh\n#SBATCH --mail-type=END,FAIL --job-name=train\necho the last words\nexit 3\n")
    job = machine.submit("--notify", f"http://127.0.0.1:{web.port}/", "--mail-user", "ada@box.test", str(script))
    machine.wait(job)
    eventually(web.got)
    kill(machine.worker("notifier"))
    web.answers(200)
    eventually(lambda: len(web.got()) >= 2)
    first, *_, last = ({**each, "body": json.loads(base64.b64decode(each["body"]))} for each in web.got())
    assert first["body"]["id"] == last["body"]["id"] == last["headers"]["X-Gflow-Delivery"]
    assert (last["body"]["job"], last["body"]["state"], last["body"]["exit_code"]) == (job, "failed", 3)
    eventually(lambda: mails.exists() and "the last words" in mails.read_text())
    assert Path(f"{mails}.to").read_text().split("\n")[0] == "-i ada@box.test"
    assert f"Subject: [gflow] train (job {job}) failed: exit code 3, after" in mails.read_text()
