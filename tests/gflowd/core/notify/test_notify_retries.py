"""What the answer of a receiver means, and when it is tried again."""

from __future__ import annotations

import pytest

from gflowd.core.notify import retries
from gflowd.core.notify.targets import Hook, Mailbox, Secret, Service, Target, Transport, Webhook


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, "delivered"), (204, "delivered"), (301, "refused"), (308, "refused"), (400, "refused"), (401, "refused"),
     (404, "refused"), (410, "refused"), (408, "again"), (425, "again"), (429, "again"), (500, "again"), (503, "again"),
     (100, "again")],
)  # fmt: skip
def test_answers_to_a_webhook(status: int, kind: str) -> None:
    assert retries.of_http(status, "", "").kind == kind


def test_what_else_an_answer_says() -> None:
    assert "redirects to https://b/...; name that URL" in retries.of_http(302, "https://b/...", "").why
    assert retries.of_http(429, "", "120").wait == 120
    assert retries.of_http(503, "", "Wed, 21 Oct").wait == 0


def test_answers_of_mail_servers_and_programs() -> None:
    assert [retries.of_smtp(code, "x").kind for code in (550, 450, 421)] == ["refused", "again", "again"]
    assert [retries.of_exit(code, "").kind for code in (0, 1, 75, 67, -9)] == (
        ["delivered", "again", "again", "refused", "again"]
    )
    hooks = [retries.of_exit(code, "so", hook=True) for code in (0, 75, 1, -9)]
    assert [each.kind for each in hooks] == ["delivered", "again", "refused", "refused"]
    assert [each.why for each in hooks[1:]] == ["exit status 75: so", "exit status 1: so", "ended by signal 9: so"]


def test_delays_grow_to_an_hour_and_are_spread() -> None:
    assert [retries.delay(number, 0.5) for number in (1, 2, 3, 20, 10**6)] == [10, 20, 40, 3600, 3600]
    assert (retries.delay(1, 0.0), retries.delay(1, 0.999)) == (7.5, pytest.approx(12.5, abs=0.1))
    assert retries.delay(1, 0.5, asked=100) == 100
    assert retries.delay(1, 0.5, asked=10**9) == 3600


def test_a_clock_that_was_set_back_keeps_nobody_waiting() -> None:
    assert retries.due(1e9, 100.0) == 100 + 4500
    assert retries.due(50.0, 100.0) == 50


def test_targets_take_what_they_asked_for() -> None:
    failed = {"kind": "job_ended", "state": "failed", "user": "Ada"}
    assert Webhook(url="https://a/b").takes(failed)
    assert Webhook(url="x", users=("ada",), events=("fail",)).takes(failed)
    assert not Webhook(url="x", users=("bob",)).takes(failed)
    assert not Webhook(url="x", users=("bob",)).takes({"kind": "daemon_started"})
    assert not Webhook(url="x", events=("job_completed",)).takes(failed)


def test_no_secret_is_in_what_the_log_says_of_a_target() -> None:
    targets: list[Target] = [
        Webhook(url="https://h/geheim"), Mailbox(to=("ada", "bob")), Hook(command=("/bin/x", "geheim")),
        Service(url=Secret(text="slack://geheim")), Service(url=Secret(variable="SLACK")),
        Service(url=Secret(file="/f")),
    ]  # fmt: skip
    assert [each.shown for each in targets] == [
        "https://h/...", "emails ada,bob", "command /bin/x", "slack://...", "service of SLACK", "service of /f",
    ]  # fmt: skip
    assert len({each.key for each in targets}) == len(targets)
    with pytest.raises(NotImplementedError):
        _ = Target().key
    assert (Transport(host="h").place, Transport(host="h", port=3).place) == ("h:587", "h:3")
    assert (Secret().is_given, Secret(text="x").is_given) == (False, True)
