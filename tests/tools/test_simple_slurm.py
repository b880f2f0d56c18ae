"""simple_slurm, unmodified."""

from __future__ import annotations

import pytest
from slurm_site import Site

pytest.importorskip("simple_slurm")


def test_what_its_readme_shows(site: Site) -> None:
    said = site.program("by_simple_slurm.py").splitlines()
    assert said[-1].split() == ["int", "3", "sleeper", "True"], said
    assert site.lines("after.out") == ["after"]
    found = sorted(path.read_text() for path in site.work.glob("simple-*.out"))
    assert found == [f"task {index}\ncpus 2\n" for index in range(3)]
