"""submitit, unmodified."""

from __future__ import annotations

import pytest
from slurm_site import Site

pytest.importorskip("submitit")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("single", "42 COMPLETED True"),
        ("array", "[2, 4, 6] ['0', '1', '2']"),
        ("failing", "True FAILED"),
        ("tasks", "[(0, 0, 2, 1), (1, 1, 2, 1)]"),
        ("pattern", "8 True"),
        ("cancelled", "True CANCELLED by 0"),
        ("preempted", "(5, ['0', '1']) ['1', '2', '3', '4', '5']"),
        ("timed_out", "(5, ['0', '1']) ['1', '2', '3', '4', '5']"),
    ],
)
def test_what_its_users_do(site: Site, program: str, said: str) -> None:
    assert site.program("by_submitit.py", program).strip() == said
