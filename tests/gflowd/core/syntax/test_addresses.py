"""Addresses of mail and URLs: what is taken, and how a URL is shown without its secret."""

from __future__ import annotations

import pytest

from gflowd.core.errors import Refused
from gflowd.core.syntax.addresses import addresses, redacted, scheme, url, without_user


def test_addresses_are_those_of_users_and_of_mail() -> None:
    assert addresses("ada@example.org, bob ,ada@example.org") == ("ada@example.org", "bob")
    assert addresses("o'neil+x@a-b.c") == ("o'neil+x@a-b.c",)


@pytest.mark.parametrize(
    "text",
    [
        "", " , ", "a b", "a@", "@b", "a@b@c", "-f@x", "a@b\nBcc: c@d", "ada@exämple.org", "<a@b>", "a@-b", "a..b@c",
        "x" * 300, "a;b@c",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="address"):
        addresses(text)


def test_urls() -> None:
    for text in ("https://u:p@example.org:8/x?y=z", "http://[::1]/", "slack://a/b/c", "tgram://1:x_y/2"):
        assert url(text) == text
    assert scheme("SLACK://x") == "slack"
    for text in ("", "example.org", "https://", "http:///x", "https://a/b c", "https://a/\n", "//x", "https://ä/",
                 "http://[::1/", "http://a:99999/", "http://a:x/"):  # fmt: skip
        with pytest.raises(Refused):
            url(text)


def test_what_is_shown_of_a_url_is_never_its_secret() -> None:
    shown = {
        "https://u:geheim@example.org:8/geheim?y=geheim": "https://example.org:8/...",
        "https://u:ge@heim@example.org/x": "https://example.org/...",
        "https://example.org": "https://example.org",
        "https://example.org/": "https://example.org/",
        "HTTPS://example.org?token=geheim": "https://example.org/...",
        "slack://geheim/x": "slack://...",
        "geheim": "...",
    }
    assert {text: redacted(text) for text in shown} == shown
    with pytest.raises(Refused) as refusal:
        url("https://example.org/geheim x\n")
    assert "geheim" not in str(refusal.value)


def test_the_user_of_a_url_is_no_part_of_its_host() -> None:
    assert without_user("https://ada:a%20b@example.org:8/x?y=@z") == ("https://example.org:8/x?y=@z", "ada:a%20b")
    assert without_user("https://ada:a@b@example.org") == ("https://example.org", "ada:a@b")
    assert without_user("https://example.org/@ada") == ("https://example.org/@ada", None)
    assert without_user("no URL") == ("no URL", None)
