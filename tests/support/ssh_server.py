"""An sshd on loopback for the user who runs the tests: keys, port and files of its own, in a private mount namespace.

The program is that on the PATH, else in .sshd, where `make .sshd/unpacked` puts Debian's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support.ports import held_address
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
UNPACKED = ROOT / ".sshd" / "root"
SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {root}/host_key
AuthorizedKeysFile {root}/user_key.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
SetEnv PATH={path}
"""
CLIENT = """\
Host login
HostName 127.0.0.1
Port {port}
User root
IdentityFile {root}/user_key
UserKnownHostsFile {root}/known_hosts
StrictHostKeyChecking accept-new
BatchMode yes
LogLevel ERROR
"""
# It wants an account and a directory of its own: both only in its own sight.
SETUP = """\
set -e
mount -t tmpfs none /run
mkdir -m 755 /run/sshd
mount --bind {root}/passwd /etc/passwd
mount --bind {root}/shadow /etc/shadow
exec "$@"
"""


def obstacle() -> str | None:
    """Why there can be no sshd here; None if there can."""
    if os.getuid():
        return "only root may run this sshd"
    if _program() is None or shutil.which("ssh") is None:
        return "sshd or ssh not found; `make .sshd/unpacked` fetches Debian's openssh-server"
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        return "no mount namespace can be made"
    return None


def _program() -> str | None:
    unpacked = UNPACKED / "usr" / "sbin" / "sshd"
    return shutil.which("sshd") or (str(unpacked) if unpacked.exists() else None)


@contextmanager
def new_ssh_server(path: str) -> Iterator[list[str]]:
    """The words before a command that is to run by it; `path`: its PATH there."""
    root = Path(tempfile.mkdtemp(prefix="gf-ssh-", dir="/tmp"))
    program = _program()
    assert program is not None
    held = ExitStack()
    try:
        for name in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", root / name], check=True)
        _, port = held.enter_context(held_address())
        (root / "sshd_config").write_text(SERVER.format(port=port, root=root, path=path))
        (root / "ssh_config").write_text(CLIENT.format(port=port, root=root))
        (root / "setup.sh").write_text(SETUP.format(root=root))
        _accounts(root)
        libraries = UNPACKED / "usr" / "lib" / f"{os.uname().machine}-linux-gnu"
        log = os.open(root / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        server = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", root / "setup.sh", program, "-D", "-e",
             "-f", root / "sshd_config"],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": str(libraries)},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
        os.close(log)
        prefix = ["ssh", "-F", str(root / "ssh_config"), "login"]
        try:
            eventually(lambda: _answers(prefix, server, root / "log"))
            yield prefix
        finally:
            server.kill()
            server.wait()
    finally:
        held.close()
        shutil.rmtree(root)


def _answers(prefix: list[str], server: subprocess.Popen[bytes], log: Path) -> bool:
    assert server.poll() is None, log.read_text()
    return not subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode


def _accounts(root: Path) -> None:
    """Those of the system, with one more for sshd, and a root whose account is not locked and has none of our files."""
    lines = [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith(("root:", "sshd:"))]
    lines += [f"root:x:0:0:root:{root}:/bin/sh", "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin"]
    (root / "passwd").write_text("".join(f"{line}\n" for line in lines))
    shadow = [line.split(":") for line in Path("/etc/shadow").read_text().splitlines()]
    lines = [":".join([name, "*" if name == "root" else word, *rest]) + "\n" for name, word, *rest in shadow]
    (root / "shadow").write_text("".join(lines))
    (root / "shadow").chmod(0o600)
