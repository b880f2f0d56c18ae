"""What the configuration of a machine of many users lets them ask for. Values."""

from __future__ import annotations

from gflowd.core.job.value_base import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo
    from typing import Any, Final

OPERATORS, EVERYONE = "operators", "everyone"


class Policy(Value):
    """The rules of `[shared]` that do not depend on who asks, the quotas of the configuration, and the time zone in
    which reservations repeat.
    """

    __slots__ = (
        "allow_root", "least_uid", "max_jobs_per_user", "notify_urls", "quotas", "reserve", "top_priority", "zone",
    )  # fmt: skip

    def __init__(
        self,
        *,
        top_priority: int = 10,
        reserve: str = OPERATORS,
        max_jobs_per_user: int | None = 10_000,
        allow_root: bool = False,
        least_uid: int = 1000,
        notify_urls: bool = False,
        quotas: Mapping[str, Mapping[str, Any]] | None = None,
        zone: tzinfo | None = None,
    ) -> None:
        self.top_priority: Final = top_priority  # of users who are no operators
        self.reserve: Final = reserve  # who may reserve GPUs: `OPERATORS` or `EVERYONE`
        self.max_jobs_per_user: Final = max_jobs_per_user  # queued, an array by its elements; None: any number
        self.allow_root: Final = allow_root  # to have jobs
        self.least_uid: Final = least_uid  # that may have jobs, root aside
        self.notify_urls: Final = notify_urls  # gflowd, which is root, calls those that jobs name
        self.quotas: Final = quotas or {}
        self.zone: Final = zone


# One user has the machine to themselves, and all is theirs.
OF_ONE_USER = Policy(
    top_priority=255, reserve=EVERYONE, max_jobs_per_user=None, allow_root=True, least_uid=0, notify_urls=True
)
