"""`gflowctl notify` and what doctor says of notifications."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support import receivers

from gflowd.storage.outbox import Outbox

if TYPE_CHECKING:
    from pathlib import Path

    from support.ctl import Ctl


def configure(ctl: Ctl, text: str) -> None:
    path = ctl.home / "gflow.toml"
    path.write_text(text)
    ctl.env["GFLOW_CONFIG"] = str(path)


def test_a_try_says_how_it_went(ctl: Ctl, tmp_path: Path) -> None:
    with receivers.web(tmp_path / "web") as web:
        url = f"http://127.0.0.1:{web.port}/geheim"
        sendmail = tmp_path / "sendmail"
        sendmail.write_text(f"#!/bin/sh\ncat > {tmp_path}/mail\n")
        sendmail.chmod(0o755)
        mail = f'[notifications.mail]\nsendmail = "{sendmail}"\n'
        configure(ctl, f'{mail}[[notifications.webhooks]]\nurl = "{url}"\n')
        said = ctl.ok("notify", "test")
        assert said.splitlines()[0].endswith(f" through {sendmail}")
        assert said.splitlines()[1:] == [f"ok    http://127.0.0.1:{web.port}/..."]
        assert "Subject: [gflow] a test of notifications\n" in (tmp_path / "mail").read_text()
        assert len(web.got()) == 1
        assert f"mail goes through {sendmail}; gflowctl notify test tries it" in ctl.run("doctor").stdout
        web.answers(404)
        done = ctl.run("notify", "test", "--to", url, "--to", "ada@b.c")
        assert done.returncode == 1
        assert done.stdout == f"FAIL  http://127.0.0.1:{web.port}/...: HTTP 404\nok    ada@b.c through {sendmail}\n"
    assert "is not an address" in ctl.fails(1, "notify", "test", "--to", "a b")
    assert "is not a URL" in ctl.fails(1, "notify", "test", "--to", "https://a b/geheim")


def test_what_waits_is_listed(ctl: Ctl) -> None:
    configure(ctl, '[notifications.mail]\nsendmail = "/nonexistent/sendmail"\n')
    assert ctl.run("notify", "list").stderr == "gflowctl: nothing waits to be delivered\n"
    assert "no mail can be sent: there is no sendmail, and" in ctl.run("doctor").stdout
    ctl.state.prepare()
    outbox = Outbox(ctl.state.outbox, write=True)
    for number in range(3):
        outbox.add("url https://example.org/geheim", {"id": f"1-{number}"}, 1764268000.0)
    outbox.failed("url https://example.org/geheim", (1,), "HTTP 503", 1764268010.0)
    outbox.add("mail ada", {"id": "1-1"}, 1764268000.0)
    outbox.close()
    table = ctl.ok("notify", "list")
    assert table.splitlines()[0].split() == ["RECEIVER", "WAITING", "OLDEST", "FAILURES", "NEXT", "TRY", "WHY"]
    assert "https://example.org/...        3" in table
    assert "geheim" not in table
    found = {each["receiver"]: each for each in json.loads(ctl.ok("notify", "list", "--json"))}
    assert (found["ada"]["failures"], found["ada"]["next_try"], found["ada"]["why"]) == (0, None, None)
    assert found["https://example.org/..."] == {
        "receiver": "https://example.org/...", "waiting": 3, "oldest": "2025-11-27T18:26:40.000000Z", "failures": 1,
        "next_try": "2025-11-27T18:26:50.000000Z", "why": "HTTP 503", "given_up": 0,
    }  # fmt: skip
    outbox = Outbox(ctl.state.outbox, write=True)
    outbox.retry_now()  # gflowd starts
    outbox.close()
    assert "1970" not in ctl.ok("notify", "list")
    assert {each["next_try"] for each in json.loads(ctl.ok("notify", "list", "--json"))} == {None}
    said = ctl.run("doctor").stdout
    assert "WARN  3 notifications wait for https://example.org/...: HTTP 503: gflowctl notify list" in said
    assert "WARN  no mail can be sent" in said


def test_submit_says_where_no_mail_can_leave(ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    from gflowctl.submit import notification

    monkeypatch.setattr(notification, "SENDMAILS", ("/nonexistent",))
    spec = ctl.spec(ctl.submit("--notify-on", "end", "true"))
    assert list(notification.notes(spec, {})) == [notification.NO_MAIL]
    for words in (("--notify", "https://a/b"), ("--notify-email", "a@b", "--notify-on", "none"), ()):
        assert list(notification.notes(ctl.spec(ctl.submit(*words, "true")), {})) == []
    mail = {"enabled": None, "host": "h", "sendmail": None}
    assert list(notification.notes(spec, {"mail": mail})) == []
    (said,) = notification.notes(spec, {"mail": mail | {"enabled": False}})
    assert "switched off" in said
