"""parsl, unmodified, and exclusive as it is by default."""

from __future__ import annotations

import pytest
from slurm_site import Site
from support.waiting import eventually

pytest.importorskip("parsl")


@pytest.mark.parametrize("launcher", ["single", "srun"])
def test_a_block_runs_functions(site: Site, launcher: str) -> None:
    before = site.jobs().keys()
    assert site.program("by_parsl.py", launcher).strip() == "[0, 1, 4, 9] 1"
    eventually(lambda: not site.ctl("queue", "--json").stdout.strip("[]\n"))
    (job,) = (job for number, job in site.jobs().items() if number not in before)
    assert (job["cpus"], job["state"]) == (8, "cancelled")
