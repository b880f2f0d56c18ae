"""The programs without their links: `python -m gflowctl.slurm NAME ...`."""

from __future__ import annotations

import os
import sys

from gflowctl.slurm.main import main
from gflowd.core.slurm import front_ends

if __name__ == "__main__":
    if sys.argv[1:2] == [] or sys.argv[1] not in front_ends.NAMES:
        sys.exit(f"usage: {os.path.basename(sys.executable)} -m gflowctl.slurm {'|'.join(front_ends.NAMES)} ...")
    sys.exit(main(sys.argv[1], sys.argv[2:]))
