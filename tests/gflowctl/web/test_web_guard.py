"""Who gets in, and what the headers of every answer say."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from support.asgi import Asking

if TYPE_CHECKING:
    from gflowctl.web.guard import Door

guards = pytest.importorskip("gflowctl.web.guard", exc_type=ImportError)
HOST = "127.0.0.1:8421"
DOOR: Door = guards.Door("a-token", "8421", None)
COOKIE = f"other=1; gflow-8421={DOOR.derived('cookie')}"


async def inside(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"private")]})
    await send({"type": "http.response.body", "body": b"come in"})


def status(method: str = "GET", path: str = "/", door: Door = DOOR, **headers: str) -> int:
    return Asking(guards.Guard(inside, door)).ask(method, path, **headers).status


def test_the_token_is_exchanged_for_a_cookie_and_leaves_the_address() -> None:
    browser = Asking(guards.Guard(inside, DOOR), host=HOST)
    assert browser.get("/").status == 403
    assert "gflowctl web printed" in browser.get("/").text
    assert browser.get("/?token=a-toke").status == browser.get("/?token=a-token2").status == 403
    assert browser.get("/?token=%C3%A9").status == 403
    let_in = browser.get("/jobs/4?token=a-token&attempt=2")
    assert (let_in.status, let_in.headers["location"]) == (303, "/jobs/4?attempt=2")
    cookie = let_in.headers["set-cookie"]
    assert cookie.endswith("; HttpOnly; SameSite=Strict; Path=/")
    assert "a-token" not in cookie
    assert browser.get("/", cookie=cookie.partition(";")[0]).text == "come in"
    assert browser.post("/?token=a-token", "").status == 403
    assert browser.get("/", cookie="gflow-8421=a-token").status == 403
    assert browser.get("/", cookie="gflow-8421=\xff").status == 403


@pytest.mark.parametrize(
    "other",
    [
        'a={"b": 1, "c": "x, y"}',
        "flag",
        "a=b c,d",
        'a="unclosed',
        "expires=x",
        "h\xe9=1",
        "",
        "gflow-8421=of-an-earlier-one",
    ],
)
def test_the_cookies_of_other_programs_do_not_shut_out(other: str) -> None:
    ours = f"gflow-8421={DOOR.derived('cookie')}"
    for cookie in (f"{other}; {ours}", f"{ours}; {other}", f"{ours};{other}"):
        assert status(host=HOST, cookie=cookie) == 200, cookie
    assert status(host=HOST, cookie=f"{other}; x{ours}") == status(host=HOST, cookie=f'a="{ours}') == 403


def test_an_address_with_the_token_leads_nowhere_else() -> None:
    browser = Asking(guards.Guard(inside, DOOR), host=HOST)
    for path, where in (
        ("//evil.example/x?token=a-token", "/evil.example/x"), ("/%0d%0aX:1?token=a-token", "/%0D%0AX%3A1"),
        ("/%5C/evil.example?token=a-token", "/%5C/evil.example"),
    ):  # fmt: skip
        assert browser.get(path).headers["location"] == where


def test_whoever_was_led_here_by_another_site_comes_in_by_a_page() -> None:
    answer = Asking(guards.Guard(inside, DOOR), host=HOST).get("/?token=a-token", sec_fetch_site="cross-site",
                                                               sec_fetch_mode="navigate")  # fmt: skip
    assert (answer.status, "set-cookie" in answer.headers) == (200, True)
    assert 'content="0; url=/"' in answer.text


@pytest.mark.parametrize(
    ("door", "host", "is_ours"),
    [
        (DOOR, "127.0.0.1:8421", True), (DOOR, "localhost:9000", True), (DOOR, "LOCALHOST", True),
        (DOOR, "[::1]:1", True), (DOOR, "evil.example:8421", False), (DOOR, "10.0.0.5:8421", False),
        (DOOR, "", False), (DOOR, "a@localhost", False),
        (DOOR, "localhost/x", False), (DOOR, "localhost:x", False), (DOOR, "127.0.0.1.evil.example", False),
        (guards.Door("a-token", "8421", frozenset({"gpubox"})), "gpubox:8421", True),
        (guards.Door("a-token", "8421", frozenset({"gpubox"})), "10.0.0.5:8421", True),
        (guards.Door("a-token", "8421", frozenset({"gpubox"})), "evil.example:8421", False),
    ],
)  # fmt: skip
def test_a_foreign_name_is_refused(door: Door, host: str, *, is_ours: bool) -> None:
    assert status(door=door, host=host, cookie=COOKIE) == (200 if is_ours else 403)


@pytest.mark.parametrize(
    ("method", "headers", "wanted"),
    [
        ("GET", {}, 200), ("HEAD", {}, 200),
        ("GET", {"origin": "http://127.0.0.1:8421"}, 200), ("GET", {"origin": "http://evil.example"}, 403),
        ("GET", {"origin": "null"}, 403), ("GET", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, 403),
        ("GET", {"sec_fetch_site": "same-site", "sec_fetch_mode": "cors"}, 403),
        ("GET", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, 200),
        ("POST", {"origin": "http://127.0.0.1:8421"}, 200), ("POST", {"origin": "http://127.0.0.1:8422"}, 403),
        ("POST", {"origin": "null"}, 403), ("POST", {}, 403), ("POST", {"sec_fetch_site": "same-origin"}, 200),
        ("POST", {"sec_fetch_site": "same-site"}, 403), ("POST", {"sec_fetch_site": "none"}, 403),
        ("OPTIONS", {"origin": "http://evil.example"}, 405), ("PUT", {}, 405), ("DELETE", {}, 405), ("TRACE", {}, 405),
    ],
)  # fmt: skip
def test_another_site_can_ask_for_nothing(method: str, headers: dict[str, str], wanted: int) -> None:
    assert status(method, host=HOST, cookie=COOKIE, **headers) == wanted


def test_every_answer_forbids_what_it_need_not_allow() -> None:
    browser = Asking(guards.Guard(inside, DOOR), host=HOST)
    for answer in (
        browser.get("/"),
        browser.get("/", cookie=COOKIE),
        browser.ask("PUT", "/"),
        browser.get("/?token=x"),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert browser.get("/", cookie=COOKIE).headers["cache-control"] == "private"


def test_a_websocket_is_not_opened() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(guards.Guard(inside, DOOR)({"type": "websocket", "headers": []}, None, send))
    assert sent == []
