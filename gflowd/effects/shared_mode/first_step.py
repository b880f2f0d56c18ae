"""What an attempt of one of many users runs first, as that user and in its control group: a script that starts the
tmux server of the attempt, or `job.sh` without one, and ends.

It is in root's part of the attempt's directory, as is the server's configuration.
"""

from __future__ import annotations

import os
import shlex
import shutil
from typing import TYPE_CHECKING

from gflowd import paths
from gflowd.effects.attempt import detached
from gflowd.effects.attempt.tmux import Session, TmuxFailed, configuration_of_job
from gflowd.effects.shared_mode import attempt_directory, given_files

if TYPE_CHECKING:
    from gflowd.core.execution.observations import Key
    from gflowd.effects.shared_mode.account import Account
    from gflowd.paths import State

BEGIN, CONFIGURATION = "begin", "tmux.conf"
# A background command of sh would ignore INT.
_PLAIN = """\
#!/bin/sh
# Starts job.sh. Written by gflowd.
cd / && umask 077 && exec </dev/null >>%(log)s 2>&1 && exec setsid -f /bin/sh %(script)s
"""
_TMUX = """\
#!/bin/sh
# Starts job.sh in a tmux server of its own. Written by gflowd.
cd / && umask 077 && export LC_CTYPE=C.UTF-8 SHELL=/bin/sh &&
  exec %(tmux)s -S %(socket)s -f %(configuration)s start-server
"""


def write(state: State, key: Key, owner: Account) -> str:
    """The script for an attempt without a terminal; returns its path. Raises OSError."""
    words = {"log": shlex.quote(state.job_log(*key)), "script": shlex.quote(_ours(state, key, "job.sh"))}
    return _write(state, key, _PLAIN % words, owner)


def write_in_tmux(state: State, key: Key, name: str, owner: Account) -> str:
    """The script for an attempt in the tmux session `name`; returns its path. Raises OSError, `TmuxFailed`."""
    tmux = shutil.which("tmux")
    if tmux is None:
        raise TmuxFailed("tmux is not installed")
    socket = state.job_socket(*key)
    if len(os.fsencode(socket)) > paths.SOCKET_PATH_LIMIT:
        raise TmuxFailed(f"{socket}: too long for the socket of tmux (--executor process needs none)")
    session = Session(
        name=name,
        script=_ours(state, key, "job.sh"),
        log=state.job_log(*key),
        log_end=os.path.join(state.own_attempt(*key), "log.end"),
        bell=attempt_directory.bell(state, key),
    )
    configuration = _ours(state, key, CONFIGURATION)
    given_files.write(configuration, _bytes(configuration_of_job(session, socket)), owner, 0o400)
    words = {"tmux": tmux, "socket": socket, "configuration": configuration}
    return _write(state, key, _TMUX % {name: shlex.quote(word) for name, word in words.items()}, owner)


def command(path: str) -> tuple[str, ...]:
    """How it is run: nothing of what starts it is in the job's environment."""
    return ("/usr/bin/env", "-i", f"PATH={detached.PATH}", "/bin/sh", path)


def _write(state: State, key: Key, text: str, owner: Account) -> str:
    path = _ours(state, key, BEGIN)
    given_files.write(path, _bytes(text), owner, 0o500)
    return path


def _ours(state: State, key: Key, name: str) -> str:
    return os.path.join(state.attempt(*key), name)


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
