"""What the state directory keeps of clusters, by name: gflowd writes it, a backup has it."""

from __future__ import annotations

import re

DIRECTORY = "cluster"
STATE_ID = "id"  # what tells this state directory from every other
BATCHES = "batches"  # one file for each call of sbatch
RESTORED = "restored"  # there from a restore until the attempts that clusters have are known here again
IS_STATE_ID = re.compile("[0-9a-f]{12}", re.ASCII).fullmatch
