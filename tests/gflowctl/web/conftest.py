"""A page of its own, with a browser that has been let in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.asgi import Asking

from gflowctl.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.ctl import Ctl

TOKEN, HOST = "a-token", "127.0.0.1:8421"


@pytest.fixture(scope="module")
def opened() -> Callable[[Ctl], Asking]:
    """Makes the page of a queue, and comes in."""
    pytest.importorskip("starlette")
    pytest.importorskip("jinja2")
    from gflowctl.web.app import application
    from gflowctl.web.guard import Door
    from gflowctl.web.reader import Source

    def open_page(ctl: Ctl) -> Asking:
        door = Door(TOKEN, "8421", None)
        app, _ = application(Source(Context(ctl.env)), door)
        return Asking(app, host=HOST, cookie=f"{door.cookie}={door.derived('cookie')}")

    return open_page
