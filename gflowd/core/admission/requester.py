"""Who asks. A value; looks nobody up."""

from __future__ import annotations

from dataclasses import dataclass

ROOT = 0


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks, by the kernel's word: `name` is that of the user id `uid`. `is_operator`: they may change the jobs of
    others, as root always may; `may_submit`: the configuration lets them have jobs.
    """

    uid: int
    name: str
    is_operator: bool = False
    may_submit: bool = True

    @property
    def is_root(self) -> bool:
        """Whether it is the administrator, who could as well write the files."""
        return self.uid == ROOT
