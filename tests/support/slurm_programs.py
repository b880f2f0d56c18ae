"""Where Slurm's programs are: on the PATH, else in .slurm, where `make .slurm/unpacked` puts those of Debian."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNPACKED = ROOT / ".slurm" / "root" / "usr"
LIBRARIES = UNPACKED / "lib" / f"{os.uname().machine}-linux-gnu"
PLUGINS = LIBRARIES / "slurm-wlm"
COMMANDS = ("sbatch", "scontrol", "sinfo")
DAEMONS = ("munged", "slurmctld", "slurmd")


def environment() -> dict[str, str]:
    """The variables with which the programs are found; the names that Debian's alternatives make are made."""
    if shutil.which("sbatch") is not None or not (UNPACKED / "bin" / "sbatch").exists():
        return {"PATH": os.environ["PATH"]}
    for name in ("slurmctld", "slurmd", "slurmstepd"):
        if not (UNPACKED / "sbin" / name).exists():
            (UNPACKED / "sbin" / name).symlink_to(f"{name}-wlm")
    return {
        "PATH": f"{UNPACKED}/bin:{UNPACKED}/sbin:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": f"{LIBRARIES}:{PLUGINS}",
    }


def obstacle() -> str | None:
    """Why no Slurm can be run here; None if one can."""
    if os.getuid():
        return "only root may run Slurm's daemons"
    path = environment()["PATH"]
    missing = [name for name in (*COMMANDS, *DAEMONS) if shutil.which(name, path=path) is None]
    return f"{', '.join(missing)} not found; `make .slurm/unpacked` fetches Debian's slurm-wlm" if missing else None
