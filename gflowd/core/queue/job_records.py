"""The snapshot's records of jobs, as the queue reads them. Writes none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    Raw = Mapping[str, Any]  # as in JSON; `job.records` and `job.codec` read its content


@dataclass(frozen=True, slots=True)
class JobRecords:
    """The raw records by id: the spec of each job or array, the wish and phase of each job, and the limits of arrays
    that `gflowctl limit` set. These mappings change with the snapshot; whoever changes them calls `JobQueue.refresh`.
    """

    specs: Mapping[int, Raw] = field(default_factory=dict)
    wishes: Mapping[int, Raw] = field(default_factory=dict)
    phases: Mapping[int, Raw] = field(default_factory=dict)
    limits: Mapping[int, Raw] = field(default_factory=dict)
