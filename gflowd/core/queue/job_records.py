"""The snapshot's records of jobs, as the queue reads them. Writes none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    Raw = Mapping[str, Any]  # as in JSON; `job.records` and `job.codec` read its content


@dataclass(frozen=True, slots=True)
class JobRecords:
    """The raw records by id: of each job or array its spec, of each job its wish and its phase, of arrays the limits
    that `gflowctl limit` set. Passed once; they change with the snapshot, and whatever changes them tells the queue.
    """

    specs: Mapping[int, Raw] = field(default_factory=dict)
    wishes: Mapping[int, Raw] = field(default_factory=dict)
    phases: Mapping[int, Raw] = field(default_factory=dict)
    limits: Mapping[int, Raw] = field(default_factory=dict)
