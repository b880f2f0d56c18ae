"""A refusal that will pass is told apart from one that ends the job."""

from __future__ import annotations

import pytest

from gflowd.core.cluster import sbatch_errors

FAILED = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize(
    ("status", "complaint", "why"),
    [
        (1, "sbatch: error: Memory specification can not be satisfied\n" + FAILED + "Too bad", "Too bad"),
        (1, FAILED + "Requested node configuration is not available",
         "Requested node configuration is not available"),
        (1, FAILED + "Invalid partition name specified", "Invalid partition name specified"),
        (1, FAILED + "Unable to contact slurm controller (connect failure)", None),
        (1, FAILED + "Slurm temporarily unable to accept job, sleeping and retrying.", None),
        (1, "sbatch: fatal: Unable to process configuration file", None),
        (None, FAILED + "Invalid partition name specified", None),
        (255, "ssh: connect to host login port 22: No route to host", None),
        (127, "sh: 1: sbatch: not found", None),
        (1, "", None),
    ],
)  # fmt: skip
def test_what_passes_and_what_does_not(status: int | None, complaint: str, why: str | None) -> None:
    assert sbatch_errors.permanent(status, complaint, has_others=True) == why


def test_a_limit_of_jobs_passes_when_others_end() -> None:
    complaint = FAILED + "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
    assert sbatch_errors.permanent(1, complaint, has_others=True) is None
    assert sbatch_errors.permanent(1, complaint, has_others=False) is not None
