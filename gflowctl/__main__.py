"""gflowctl as a program: `python -m gflowctl`, and what the installed command calls. Is there for its start and end."""

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
    """Runs gflowctl and ends with its status at once: to tidy up would take the interpreter a tenth of a short run."""
    status = main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # there is nobody left to tell, and the exit status is to stay ours
        pass
    os._exit(status)  # all that we write is written and synced where it is made


if __name__ == "__main__":
    program()
