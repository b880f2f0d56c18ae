import os
import subprocess
import sys
from pathlib import Path

from gflowd.effects.kernel import machine


def test_the_cpus_are_those_that_we_may_use() -> None:
    assert machine.cpus() == len(os.sched_getaffinity(0))
    one = min(os.sched_getaffinity(0))
    script = (
        f"import os; os.sched_setaffinity(0, [{one}])\nfrom gflowd.effects.kernel import machine; print(machine.cpus())"
    )
    root = Path(__file__).parents[4]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_the_memory_is_what_the_kernel_says_in_mib() -> None:
    kib = int(Path("/proc/meminfo").read_text().split()[1])
    assert machine.memory_mb() == kib >> 10
