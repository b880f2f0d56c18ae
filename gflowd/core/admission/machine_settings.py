"""Whether reservations, quotas and settings of the machine may become others, and who may change them."""

from __future__ import annotations

from gflowd.core.accounting.quotas import FIELDS
from gflowd.core.admission import rights
from gflowd.core.admission.policy import EVERYONE
from gflowd.core.errors import Refused
from gflowd.core.planning import reservation_conflicts, reservations
from gflowd.core.request import validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo
    from typing import Any

    from gflowd.core.admission.criteria import Criteria
    from gflowd.core.admission.requester import Requester
    from gflowd.core.planning.reservations import Reservation
    from gflowd.core.request.validation import Limits
    from gflowd.core.syntax.clocks import Clock

PRUNED_AFTER = 90 * 86400  # seconds that a reservation stays in the list after its end
MOST_OF_ONE = 20  # reservations of a user who is no operator, as long as they are in the list
FURTHEST_OF_ONE = 90 * 86400  # seconds until they end: a longer time has more windows of others to be held against
LATE = 60.0  # seconds by which a start that is `now` may have passed until it is judged
_STAMPED = ("drain",)
_STAMPED_EACH = ("gpus.drained", "gpus.resumed")


def new_reservation(wanted: Reservation, existing: Mapping[int, Any], criteria: Criteria) -> Reservation:
    """`wanted` as it is written. Raises `Refused`."""
    requester, policy = criteria.requester, criteria.policy
    rights.check_reserve(requester, policy, wanted.user)
    if wanted.cancelled_at is not None:
        raise Refused("a new reservation cannot have been cancelled")
    uid = requester.uid if wanted.user == requester.name else wanted.uid
    made = wanted.replace(uid=uid, created_by=requester.name, creator_uid=requester.uid, created_at=criteria.now)
    theirs = sum(_is_creator(requester, each["created_by"], each.get("creator_uid")) for each in existing.values())
    if theirs >= MOST_OF_ONE and not requester.is_operator:
        raise Refused(f"{requester.name} has made {theirs} reservations, which is the most that one user may have")
    if wanted.start + wanted.duration > criteria.now + FURTHEST_OF_ONE:
        rights.check_operator(requester, "reserve GPUs for longer than 90 days from now")
    check_reservation(made, existing, criteria.limits.gpus, criteria.now - LATE, policy.zone)
    return made


def check_reservation(
    new: Reservation,
    existing: Mapping[int, Any],
    gpus: int | None,
    now: float,
    zone: tzinfo | None,
    clock: Clock | None = None,
) -> None:
    """Raises `Refused` for one that cannot be, by itself or beside the records of others: `gpus` are the
    machine's, None if that is not known; `clock` prints times.
    """
    reservation_conflicts.check(new, gpus, now)
    others = reservations.decode_all(existing)
    words = reservation_conflicts.conflict(new, others, gpus, now, zone, clock)
    if words is not None:
        raise Refused(words)


def changed_reservation(old: Reservation, wanted: Reservation, criteria: Criteria) -> Reservation:
    """All that can become of one is that it is cancelled. Raises `Refused`."""
    requester, policy, now = criteria.requester, criteria.policy, criteria.now
    if policy.reserve != EVERYONE or not _is_creator(requester, old.created_by, old.creator_uid):
        rights.check_operator(requester, f"cancel reservation {old.id} of {old.created_by}")
    same = {"cancelled_at": None, "uid": old.uid, "creator_uid": old.creator_uid}  # of ids, older clients know nothing
    if wanted.replace(**same) != old.replace(**same) or wanted.cancelled_at is None:
        raise Refused(f"reservation {old.id} cannot be changed, only cancelled")
    found = cancelled(old, now, policy.zone)
    if isinstance(found, str):
        raise Refused(f"reservation {old.id} {found}")
    return found


def _is_creator(requester: Requester, name: str, uid: int | None) -> bool:
    """Whether who made a reservation is the requester: the name may have been given to somebody else since."""
    return reservations.is_same((requester.name, requester.uid), (name, uid))


def cancelled(one: Reservation, now: float, zone: tzinfo | None) -> Reservation | str:
    """A reservation that is cancelled now, or why there is nothing to do, such as `is already completed`."""
    before = reservations.status(one, now, zone)
    if before in (reservations.PENDING, reservations.ACTIVE):
        return one.replace(cancelled_at=now)
    return f"is already {before}"


def is_removable(one: Reservation, now: float) -> bool:
    """Whether it is long over, and may leave the list."""
    return bool(reservations.long_over([one], now - PRUNED_AFTER))


def check_removal(old: Reservation, now: float) -> None:
    """Raises `Refused` for a reservation that is not long over."""
    if not is_removable(old, now):
        raise Refused(f"reservation {old.id} cannot be removed, only cancelled")


def check_quota(owner: str, value: Mapping[str, Any] | None, limits: Limits) -> None:
    """Raises `Refused` for the quota of a project that no job could have, or one that says nothing."""
    kind, _, name = owner.partition(":")
    if value is not None and kind == "project":
        validation.project(name, limits.replace(require_project=False))
    if value is not None and not any(field in value for field in FIELDS):
        raise Refused(f"the quota of {owner} limits nothing")


def stamped(name: str, value: Any, before: Any, requester: Requester, now: float) -> Any:
    """A setting with who changed it, and when."""
    if value is None or value == before:
        return value
    if name in _STAMPED:
        return {**value, "at": now, "by": requester.name}
    if name in _STAMPED_EACH:
        return {each: entry if entry == (before or {}).get(each) else _by(entry, requester, now)
                for each, entry in value.items()}  # fmt: skip
    return value


def _by(entry: Mapping[str, Any], requester: Requester, now: float) -> dict[str, Any]:
    return {**entry, "at": now, **({"by": requester.name} if "by" in entry else {})}
