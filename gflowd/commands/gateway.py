"""Take the requests of all users of this machine, in the foreground, until told to end (SIGTERM or Ctrl-C).

systemd calls this when somebody connects to gflow-gateway.socket, so that users can submit and cancel jobs also while
gflowd is down; it ends when nobody has asked for five seconds, and is called again. Without systemd gflowd runs the
gateway itself (gateway = "worker" in [shared]). SIGHUP makes it read the configuration again. Only root can run it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from typing import TYPE_CHECKING

from gflowd import log
from gflowd.config.start_options import StartOptions, kept
from gflowd.core.errors import GflowError, Refused
from gflowd.daemon import launch

if TYPE_CHECKING:
    import argparse

    from gflowd.config.loader import Config
    from gflowd.paths import State
    from gflowd.workers.gateway.worker import Gateway

FIRST = 3  # the first descriptor that systemd passes, sd_listen_fds(3)
IDLE = 5.0  # seconds without a request after which one that systemd started ends
HEEDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def configure(parser: argparse.ArgumentParser) -> None:
    """It has no options of its own."""
    parser.set_defaults(system=True)


def run(args: argparse.Namespace) -> int:
    """0 when it was told to end, or has nothing to do."""
    state = launch.state_of(args)
    if os.geteuid() != 0:
        raise Refused("only root can run the gateway: it writes into the queue of all users")
    if state.shared is None:
        raise Refused(f"{state.root} has never been the state directory of gflowd run --system")
    config = _config(state, args.config)
    log.setup(state, "gateway", config.log_level, stderr=True)
    launch.take_descriptors()
    listener = _passed()
    is_started_by_systemd = listener is not None
    if listener is None:
        from gflowd.workers.gateway.server import listen

        listener = listen(state.shared.gate)
    with listener:
        _serve(state, config, listener, args.config, IDLE if is_started_by_systemd else None)
    return 0


def _serve(state: State, config: Config, listener: socket.socket, named: str | None, idle: float | None) -> None:
    """Until it is told to end, or nobody has asked for `idle` seconds."""
    from gflowd.workers.gateway.worker import Gateway, hurry

    hurry()
    signals = _Signals()
    logger = log.get("gateway")
    logger.info("gateway listens", pid=os.getpid())
    while not signals.told_to_end:
        gateway = Gateway(state, launch.runtime_of(state), config, listener)
        try:
            if _loop(gateway, signals, idle):
                break
        finally:
            gateway.close()
        try:
            config = _config(state, named)
        except GflowError as error:
            logger.error("configuration kept", why=str(error))
    logger.info("gateway ends")


def _loop(gateway: Gateway, signals: _Signals, idle: float | None) -> bool:
    """Whether it has ended since nobody asks, and not by a signal."""
    asked_at = time.monotonic()
    while not signals.heard:
        due = gateway.serve(time.monotonic())
        now = time.monotonic()
        if not gateway.is_idle:
            asked_at = now
        elif idle is not None and now >= asked_at + idle:
            return True
        ends = [each for each in (due, None if idle is None else asked_at + idle) if each is not None]
        select.select([gateway.descriptor, signals.readable], [], [], max(0.0, min(ends) - now) if ends else None)
    signals.forget(signal.SIGHUP)
    return False


class _Signals:
    """Those that were heard; `readable` wakes whoever waits for them."""

    def __init__(self) -> None:
        self.heard: set[int] = set()
        self.readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
        for number in HEEDED:
            signal.signal(number, lambda number, _: self.heard.add(number))

    @property
    def told_to_end(self) -> bool:
        """Whether another was heard than one that is forgotten by now."""
        return bool(self.heard)

    def forget(self, number: int) -> None:
        """It is being heeded."""
        self.heard.discard(number)
        with contextlib.suppress(BlockingIOError):
            os.read(self.readable, 4096)


def _config(state: State, named: str | None) -> Config:
    """As gflowd has it, or as it would have it; only root may write the file. Raises `Refused`."""
    options = kept(state)
    return StartOptions(named or options.config, options.options, system=True).load()


def _passed() -> socket.socket | None:
    """The socket that systemd passes, if it started us."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        return None
    os.set_inheritable(FIRST, False)
    return socket.socket(fileno=FIRST)
