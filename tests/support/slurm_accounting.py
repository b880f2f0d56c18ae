"""The accounting of `slurm_cluster`: slurmdbd and a MariaDB of its own, which nobody reaches but by its socket.

Their programs are on the PATH, else in .slurm/accounting, where `make .slurm/accounting/unpacked` puts those of Debian.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

from support import slurm_programs
from support.slurm_programs import ROOT
from support.waiting import eventually

UNPACKED = ROOT / ".slurm" / "accounting" / "root" / "usr"
LIBRARIES = UNPACKED / "lib" / f"{os.uname().machine}-linux-gnu"
PROGRAMS = ("slurmdbd", "mariadbd", "mariadb-install-db", "sacctmgr")
DAEMONS = ("mariadbd", "slurmdbd")
SETTINGS = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={root}/munge.sock
"""
CONFIG = """\
AuthType=auth/munge
AuthInfo=socket={root}/munge.sock
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
LogFile={root}/slurmdbd.log
PidFile={root}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageUser=root
"""


def obstacle() -> str | None:
    """Why there can be no accounting here; None if there can."""
    path = environment()["PATH"]
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    how = "`make .slurm/accounting/unpacked` fetches Debian's slurmdbd and mariadb-server"
    return f"{', '.join(missing)} not found; {how}" if missing else None


def environment() -> dict[str, str]:
    """As `slurm_programs.environment`, with these programs and libraries."""
    found = slurm_programs.environment()
    if shutil.which("slurmdbd") is None and (UNPACKED / "sbin" / "slurmdbd").exists():
        libraries = (str(LIBRARIES), str(slurm_programs.PLUGINS), found.get("LD_LIBRARY_PATH", ""))
        found["PATH"] = f"{UNPACKED}/bin:{UNPACKED}/sbin:{found['PATH']}"
        found["LD_LIBRARY_PATH"] = ":".join(filter(None, libraries))
    return found


class Accounting:
    """Of one cluster, whose directory is `root`. `words`: with which each of `DAEMONS` is started."""

    def __init__(self, root: Path, port: int) -> None:
        self.socket = root / "mariadbd.sock"  # its client library is told of it by MYSQL_UNIX_PORT
        self.settings = SETTINGS.format(root=root, port=port)  # of slurm.conf
        self._port = port
        found = environment()
        server = shutil.which("mariadbd", path=found["PATH"])
        assert server is not None
        common = ("--no-defaults", "--user=root", f"--basedir={Path(server).parent.parent}", f"--datadir={root}/data")
        wanted = ("--skip-networking", f"--socket={self.socket}", f"--pid-file={root}/mariadbd.pid")
        self.words = {"mariadbd": [server, *common, *wanted], "slurmdbd": ["slurmdbd", "-D"]}
        how = ("--auth-root-authentication-method=normal", "--skip-test-db")
        done = subprocess.run(
            ["mariadb-install-db", *common, *how], env=os.environ | found, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done
        _configure(root, port)

    def await_start(self, name: str) -> None:
        """Until a daemon that was started takes what comes."""
        eventually(self.socket.exists if name == "mariadbd" else self._listens)

    def _listens(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self._port)) == 0


def _configure(root: Path, port: int) -> None:
    text = CONFIG.format(root=root, host=os.uname().nodename.partition(".")[0], port=port)
    plugins = [LIBRARIES / "slurm-wlm", slurm_programs.PLUGINS]
    if plugins[0].exists():
        text += f"PluginDir={':'.join(map(str, plugins))}\n"
    config = root / "slurmdbd.conf"
    config.touch(mode=0o600)
    config.write_text(text)
