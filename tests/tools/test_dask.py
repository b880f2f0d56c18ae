"""dask-jobqueue, unmodified."""

from __future__ import annotations

import pytest
from slurm_site import Site
from support.waiting import eventually

pytest.importorskip("dask_jobqueue")


def test_workers_come_compute_and_are_cancelled(site: Site) -> None:
    assert site.program("by_dask.py").strip() == "6 2"
    eventually(lambda: not site.ctl("queue", "--json").stdout.strip("[]\n"))
    ends = [job["state"] for job in site.jobs().values() if job["name"] == "dask-worker"]
    assert len(ends) == 2
    assert set(ends) <= {"cancelled", "finished"}
