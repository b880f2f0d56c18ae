"""gflowctl as a program: `python -m gflowctl`, and what the installed command calls. Handles start-up and exit only."""

from __future__ import annotations

import gc

gc.disable()  # a short life with no cycles worth finding: a third of the time of listing 100,000 jobs

import os  # noqa: E402 -- the collector is not to go over what these import
import sys  # noqa: E402

from gflowctl.main import main  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def program() -> NoReturn:
    """Runs gflowctl, or one of Slurm's programs if it was called by that name, and exits at once with its status: the
    interpreter's clean-up would take a tenth of a short run.
    """
    name = os.path.basename(sys.argv[0])
    status = _slurm(name) if name.startswith("s") else main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # the message cannot be delivered; keep our exit status
        pass
    os._exit(status)  # everything is written and synced where it is made


def _slurm(name: str) -> int:
    from gflowd.core.slurm import front_ends

    if name not in front_ends.NAMES:
        return main()
    from gflowctl.slurm.main import main as slurm

    return slurm(name, sys.argv[1:])


if __name__ == "__main__":
    program()
