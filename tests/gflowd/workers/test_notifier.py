"""The notifier against real receivers, on a clock of its own: what is asked for arrives, whatever happens meanwhile."""

from __future__ import annotations

import base64
import contextlib
import email
import email.policy
import hashlib
import hmac
import json
import os
import select
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from stage import BOOT, NOTHING_POSTED
from support import depth, receivers
from support.waiting import PATIENCE, eventually

from gflowd.config import loader
from gflowd.core.moment import Moment
from gflowd.paths import Shared
from gflowd.storage.journal import lines
from gflowd.storage.outbox import Outbox
from gflowd.workers.notifier import delivery, worker

if TYPE_CHECKING:
    from support.receivers import Receiver

    from gflowd.paths import State
    from gflowd.workers.base import Turn, Wiring

T0 = 1764268000.0
HOUR = 3600.0


class Journal:
    """Written as the scheduler does."""

    def __init__(self, state: State) -> None:
        self._path = Path(state.path(lines.CURRENT))
        self._path.touch(0o600)
        self.number = 0

    def tell(self, kind: str, at: float, notify: dict[str, Any] | None = None, **fields: Any) -> str:
        self.number += 1
        event = {"at": at, "kind": kind, **fields}
        if notify is not None:
            event["notify"] = notify
        with self._path.open("ab") as file:
            file.write(lines.encode_event((1, self.number), event))
        return f"1-{self.number}"

    def ended(self, job: int, at: float, notify: dict[str, Any] | None = None, **more: Any) -> str:
        fields = {
            "job": job, "array_id": None, "array_index": None, "name": f"job{job}", "user": "ada", "project": None,
            "attempt": 1, "state": "finished", "reason": None, "exit_code": 0, "signal": None, "run_seconds": 5.0,
            "started_at": at - 5, "gpu_ids": [], "final": True,
        }  # fmt: skip
        return self.tell("job_ended", at, notify, **fields | more)


class Stage:
    """A notifier that ticks when the test says, at the time that it says."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self.journal = Journal(wiring.state)
        self.wall = T0
        self._open("")

    def begin(self, text: str) -> None:
        """Another notifier, with this configuration."""
        self.notifier.close()
        self._open(text)

    def _open(self, text: str) -> None:
        path = Path(self._wiring.state.root).parent / "gflow.toml"
        path.write_text(text)
        config = loader.load(str(path), {"HOME": "/nonexistent"})
        self.notifier = worker.open(replace(self._wiring, config=config))
        self.notifier.chance = lambda: 0.5

    def tick(self) -> Turn:
        return self.notifier.tick(Moment(self.wall, self.wall, BOOT), NOTHING_POSTED)

    def settle(self) -> Turn:
        """Ticks until nothing is being delivered."""
        while (turn := self.tick()).descriptors:
            select.select(turn.descriptors, (), (), 30)
        return turn

    def run_until(self, wall: float) -> int:
        """Lets time pass; returns how often the notifier woke."""
        woken = 0
        while True:
            turn = self.settle()
            assert turn.wake_at is not None
            if turn.wake_at > wall:
                self.wall = wall
                return woken
            self.wall = max(turn.wake_at, self.wall + 0.001)
            woken += 1

    def waiting(self) -> dict[str, int]:
        outbox = Outbox(self._wiring.state.outbox)
        found = {each.key: each.number for each in outbox.waiting()}
        outbox.close()
        return found


@pytest.fixture
def stage(wiring: Wiring) -> Iterator[Stage]:
    made = Stage(wiring)
    yield made
    made.notifier.close()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receivers.web(tmp_path_factory.mktemp("web") / "x") as made:
        yield made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receivers.mail(tmp_path_factory.mktemp("mail") / "x") as made:
        yield made


def through(server: Receiver) -> str:
    return (
        f'[notifications.mail]\nhost = "127.0.0.1"\nport = {server.port}\nsecurity = "none"\nfrom = "gflow@box.test"\n'
    )


def body(request: dict[str, Any]) -> dict[str, Any]:
    return json.loads(base64.b64decode(request["body"]))  # type: ignore[no-any-return]


def new(receiver: Receiver, before: int) -> list[dict[str, Any]]:
    return receiver.got()[before:]


def test_nothing_is_lost_in_an_hour_of_failures_and_repeats_can_be_told(stage: Stage, web: Receiver) -> None:
    before, url = len(web.got()), f"http://127.0.0.1:{web.port}/hook"
    web.answers(503)
    first = stage.journal.ended(1, T0, {"email": None, "on": ["end"], "urls": [url]})
    stage.run_until(T0 + HOUR / 2)
    second = stage.journal.ended(2, stage.wall, {"email": None, "on": ["end"], "urls": [url]})
    stage.notifier.close()  # as if it were killed
    stage.begin("")
    stage.run_until(T0 + HOUR)
    tried = new(web, before)
    assert 8 <= len(tried) <= 16
    trouble = stage.tick().decision.trouble  # type: ignore[attr-defined]
    assert trouble == f"cannot deliver to http://127.0.0.1:{web.port}/...: HTTP 503"
    web.answers(200)
    stage.run_until(T0 + 3 * HOUR)
    arrived = new(web, before)[len(tried) :]
    assert sorted(body(each)["id"] for each in arrived) == [first, second]
    assert {each["headers"]["X-Gflow-Delivery"] for each in tried} <= {first, second}
    assert body(arrived[0])["subject"].startswith("job")
    assert "notify" not in body(arrived[0])
    assert stage.waiting() == {}
    assert stage.settle().rests


def test_a_receiver_that_hangs_delays_no_other(stage: Stage, web: Receiver, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    stage.begin(
        f'[[notifications.webhooks]]\nurl = "http://127.0.0.1:{web.port}/"\ntimeout = 60\n'
        f'[[notifications.commands]]\ncommand = ["/bin/sh", "-c", "cat >> {seen}; env >> {seen}"]\n'
    )
    web.answers(-1)
    stage.settle()
    before = len(web.got())
    hostile = "a'; touch /tmp/x\n$(id)"
    stage.journal.ended(1, T0, name=hostile)
    while not seen.exists() or "GFLOW_EVENT_NAME" not in seen.read_text() or len(stage.tick().descriptors) > 1:
        select.select(stage.tick().descriptors, (), (), 0.05)
    eventually(lambda: len(web.got()) > before)  # the next test must not count this request
    assert json.loads(seen.read_text().splitlines()[0])["name"] == hostile
    assert f"GFLOW_EVENT_NAME={hostile}" in seen.read_text()
    stage.wall += 120
    turn = stage.tick()
    assert turn.descriptors == ()  # it has been given up for now
    assert list(stage.waiting().values()) == [1]
    web.answers(200)


def test_what_is_refused_is_given_up(stage: Stage, web: Receiver, capfd: pytest.CaptureFixture[str]) -> None:
    before = len(web.got())
    stage.begin(
        f'[[notifications.webhooks]]\nurl = "http://127.0.0.1:{web.port}/a"\nsecret_env = "GFLOW_TEST_HOOK"\n'
        f'headers = {{ Authorization = "Bearer x" }}\nmax_retries = 1\nevents = ["fail"]'
    )
    stage.settle()
    web.answers(404)
    os.environ["GFLOW_TEST_HOOK"] = "geheim"
    try:
        stage.journal.ended(1, T0)
        stage.journal.ended(2, T0, state="failed", reason="NonZeroExit", exit_code=3)
        stage.settle()
        assert stage.waiting() == {}
        (request,) = new(web, before)
        headers = request["headers"]
        signed = f"{headers['X-Gflow-Timestamp']}.".encode() + base64.b64decode(request["body"])
        assert headers["X-Gflow-Signature"] == f"sha256={hmac.new(b'geheim', signed, hashlib.sha256).hexdigest()}"
        assert (headers["X-Gflow-Event"], headers["Authorization"]) == ("job_ended", "Bearer x")
        web.answers(302, Location="http://127.0.0.1:1/geheim")
        stage.journal.ended(3, T0, state="failed")
        stage.settle()
        assert stage.waiting() == {}
        web.answers(500)
        stage.journal.ended(4, T0, state="failed")
        stage.run_until(T0 + 100)
        assert stage.waiting() == {}
        assert len(new(web, before)) == 4  # the last was tried twice
    finally:
        del os.environ["GFLOW_TEST_HOOK"]
    stage.journal.ended(5, T0, state="failed")
    stage.settle()
    assert list(stage.waiting().values()) == [1]  # the secret is missing
    stage.begin("")
    stage.settle()
    assert stage.waiting() == {}  # no longer in gflow.toml
    assert "geheim" not in capfd.readouterr().err


def test_a_job_s_mail_arrives_with_the_end_of_its_output(
    stage: Stage, server: Receiver, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "PATIENCE", PATIENCE)
    before = len(server.got())
    stage.begin(through(server))
    Path(state.attempt(7, 1)).mkdir(parents=True)
    Path(state.job_log(7, 1)).write_bytes(b"epoch 1\r\n\x1b[31mTraceback: \xff\xc3\xbc\x1b[0m\r\n.\r\n")
    event = stage.journal.ended(
        7, T0, {"email": "ada@box.test,bob", "on": ["fail"]}, state="failed", reason="NonZeroExit", exit_code=2,
        name="a\r\nBcc: eve@box.test\nü",
    )  # fmt: skip
    stage.journal.ended(8, T0, {"email": "ada@box.test", "on": ["fail"]})
    server.answers(451)
    stage.settle()
    server.answers(200)
    stage.run_until(T0 + 100)
    got = new(server, before)
    assert sorted(each["to"][0] for each in got) == ["ada@box.test"] * 2 + ["bob@box.test"] * 2
    mails = [email.message_from_string(each["content"], policy=email.policy.default) for each in got]
    assert {mail["Message-ID"] for mail in mails} == {mails[0]["Message-ID"]}
    assert mails[0]["Message-ID"].startswith(f"<{event}.")
    first = mails[0]
    assert (first["Auto-Submitted"], first["From"], first["Bcc"]) == ("auto-generated", "gflow@box.test", None)
    assert first["Subject"] == r"[gflow] a\x0d\x0aBcc: eve@box.test\x0aü (job 7) failed: exit code 2, after 5.0s"
    assert email.utils.parsedate_to_datetime(first["Date"]).timestamp() == T0
    text = first.get_content().replace("\r\n", "\n")
    assert "Exit code:  2\n" in text
    assert "    epoch 1\n    Traceback: \ufffdü\n    .\n" in text
    assert stage.waiting() == {}


def test_of_many_users_root_reads_no_output_and_calls_no_url(
    stage: Stage, server: Receiver, state: State, tmp_path: Path
) -> None:
    """Both are where a user says: another's file, or a service that lets root in."""
    before = len(server.got())
    state.share(Shared(spool=state.root))
    (tmp_path / "secret").write_text("root's own\n")
    Path(state.own_attempt(8, 1)).mkdir(parents=True)
    Path(state.job_log(8, 1)).symlink_to(tmp_path / "secret")
    asked = {"email": "ada@box.test", "on": ["end"], "urls": ["http://127.0.0.1:1/hook"]}
    stage.begin(through(server))
    stage.journal.ended(7, T0, {**asked, "output": str(tmp_path / "secret")})
    stage.journal.ended(8, T0, asked)
    stage.settle()
    assert sorted(stage.waiting()) == []
    got = new(server, before)
    assert len(got) == 2
    assert not any("own" in each["content"] for each in got)


def test_one_mail_for_an_array_and_one_for_very_many(stage: Stage, server: Receiver) -> None:
    before = len(server.got())
    stage.begin(through(server))
    notify = {"email": "ada@box.test", "on": ["begin", "end"], "size": 3}
    for index in range(3):
        more = {"array_id": 10, "array_index": index}
        stage.journal.tell("job_started", T0, notify, job=10 + index, name="sweep", user="ada", attempt=1, **more)
        state = "failed" if index == 1 else "finished"
        stage.journal.ended(10 + index, T0 + index, notify, name="sweep", state=state, exit_code=index, **more)
    for index in range(2):
        more = {"array_id": 20, "array_index": index}
        stage.journal.ended(20 + index, T0 + 9, notify | {"on": ["end", "array_tasks"]}, name="each", **more)
    stage.settle()
    subjects = [_subject(each) for each in new(server, before)]
    assert subjects == [
        "[gflow] sweep (array 10) has started: 3 jobs",
        "[gflow] sweep (array 10) has ended: 2 finished, 1 failed",
        "[gflow] each (job 20_0) finished after 5.0s",
        "[gflow] each (job 20_1) finished after 5.0s",
    ]
    for number in range(100, 400):
        stage.journal.ended(number, T0 + 10, {"email": "ada@box.test", "on": ["end"]})
    stage.settle()
    (merged,) = new(server, before + 4)
    assert _subject(merged) == "[gflow] 300 notifications, the last: job399 (job 399) finished after 5.0s"


def _subject(got: dict[str, Any]) -> str:
    return str(email.message_from_string(got["content"], policy=email.policy.default)["Subject"])


def test_parts_of_a_time_limit_are_told_when_they_are_used(stage: Stage, server: Receiver) -> None:
    before = len(server.got())
    stage.begin(through(server))
    notify = {"email": "ada@box.test", "on": ["time_limit_50", "time_limit_90"], "time_limit": 1000.0}
    job: dict[str, Any] = {"job": 5, "array_id": None, "array_index": None, "name": "j", "user": "ada", "attempt": 1}
    stage.journal.tell("job_started", T0, notify, **job)
    stage.run_until(T0 + 100)
    stage.journal.tell("job_suspended", T0 + 100, notify, **job)
    stage.run_until(T0 + 1100)
    stage.journal.tell("job_unsuspended", T0 + 1100, notify, **job)
    stage.run_until(T0 + 1499)
    assert new(server, before) == []
    stage.run_until(T0 + 1501)
    assert [_subject(each) for each in new(server, before)] == [
        "[gflow] j (job 5) has used 50% of its time limit, 8m 20s are left"
    ]
    stage.journal.tell("job_updated", T0 + 1501, notify, **job, count=1, time_limit=2000.0)
    stage.run_until(T0 + 2799)
    assert len(new(server, before)) == 1
    stage.run_until(T0 + 2801)
    assert len(new(server, before)) == 2
    stage.journal.tell("job_started", T0 + 2801, notify, **job | {"job": 6})
    stage.journal.ended(6, T0 + 2900, notify)
    stage.run_until(T0 + 9000)
    assert len(new(server, before)) == 2


def test_a_new_target_is_not_told_of_the_past_and_old_news_is_no_news(stage: Stage, web: Receiver) -> None:
    before = len(web.got())
    url = f"http://127.0.0.1:{web.port}/"
    stage.journal.ended(1, T0 - 2 * HOUR, {"on": ["end"], "urls": [url]})  # before there was an outbox
    stage.journal.ended(2, T0 - HOUR / 2)
    stage.journal.tell("daemon_started", T0 - 1)
    stage.begin(f'[[notifications.webhooks]]\nurl = "{url}"')
    turn = stage.settle()
    assert [body(each)["kind"] for each in new(web, before)] == ["daemon_started"]
    assert not turn.rests
    stage.wall += 1000
    assert not stage.settle().rests  # something may happen


def test_a_dead_receiver_costs_a_bounded_outbox(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MOST_IN_ONE", 40)
    stage.begin('[notifications.mail]\nsendmail = "/nonexistent/sendmail"\n[notifications]\ngive_up_after = "1h"\n')
    for number in range(100):
        stage.journal.ended(number, T0, {"email": None, "on": ["end"]})
    turn = stage.settle()
    assert stage.waiting() == {"mail ada": 100}
    assert turn.decision.trouble is None  # type: ignore[attr-defined]
    stage.run_until(T0 + HOUR / 2)
    assert "there is no sendmail here" in stage.tick().decision.trouble  # type: ignore[attr-defined]
    stage.run_until(T0 + 2 * HOUR)
    assert stage.waiting() == {}


@pytest.mark.skipif(not depth.IS_FULL, reason="apprise reads 190 modules; make test-full tries it")
def test_apprise_reaches_what_it_knows(stage: Stage, web: Receiver) -> None:
    before = len(web.got())
    stage.journal.ended(1, T0, {"on": ["end"], "urls": [f"json://127.0.0.1:{web.port}/chat"]}, name="a\n*b*")
    web.answers(200)
    stage.settle()
    (got,) = new(web, before)
    assert (body(got)["title"], got["path"]) == (r"a\x0a*b* (job 1) finished after 5.0s", "/chat")
    assert "gflowctl show 1" in body(got)["message"]
    assert stage.waiting() == {}


def test_a_damaged_outbox_is_set_aside(stage: Stage, state: State) -> None:
    stage.notifier.close()
    Path(state.outbox).write_bytes(b"x" * 5000)
    Path(state.outbox).chmod(0o600)
    stage.begin("")
    assert stage.tick().decision.trouble is not None  # type: ignore[attr-defined]
    assert [path.name for path in Path(state.root).glob("outbox.db.corrupt-*")]
    stage.journal.ended(1, T0, {"email": None, "on": ["end"]})
    assert stage.tick().decision.trouble is None  # type: ignore[attr-defined]


def test_nothing_is_sent_again_while_the_outbox_cannot_be_written(stage: Stage, state: State, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    stage.begin(f'[[notifications.commands]]\ncommand = ["/bin/sh", "-c", "cat >> {seen}"]\n')
    stage.settle()
    full = "CREATE TRIGGER full BEFORE DELETE ON message BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    with contextlib.closing(sqlite3.connect(state.outbox, isolation_level=None)) as database:
        database.execute(full)
    event = stage.journal.ended(1, T0)
    stage.run_until(T0 + 300)
    assert stage.tick().decision.trouble is not None  # type: ignore[attr-defined]
    stage.journal.ended(2, stage.wall)
    with contextlib.closing(sqlite3.connect(state.outbox, isolation_level=None)) as database:
        database.execute("DROP TRIGGER full")
    stage.run_until(T0 + 600)
    assert [json.loads(line)["job"] for line in seen.read_text().splitlines()] == [1, 2]
    assert json.loads(seen.read_text().splitlines()[0])["id"] == event
    assert stage.waiting() == {}


def test_a_clock_that_is_set_back_keeps_nobody_from_being_told(stage: Stage, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    asked = {"email": None, "on": ["end"], "urls": ["https://127.0.0.1:1/"]}
    config = f'[[notifications.commands]]\ncommand = ["/bin/sh", "-c", "cat >> {seen}"]\n'
    stage.wall = T0 + 1000 * HOUR
    stage.begin(config)
    stage.settle()
    stage.wall = T0
    stage.journal.ended(1, T0, asked)
    stage.settle()
    assert json.loads(seen.read_text())["job"] == 1
    assert list(stage.waiting()) == ["url https://127.0.0.1:1/"]
    stage.notifier.close()
    stage.begin(config)
    stage.journal.ended(2, T0)
    stage.settle()
    assert [json.loads(line)["job"] for line in seen.read_text().splitlines()] == [1, 2]


def test_a_user_and_password_in_a_url_are_for_the_receiver_alone(stage: Stage, web: Receiver) -> None:
    before = len(web.got())
    web.answers(200)
    stage.journal.ended(1, T0, {"on": ["end"], "urls": [f"http://ada:ge%40heim@127.0.0.1:{web.port}/x"]})
    stage.settle()
    (request,) = new(web, before)
    assert request["headers"]["Host"] == f"127.0.0.1:{web.port}"
    assert request["headers"]["Authorization"] == f"Basic {base64.b64encode(b'ada:ge@heim').decode()}"
    assert stage.waiting() == {}


def test_a_command_has_ended_when_it_has(stage: Stage, tmp_path: Path) -> None:
    left, hook = tmp_path / "left", tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\nsleep 1000 &\necho $! >> {left}\n")
    hook.chmod(0o700)
    stage.begin(f'[[notifications.commands]]\ncommand = ["{hook}"]\ntimeout = 60\n')
    stage.journal.ended(1, T0)
    stage.settle()
    (running,) = map(int, left.read_text().split())
    os.kill(running, signal.SIGKILL)
    assert stage.waiting() == {}
