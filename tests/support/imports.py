"""Which modules a run of gflowctl imports, and which a short one must not."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.ctl import Ctl

TOO_DEAR_FOR_SUBMIT = {
    "asyncio", "contextlib", "dataclasses", "datetime", "filelock", "hashlib", "importlib.metadata", "inspect",
    "gettext", "json", "libtmux", "locale", "logging", "multiprocessing", "orjson", "pathlib", "psutil", "pynvml",
    "random", "shutil", "socket",
    "sqlite3", "subprocess", "tempfile", "textwrap", "threading", "tomllib", "typing", "unicodedata", "urllib",
    "zoneinfo", "gflowd.config.loader", "gflowctl.view.jobs", "gflowctl.view.views",
}  # fmt: skip
SHOW = """
import sys
before = set(sys.modules)
from gflowctl.main import main
status = main(sys.argv[1:])
found = sorted(set(sys.modules) - before)
import json
print(json.dumps(found), file=sys.stderr)
sys.exit(status)
"""


def imported(ctl: Ctl, *words: str, program: str = SHOW) -> set[str]:
    environ = ctl.env | {"PYTHONPATH": ":".join(place for place in sys.path if place)}
    command = [sys.executable, "-S", "-c", program, *words]
    done = subprocess.run(command, cwd=ctl.home, env=environ, capture_output=True, text=True, check=True, timeout=30)
    return set(json.loads(done.stderr.splitlines()[-1]))
