"""Runs within the virtual machine of `test-systemd --qemu`, as root: jobs exceed their memory under units of gflow,
where the kernel enforces it. Prints one JSON object a line: what runs there, then each trial and what was seen.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import time
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PATIENCE = 300.0  # seconds: the processor may be emulated
ADA, BOB = "ada", "bob"
NUMBERS = {ADA: 1001, BOB: 1002}
LIMIT, MORE = 100, 300  # MiB
SAYS_WHERE = "cat /proc/self/cgroup;"
HOG = f"exec python3 -c 'print(len(bytearray({MORE} << 20)))'"
STATUS = 21


class Wrong(Exception):
    """The kernel, systemd or gflow does not do what it must, and what was seen instead."""


def done(*words: str, user: str | None = None, status: int | None = 0) -> str:
    """What a program prints, as root, or as a user outside of all sessions."""
    home = "/root" if user is None else f"/home/{user}"
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": home, "LANG": "C.UTF-8"}
    who: tuple[str, ...] = ()
    if user is not None:
        number = NUMBERS[user]
        who = ("setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups")
        environ |= {"USER": user, "LOGNAME": user, "XDG_RUNTIME_DIR": f"/run/user/{number}"}
    told = subprocess.run(
        [*who, *words], env=environ, cwd=home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
    )  # fmt: skip
    if status is not None and told.returncode != status:
        raise Wrong(f"{' '.join(words)}: status {told.returncode}, not {status}: {told.stdout[-500:]}")
    return told.stdout


def eventually(what: str, fits: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not fits():
        if time.monotonic() > deadline:
            raise Wrong(f"waited {PATIENCE:.0f} s in vain until {what}")
        time.sleep(0.5)


def submit(user: str, executor: str, line: str, memory: int) -> str:
    options = ("--parsable", "--cpus", "0", "--memory", f"{memory}M", "--executor", executor)
    return done("gflowctl", "submit", *options, "--", "sh", "-c", line, user=user).splitlines()[0]


def shown(user: str, job: str) -> dict[str, object]:
    found: list[dict[str, object]] = json.loads(done("gflowctl", "show", "--json", job, user=user))
    return found[0]


def states(user: str, jobs: Iterable[str]) -> set[object]:
    return {shown(user, job)["state"] for job in jobs}


def exceed(user: str, group: str, facts: Callable[[], dict[str, str]]) -> str:
    """A job of each executor exceeds its memory, while one of each goes on."""
    limits = json.loads(done("gflowd", "status", "--json", user=user))["memory_limits"]
    if limits != "cgroup":
        raise Wrong(f"status says that memory limits are enforced by {limits}")
    before = facts()
    others = {each: submit(user, each, f"until [ -e go ]; do sleep 0.5; done; exit {STATUS}", LIMIT)
              for each in ("tmux", "process")}  # fmt: skip
    eventually(f"jobs {', '.join(others.values())} ran", lambda: states(user, others.values()) == {"running"})
    for executor in others:
        killed = kills()
        job = submit(user, executor, f"{SAYS_WHERE}{HOG}", LIMIT)
        done("gflowctl", "wait", job, user=user, status=137)
        found = shown(user, job)
        if (found["state"], found["reason"]) != ("failed", "OutOfMemory"):
            raise Wrong(f"job {job} is {found['state']}, {found['reason']}")
        where = done("gflowctl", "log", job, user=user)
        if not re.match(rf"0::{group}/gflow-\w+/{job}\.1\s", where):
            raise Wrong(f"job {job} said {where!r}")
        if kills() == killed:
            raise Wrong(f"the kernel says nothing of job {job}")
    if (after := facts()) != before:
        raise Wrong(f"the service was {before}, and is {after}")
    if (found_states := states(user, others.values())) != {"running"}:
        raise Wrong(f"the other jobs are {found_states}")
    open(f"/home/{user}/go", "wb").close()
    for job in others.values():
        done("gflowctl", "wait", job, user=user, status=STATUS)
    return (
        "the kernel ended both jobs in their control groups, their reason is OutOfMemory; the same gflowd runs on, and "
        f"both other jobs ended with their status, {STATUS}"
    )


def kills() -> int:
    """How often the kernel says that it has ended a process for its control group's memory."""
    return done("journalctl", "--no-pager", "--quiet", "-k").count("Memory cgroup out of memory")


def facts_of(*words: str, user: str | None = None) -> dict[str, str]:
    told = done("systemctl", *words, "--property=ActiveState,MainPID,NRestarts", user=user)
    return dict(line.split("=", 1) for line in told.splitlines())


def system_unit() -> str:
    done("gflowd", "service", "install", "--system", "--user", ADA)
    unit = f"gflowd@{ADA}.service"
    group = rf"/system\.slice/system-gflowd\.slice/gflowd@{ADA}\.service"
    return exceed(ADA, group, lambda: facts_of("show", unit))


def user_unit() -> str:
    """Its unit has the two lines as comments, since older releases of systemd know only one of them."""
    places = [f"/home/{BOB}/.config", *(f"/home/{BOB}/.config/{name}" for name in (
        "systemd", "systemd/user", "systemd/user/gflowd.service.d"))]  # fmt: skip
    for place in places:
        os.mkdir(place)
        os.chown(place, NUMBERS[BOB], NUMBERS[BOB])
    with open(f"{places[-1]}/limits.conf", "w", encoding="ascii") as file:
        file.write("[Service]\nDelegate=memory\nDelegateSubgroup=daemon\n")
    done("loginctl", "enable-linger", BOB)
    eventually("the user's systemd ran", lambda: os.path.exists(f"/run/user/{NUMBERS[BOB]}/systemd/private"))
    done("gflowd", "service", "install", user=BOB)
    number = NUMBERS[BOB]
    group = rf"/user\.slice/user-{number}\.slice/user@{number}\.service/app\.slice/gflowd\.service"
    return exceed(BOB, group, lambda: facts_of("--user", "show", "gflowd", user=BOB))


TRIALS = {"system": system_unit, "user": user_unit}


def main() -> int:
    """0 when all could be tried."""
    first = done("systemctl", "--version").split()[1]
    tell({"systemd": first, "linux": platform.release(), "python": platform.python_version()})
    for name, trial in TRIALS.items():
        began = time.monotonic()
        try:
            told, ok = trial(), True
        except Exception as why:
            traceback.print_exc()
            told, ok = f"{type(why).__name__}: {why}", False
        tell({"trial": name, "ok": ok, "told": told, "seconds": round(time.monotonic() - began)})
    return 0


def tell(what: dict[str, object]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    sys.exit(main())
