"""Becoming a daemon (daemon(7)): detaches from the terminal and tells the starter whether the daemon got ready."""

from __future__ import annotations

import os
import select
import signal
import time
from typing import TYPE_CHECKING, NoReturn

from gflowd.core.errors import GflowError, SystemFailed
from gflowd.effects import proc

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[[Callable[[], None]], int]  # takes what to call when ready, returns the exit status

START_PATIENCE = 60.0  # seconds until `start` stops waiting for a daemon that neither gets ready nor fails


def settle() -> None:
    """What every daemon does to itself: private files, no directory that blocks an unmount, default signals.

    A hang-up (`gflowd reload`) must not end a daemon that has no handler for it yet.
    """
    os.umask(0o077)
    os.chdir("/")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def detach(serve: Serve, log_path: str) -> int:
    """Runs `serve` in a process of its own, away from the terminal; returns its pid when it is ready.

    Raises what stopped it before it was ready, with the same sentence and exit status.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if it is ignored, children cannot be waited for
    news, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(news)
        _become_daemon(serve, tell)
    os.close(tell)
    os.waitpid(child, 0)
    try:
        return _await_news(news, log_path)
    finally:
        os.close(news)


def _await_news(news: int, log_path: str) -> int:
    heard = b""
    deadline = time.monotonic() + START_PATIENCE
    while select.select([news], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(news, 65536)
        if not part:
            break
        heard += part
        if heard.endswith(b"\n"):  # the workers have the pipe too, so it would end only with them
            break
    else:
        raise SystemFailed(f"not ready after {START_PATIENCE:g} s; see {log_path}")
    word, _, rest = heard.decode(errors="replace").strip().partition(" ")
    if word == "ready":
        return int(rest)
    if not word.isdigit():
        raise SystemFailed(f"ended before it was ready; see {log_path}")
    error = GflowError(rest)
    error.status = int(word)
    raise error


def _become_daemon(serve: Serve, tell: int) -> NoReturn:
    """The rest of a forked child's life: a session of its own, then a grandchild that can never get a terminal."""
    status = 3
    try:
        os.setsid()
        if os.fork() > 0:
            os._exit(0)
        settle()
        _leave_descriptors(tell)
        status = _serve_and_tell(serve, tell)
    finally:
        os._exit(status)


def _leave_descriptors(keep: int) -> None:
    """Closes inherited descriptors: an open pipe of the caller would keep `ssh host gflowd start` waiting."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    for fd in proc.descriptors():
        if fd > 2 and fd != keep:
            try:
                os.close(fd)
            except OSError:  # the one that listed the directory
                pass


def _serve_and_tell(serve: Serve, tell: int) -> int:
    told = False

    def say(words: str) -> None:
        nonlocal told
        if not told:
            told = True
            try:
                os.write(tell, f"{words}\n".encode(errors="replace"))
            except OSError:  # the starter is gone
                pass
            os.close(tell)

    try:
        return serve(lambda: say(f"ready {os.getpid()}"))
    except GflowError as error:
        say(f"{error.status} {error}")
        return error.status
    except Exception as error:
        say(f"3 internal error: {error!r}; see the log")
        return 3
