"""What sbatch's complaints mean: whether the same may be asked again, or the job can never be taken."""

from __future__ import annotations

import re

FAILED = re.compile(r"sbatch: (?:error|fatal): (?:Batch job submission failed: )?(.+)")
# What passes: the controller is away, overloaded, or holds as many jobs as it may.
PASSES = re.compile(
    r"contact|timed out|time-?out|connection|connect |temporar|authentic|munge|not respond|network"
    r"|configuration (?:file|source)|credential"
    r"|zero bytes|transport|socket|resolve|try again|retrying|shutting|standby|primary|no space",
    re.IGNORECASE,
)
# What it says of one job too many as of one too large.
LIMIT = re.compile(r"accounting/QOS policy|job submit limit|too many jobs", re.IGNORECASE)
NOT_SBATCHS = (126, 127, 255)  # of a shell, or of ssh


def permanent(status: int | None, complaint: str, *, has_others: bool) -> str | None:
    """Why it will never be taken; None where the same may be asked again. `has_others`: the cluster has more jobs of
    ours, after which there may be room.
    """
    said = [match[1].strip() for match in map(FAILED.search, complaint.splitlines()) if match is not None]
    if status is None or status in NOT_SBATCHS or not said or PASSES.search(complaint):
        return None
    if has_others and LIMIT.search(complaint):
        return None
    return said[-1]
