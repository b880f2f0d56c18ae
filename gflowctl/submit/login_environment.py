"""The variables that a login would bring: those of the machine's files and of the user's shell with its profile.

Read at submission, as all of a job's environment, and within a bound: a profile that waits for something, fails or
prints must keep nobody from submitting. Imported only if needed.
"""

from __future__ import annotations

import os
import pwd
import select
import signal
import subprocess
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PATIENCE = 8.0  # seconds, as Slurm's
LARGEST = 16 << 20  # bytes of what the shell prints
MACHINES = ("/etc/environment", "/etc/default/locale")  # whose variables every login has (pam_env)
NOT_A_JOBS = (b"_", b"OLDPWD", b"PWD", b"SHLVL")  # they tell of the shell that was asked


def read(
    base: Mapping[bytes, bytes], shell: str | None = None, patience: float = PATIENCE, files: Iterable[str] = MACHINES
) -> tuple[dict[bytes, bytes], str | None]:
    """The variables that a login shell has that starts with those of `base` and of the machine; and why they are not
    those of its profile, if they are not.
    """
    found = dict(base)
    for path in files:
        found |= _of_file(path)
    if shell is None:
        try:
            shell = pwd.getpwuid(os.getuid()).pw_shell
        except KeyError:
            shell = ""
    mark = os.urandom(16).hex().encode()
    said, why = _said(shell or "/bin/sh", found, mark, patience)
    if why is not None:
        return found, why
    entries = (entry.partition(b"=") for entry in said.split(b"\0"))
    return {name: value for name, equals, value in entries if name and equals and name not in NOT_A_JOBS}, None


def of_account() -> dict[bytes, bytes]:
    """What login(1) sets for the user, also where the submitter's own environment lacks it, as in cron or a container;
    nothing for a user whom the machine does not know.
    """
    try:
        user = pwd.getpwuid(os.getuid())
    except KeyError:
        return {}
    found = {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name, "SHELL": user.pw_shell}
    return {name.encode(): os.fsencode(value) for name, value in found.items() if value}


def _said(shell: str, variables: Mapping[bytes, bytes], mark: bytes, patience: float) -> tuple[bytes, str | None]:
    """What env(1) prints in the shell, between two marks: a profile may print too. Works in all shells."""
    text = f"echo; echo {mark.decode()}; /usr/bin/env -0; echo {mark.decode()}"
    name, home = os.path.basename(shell), os.fsdecode(variables.get(b"HOME", b"/"))
    deadline = time.monotonic() + patience
    try:
        process = subprocess.Popen(
            [f"-{name}", "-c", text],  # the dash makes it a login shell
            executable=shell,
            env=dict(variables),
            cwd=home if os.path.isdir(home) else "/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return b"", f"{name}: {error.strerror if isinstance(error, OSError) else error}"
    assert process.stdout is not None
    with process.stdout as pipe:
        printed, why = _printed(pipe.fileno(), mark, deadline)
    try:
        process.wait(max(deadline - time.monotonic(), 0.1) if why is None else 0)
    except subprocess.TimeoutExpired:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except OSError:  # it has become somebody else's
            process.kill()
        process.wait()
    if why is not None:
        return b"", f"{name} {why.format(patience=patience)}"
    return printed, None


def _printed(fd: int, mark: bytes, deadline: float) -> tuple[bytes, str | None]:
    """What comes between the marks. Does not wait for the end of the stream, which what a profile starts may hold."""
    start, end = b"\n%b\n" % mark, b"\0%b\n" % mark
    content = bytearray()
    while len(content) < LARGEST:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            return b"", "took longer than {patience:g} s"
        part = os.read(fd, 1 << 16)
        if not part:
            return b"", "ended with its profile"
        content += part
        if content.endswith(end):
            return bytes(content.partition(start)[2][: -len(end)]), None
    return b"", "printed too much"


def _of_file(path: str) -> dict[bytes, bytes]:
    """`NAME=value` lines, as pam_env(8) reads them; values may be quoted."""
    try:
        with open(path, "rb") as file:
            lines = file.read(1 << 20).splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, equals, value = line.strip().removeprefix(b"export ").partition(b"=")
        if equals and name and not name.startswith(b"#") and b"\0" not in line:
            found[name.strip()] = value.strip().strip(b"\"'")
    return found
