"""What systemd is asked by its own programs, systemctl and loginctl. Knows nothing of gflow."""

from __future__ import annotations

import os
import subprocess

from gflowd.core.errors import Refused, SystemFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE = 120.0  # seconds: a start may take 90, by systemd's default


class Manager:
    """The manager of the services of this user, or of the whole machine."""

    def __init__(self, *, system: bool) -> None:
        self.system = system
        self.words = ("systemctl",) if system else ("systemctl", "--user")

    def __str__(self) -> str:
        return " ".join(self.words)

    def reach(self) -> list[str]:
        """The directories in which it looks for units. Raises `Refused` where it cannot be asked."""
        who = "systemd" if self.system else "systemd's manager of your services"
        try:
            done = asked([*self.words, "show", "--property=UnitPath"])
        except FileNotFoundError:
            raise Refused("systemctl is not installed; gflowd start needs no systemd") from None
        if done.returncode:
            raise Refused(f"{who} cannot be reached: {said(done)}; gflowd start needs no systemd")
        return done.stdout.strip().removeprefix("UnitPath=").split()

    def tell(self, *words: str) -> None:
        """Has it done, e.g. `start gflowd.service`. Raises `SystemFailed`."""
        done = asked([*self.words, *words])
        if done.returncode:
            raise SystemFailed(f"{self} {' '.join(words)}: {said(done)}")

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """These properties of a unit, as far as they are known."""
        done = asked([*self.words, "show", unit, f"--property={','.join(names)}"])
        lines = (line.partition("=") for line in done.stdout.splitlines())
        return {name: value for name, _, value in lines}


def lingers(user: str) -> bool | None:
    """Whether the services of a user outlive their logout; None where that is unknown."""
    try:
        done = asked(["loginctl", "show-user", user, "--property=Linger"])
    except OSError:
        return None
    if done.returncode:  # which logind does not know: neither is logged in nor lingers
        return False if "not logged in or lingering" in done.stderr else None
    return {"Linger=yes": True, "Linger=no": False}.get(done.stdout.strip())


def enable_lingering(user: str) -> str | None:
    """None when done, else why it failed."""
    try:
        done = asked(["loginctl", "enable-linger", user])
    except OSError as error:
        return f"loginctl: {error.strerror}"
    return said(done) if done.returncode else None


def asked(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs a program of systemd's. Raises OSError where it is missing, `SystemFailed` where it does not end."""
    environ = {**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "cat"}
    place = f"/run/user/{os.getuid()}"
    if not environ.get("XDG_RUNTIME_DIR") and os.path.isdir(place):  # after su, and in cron
        environ["XDG_RUNTIME_DIR"] = place
    try:
        return subprocess.run(
            [*words], env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise SystemFailed(f"{' '.join(words)} has not ended after {PATIENCE:.0f} s") from None


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Why it failed, in one line."""
    return (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[0].rstrip(".")
