"""Serves the page until it is interrupted: listens, prints the address, runs uvicorn."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import uvicorn

from gflowctl.output import render
from gflowctl.web import address
from gflowctl.web.app import application
from gflowctl.web.guard import Door
from gflowctl.web.reader import Source

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from gflowctl.context import Context
    from gflowctl.web.live import Streams

PATIENCE = 3  # seconds for answers that are being sent when it ends


class Server(uvicorn.Server):
    """Ends with the first SIGINT or SIGTERM, with its streams, which last as long as a page is open; at the second it
    waits no longer. To be ended so is no failure: uvicorn would raise the signal again.
    """

    streams: Streams

    def handle_exit(self, _signal: int, _frame: FrameType | None) -> None:
        self.streams.close()
        self.force_exit = self.should_exit
        self.should_exit = True


def serve(context: Context, listen: str, names: Sequence[str] = ()) -> None:
    """Returns when it is interrupted. `names`: further ones to answer under. Raises `GflowError` where it cannot listen
    there.
    """
    wanted = address.parse(listen)
    context.store  # noqa: B018 -- refuses a state directory that others may enter
    with address.listen(wanted) as bound:
        place = address.shown(wanted, bound)
        mark = address.mark(place, context.state.root)
        door = Door(secrets.token_urlsafe(32), mark, address.names(place, names))
        app, site = application(Source(context), door)
        _announce(place, door.token)
        config = uvicorn.Config(
            app, loop="asyncio", http="h11", ws="none", lifespan="on", log_config=None, access_log=False,
            proxy_headers=False, server_header=False, timeout_graceful_shutdown=PATIENCE,
        )  # fmt: skip
        server = Server(config)
        server.streams = site.streams
        try:
            server.run(sockets=[bound])
        finally:
            if place.path is not None:
                with suppress(FileNotFoundError):
                    os.unlink(place.path)


def _announce(place: address.Address, token: str) -> None:
    render.write(f"{address.url(place, token)}\n")
    render.flush()
    here = socket.gethostname()
    if place.path is not None:
        render.note(f"through a tunnel: ssh -L 8421:{place.path} {here}, then open http://localhost:8421/?token=...")
    elif place.is_loopback:
        render.note(f"from another machine: ssh -L {place.port}:{place} {here}, then open the same address there")
    else:
        render.note(f"warning: {place} can be reached by others, and what is sent is not encrypted; whoever reads the "
                    "token can do all that you can do here")  # fmt: skip
    render.note("Ctrl-C ends it")
