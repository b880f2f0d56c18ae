"""The tables of [notifications]: what they may say, and that no error shows a secret."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gflowd.config import loader, notification_targets
from gflowd.core.errors import Refused
from gflowd.core.notify.targets import PLAIN, STARTTLS, Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    Load = Callable[[str], loader.Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str) -> loader.Config:
        path = tmp_path / "gflow.toml"
        path.write_text(text)
        return loader.load(str(path), {})

    return load


def one(load: Load, table: str, text: str) -> Any:
    config = load(f"[[notifications.{table}]]\n{text}")
    (found,) = notification_targets.of(config)
    return found


def test_every_table(load: Load) -> None:
    webhook = one(load, "webhooks", 'url = "https://a/b"\nsecret_env = "HOOK"\nevents = ["fail", "gpu_faulty"]')
    assert (webhook.secret, webhook.events) == (Secret(variable="HOOK"), ("fail", "gpu_faulty"))
    mailbox = one(load, "emails", 'to = ["ada", "Bob B <bob@c.d>"]')
    assert (mailbox.to, mailbox.transport, mailbox.prefix) == (("ada", "bob@c.d"), None, "[gflow]")
    hook = one(load, "commands", 'command = ["/bin/echo", "x"]\ntimeout = "1m"')
    assert (hook.command, hook.timeout) == (("/bin/echo", "x"), 60)
    assert one(load, "commands", 'command = "/bin/echo"').command == ("/bin/echo",)
    assert one(load, "services", 'url_file = "/etc/slack"').url == Secret(file="/etc/slack")
    assert one(load, "services", 'url = "slack://a"').url == Secret(text="slack://a")


@pytest.mark.parametrize(
    ("url", "security", "port"),
    [("smtp://h", PLAIN, 25), ("smtp://h:2525", PLAIN, 2525), ("smtp://h?tls=required", STARTTLS, 587),
     ("smtps://h", "tls", 465), ("smtp://[::1]:25?tls=none", PLAIN, 25)],
)  # fmt: skip
def test_smtp_urls_are_read_as_the_original_s(load: Load, url: str, security: str, port: int) -> None:
    transport = one(load, "emails", f'to = ["a"]\nsmtp_url = "{url}"').transport
    assert (transport.security, int(transport.place.rpartition(":")[2])) == (security, port)


def test_a_server_without_recipients_serves_the_mail_of_jobs(load: Load) -> None:
    config = load('[[notifications.emails]]\nsmtp_url = "smtp://u@h"\npassword_file = "/p"\nfrom = "g@h.i"')
    assert notification_targets.of(config) == ()
    transport = notification_targets.transport(config)
    assert (transport.user, transport.password, transport.sender) == ("u", Secret(file="/p"), "g@h.i")
    own = load('[notifications.mail]\nhost = "m"\nsecurity = "none"\n[[notifications.emails]]\nsmtp_url = "smtp://h"')
    assert notification_targets.transport(own).place == "m:25"


@pytest.mark.parametrize(
    ("table", "text", "said"),
    [
        (
            "webhooks",
            'url = "https://geheim/geheim"\nulr = "x"',
            "line 1: notifications.webhooks: table 1: unknown key",
        ),
        ("webhooks", "", "url is missing"),
        ("webhooks", 'url = "geheim"', "is not a URL"),
        ("webhooks", 'url = "slack://geheim"', r"others are for \[\[notifications.services\]\]"),
        ("webhooks", 'url = "https://a"\nheaders = { "X-Gflow-Event" = "geheim" }', "is set by gflow"),
        ("webhooks", 'url = "https://a"\nheaders = { X = "geheim\\n" }', "HTTP does not allow"),
        ("webhooks", 'url = "https://a"\nheaders = ["geheim"]', "headers is not a table of texts"),
        ("webhooks", 'url = "https://a"\nsecret = "geheim"\nsecret_env = "X"', "are the same secret"),
        ("webhooks", 'url = "https://a"\nsecret_env = "geheim geheim"', "is not the name of a variable"),
        ("webhooks", 'url = "https://a"\nsecret_file = "x"', "secret_file: 'x' is not the absolute path"),
        ("webhooks", 'url = "https://a"\nevents = ["fial"]', "did you mean fail"),
        ("webhooks", 'url = "https://a"\nevents = "fail"', "events is not a list of texts"),
        ("webhooks", 'url = "https://a"\ntimeout = 1\ntimeout_secs = 2', "are the same"),
        ("webhooks", 'url = "https://a"\nmax_retries = -1', "max_retries: -1 is not"),
        ("webhooks", "url = 3", "url is not a text"),
        ("emails", 'to = ["a b"]', "is not an address"),
        ("emails", 'to = ["a"]\nfrom = "g@h"', "smtp_url is missing"),
        ("emails", 'to = ["a"]\nfrom = "g h"', "from: 'g h' is not an address"),
        ("emails", 'to = ["a"]\nsmtp_url = "http://u:geheim@h"', "smtp_url is not like"),
        ("emails", 'to = ["a"]\nsmtp_url = "smtp://u:geheim@h:99999"', "smtp_url is not like"),
        ("emails", 'to = ["a"]\nsmtp_url = "smtp://u:geheim@h"\npassword_env = "X"', "there is another"),
        ("commands", "command = []", "command is not a program"),
        ("commands", 'command = ["echo"]', "absolute path"),
        ("services", "", "url is missing"),
        ("services", 'url = "geheim"', "is not a URL"),
    ],
)
def test_what_a_table_may_not_say(load: Load, table: str, text: str, said: str) -> None:
    with pytest.raises(Refused, match=said) as refusal:
        load(f"[[notifications.{table}]]\n{text}")
    assert "geheim" not in str(refusal.value).replace(repr("geheim geheim"), "")


def test_plain_settings(load: Load) -> None:
    assert load("").notify_enabled is None
    assert load('[notifications]\nenabled = "auto"').notify_enabled is None
    for text in ("enabled = 3", "webhooks = 3", 'mail.host = "a\\nb"', 'mail.sendmail = "x"', "mail.port = 0",
                 'mail.from = "a b"', 'mail.security = "ssl"', 'give_up_after = "0s"'):  # fmt: skip
        with pytest.raises(Refused, match="notifications"):
            load(f"[notifications]\n{text}")
    with pytest.raises(Refused, match="only the file can have"):
        loader.load(None, {"HOME": "/nonexistent", "GFLOW_NOTIFICATIONS__WEBHOOKS": "x"})


def test_no_way_to_look_at_the_settings_shows_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "gflow.toml"
    path.write_text('[[notifications.webhooks]]\nurl = "https://a/geheim"\nsecret = "geheim"')
    _, sources = loader.explain(str(path), {})
    shown = next(each for each in sources() if each.name == "notifications.webhooks")
    assert (shown.given, shown.kind, shown.where) == ('["1 (not shown)"]', "file", "line 1")
    assert "geheim" not in str(shown)
