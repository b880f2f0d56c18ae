"""Starts an attempt as a transient service of systemd, in whose control group it lives: the program that root runs.

The service is over when no process is left in its group, however its first process has ended: so what the command
leaves behind is not ended before the stop ladder says so, and no output is lost. For systemd the PAM session is over
once the first process has ended. There is no `RuntimeMaxSec=`, since it would count the time that a job is suspended,
and no later limit could replace it.
"""

from __future__ import annotations

import shlex

_SCRIPT = """\
said=$(LC_ALL=C %(start)s 2>&1 </dev/null) && exit
case $said in *already*) exit ;; esac  # it was started before
%(check)s || exit
umask 077
printf 'systemd did not start it: %%s\\n' "$(printf %%s "$said" | tr -s '\\n' ' ' | cut -b 1-500)" >%(fresh)s &&
  ln %(fresh)s %(barred)s; rm -f %(fresh)s
"""


def start(  # noqa: PLR0913 -- one argument per thing that a service may have
    name: str, uid: int, command: tuple[str, ...], *, description: str, service: str, memory_mb: int | None,
    no_new_privs: bool, start_within: float, kill_after: float, more: tuple[str, ...] = (),
) -> list[str]:  # fmt: skip
    """The call of systemd-run that starts the unit `name`, and returns when the first process has ended; `more`:
    properties of the unit.
    """
    properties = [
        f"PAMName={service}",
        "Type=forking", "GuessMainPID=no", "KillMode=control-group", "OOMPolicy=continue", "IgnoreSIGPIPE=no",
        "StandardInput=null", "StandardOutput=null", "StandardError=null", "UMask=0077", "WorkingDirectory=/",
        f"TimeoutStartSec={start_within:g}", f"TimeoutStopSec={kill_after:g}", *more,
    ]  # fmt: skip
    if memory_mb is not None:
        properties += [f"MemoryMax={memory_mb}M", "MemorySwapMax=0"]
    if no_new_privs:
        properties.append("NoNewPrivileges=yes")
    about = [f"--unit={name}", f"--description={description}", f"--uid={uid}", "--slice=gflow.slice"]
    settings = [f"--property={each}" for each in properties]
    return ["systemd-run", "--quiet", "--collect", "--no-ask-password", *about, *settings, *command]


def program(start: list[str], check: list[str], barred: str) -> list[str]:
    """The program that starts a service by `start`, and where that fails writes the reason to `barred`: what `check`
    has to say about the account, or systemd. Nothing is wrong if there is such a service already.
    """
    words = {
        "start": shlex.join(start), "check": shlex.join(check),
        "fresh": shlex.quote(f"{barred}.new"), "barred": shlex.quote(barred),
    }  # fmt: skip
    return ["/bin/sh", "-c", _SCRIPT % words]
