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
    """Runs gflowctl and exits at once with its status: the interpreter's clean-up would take a tenth of a short run."""
    status = main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # the message cannot be delivered; keep our exit status
        pass
    os._exit(status)  # everything is written and synced where it is made


if __name__ == "__main__":
    program()
