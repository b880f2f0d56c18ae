"""Who asks, and what the machine's configuration says of what may be asked. Values; looks nobody up."""

from __future__ import annotations

from gflowd.core.job.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

ROOT = 0


class Peer(Value):
    """Who asks, by the kernel's word: `name` is that of the user id `uid`. `may_submit`: the configuration lets them
    have jobs.
    """

    __slots__ = ("is_operator", "may_submit", "name", "uid")

    def __init__(self, uid: int, name: str, is_operator: bool = False, may_submit: bool = True) -> None:  # noqa: FBT001, FBT002
        self.uid: Final = uid
        self.name: Final = name
        self.is_operator: Final = is_operator  # as root always is
        self.may_submit: Final = may_submit

    @property
    def is_root(self) -> bool:
        """Whether it is the administrator, who could as well write the files."""
        return self.uid == ROOT
