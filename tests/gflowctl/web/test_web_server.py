"""gflowctl web as a program: where it listens, how it ends, and what it needs."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import stat
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from gflowctl.web import address
from gflowd.core.errors import BadUsage, Refused

if TYPE_CHECKING:
    from pathlib import Path

    from support.ctl import Ctl

WITHOUT = "import sys; sys.modules['uvicorn'] = None; from gflowctl.main import main; sys.exit(main(['web']))"


@pytest.mark.parametrize(
    ("text", "host", "port", "is_loopback"),
    [
        ("127.0.0.1:8421", "127.0.0.1", 8421, True), ("localhost:0", "localhost", 0, True),
        ("[::1]:80", "::1", 80, True),
        ("0.0.0.0:1", "0.0.0.0", 1, False), ("gpubox:8421", "gpubox", 8421, False), ("[::]:8421", "::", 8421, False),
    ],
)  # fmt: skip
def test_an_address_is_read(text: str, host: str, port: int, *, is_loopback: bool) -> None:
    found = address.parse(text)
    assert (found.host, found.port, found.is_loopback, str(found)) == (host, port, is_loopback, text)
    assert (address.names(found) is None) == is_loopback
    assert "gpubox.example" in (address.names(found, ["GPUbox.example"]) or ())
    with pytest.raises(BadUsage, match="--name"):
        address.check_name(text)


@pytest.mark.parametrize(
    "text", ["8421", ":8421", "127.0.0.1", "127.0.0.1:66000", "::1:80", "a b:1", "http://x:1", "unix:"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadUsage, match="--listen"):
        address.parse(text)


def test_where_it_cannot_listen_it_says_why_in_one_sentence() -> None:
    for text, why in (
        (f"{'h' * 70}:0", "the name is not known"), ("a..b:0", "the name is not known"),
        ("nowhere.invalid:0", "the name is not known"), ("192.0.2.1:0", "Cannot assign requested address"),
        (f"unix:/{'p' * 200}", "path too long"), ("unix:/", "in use"),
        ("unix:/proc/none/x", "No such file or directory"),
    ):  # fmt: skip
        with pytest.raises(Refused, match=f"cannot listen on .*{why}"):
            address.listen(address.parse(text))


def test_a_unix_socket_is_ours_alone_and_taken_over_once_it_is_left(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    wanted = address.parse(f"unix:{path}")
    with address.listen(wanted):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(Refused, match=r"web\.sock is already in use"):
            address.listen(wanted)
    address.listen(wanted).close()
    path.unlink()
    path.write_text("a file of somebody's")
    with pytest.raises(Refused, match="cannot listen on unix:"):
        address.listen(wanted)
    assert path.read_text() == "a file of somebody's"


def test_pages_of_several_machines_do_not_take_each_others_cookies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through tunnels all of them are localhost, and have the same port on their machines, or none."""
    places = address.parse("127.0.0.1:8421"), address.parse("unix:/run/a"), address.parse("unix:/run/b")
    marks = [address.mark(place, root) for place in places for root in ("/a/gflow", "/b/gflow")]
    assert marks == [address.mark(place, root) for place in places for root in ("/a/gflow", "/b/gflow")]
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    marks += [address.mark(place, "/a/gflow") for place in places]
    assert len(set(marks)) == len(marks) == 9


def test_it_is_served_until_it_is_interrupted(ctl: Ctl) -> None:
    pytest.importorskip("uvicorn")
    process = ctl.start("web", "--listen", "127.0.0.1:0")
    assert process.stdout is not None
    assert process.stderr is not None
    url = urlsplit(process.stdout.readline().decode().strip())
    try:
        assert url.port is not None
        with socket.create_connection(("127.0.0.1", url.port)):
            taken = ctl.fails(1, "web", "--listen", f"127.0.0.1:{url.port}")
        assert taken == f"127.0.0.1:{url.port} is already in use; give another one with --listen"
        browser, following = (http.client.HTTPConnection("127.0.0.1", url.port, timeout=30) for _ in range(2))
        browser.request("GET", "/")
        answer = browser.getresponse()
        assert (answer.status, b"token" in answer.read()) == (403, True)
        browser.request("GET", f"/?{url.query}")
        let_in = browser.getresponse()
        let_in.read()
        cookie = (let_in.headers["Set-Cookie"] or "").partition(";")[0]
        assert (let_in.status, let_in.headers["Location"], "Server" in let_in.headers) == (303, "/", False)
        browser.request("GET", "/", headers={"Cookie": cookie})
        assert b"Nothing is queued or running" in browser.getresponse().read()
        following.request("GET", "/live/", headers={"Cookie": cookie})
        stream = following.getresponse()
        assert b"retry" in stream.readline()
    finally:
        process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1].decode()
    for each in (stream, following, browser):
        each.close()
    assert process.returncode == 0
    assert f"from another machine: ssh -L {url.port}:127.0.0.1:{url.port} {os.uname().nodename}" in said
    assert "Traceback" not in said
    assert url.query.removeprefix("token=") not in said


def test_what_is_missing_is_named_with_the_way_to_get_it(ctl: Ctl) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], env=ctl.env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("gflowctl: gflowctl web needs gflow[web]: ")
    assert done.stderr.endswith("jinja2 starlette uvicorn\n") or "python3-uvicorn" in done.stderr
