"""Reservations, quotas, settings and limits of arrays: who may change them, and what they become."""

from __future__ import annotations

from typing import Any

import pytest
from asking import ADA, ADAS, BOB, NEW, NOW, OPERATOR, Records, ask

from gflowd.core.admission.policy import EVERYONE, Policy
from gflowd.core.admission.requester import Requester
from gflowd.core.errors import Refused
from gflowd.core.request.validation import Limits

WANTED = {"user": "ada", "start": NOW + 60, "duration": 60.0, "gpus": 2, "created_at": 1.0, "created_by": "x"}
MADE = {**WANTED, "created_at": 5.0, "created_by": "ada"}
OPEN = Policy(reserve=EVERYONE)


def test_a_reservation_is_made_by_who_asks_when_that_is() -> None:
    for number in (1, NEW):
        [made] = ask(["reservation", number, WANTED], requester=OPERATOR)
        assert made == ("reservation", 1, {**WANTED, "created_at": NOW, "created_by": "op", "creator_uid": 1003})
    [(_, number, value)] = ask(["reservation", NEW, WANTED], of=Records(reservation={4: MADE}), policy=OPEN)
    assert (number, value["created_by"], value["creator_uid"], value["uid"]) == (5, "ada", 1001, 1001)
    [(_, _, value)] = ask(["reservation", NEW, {**WANTED, "uid": 7, "creator_uid": 7}], policy=OPEN)
    assert (value["uid"], value["creator_uid"]) == (1001, 1001), "whatever is said"
    [(_, _, value)] = ask(["reservation", NEW, {**WANTED, "uid": 1001}], requester=OPERATOR)
    assert (value["user"], value["uid"], value["creator_uid"]) == ("ada", 1001, 1003)
    assert ask(["reservation", 1, {**WANTED, "start": NOW - 5}], requester=OPERATOR), "now, when it was asked for"


REFUSED: list[tuple[Any, Policy, list[Any], str]] = [
    (ADA, Policy(), [5, WANTED], "only operators may reserve GPUs"),
    (BOB, OPEN, [5, WANTED], "only operators may reserve GPUs for others"),
    (OPERATOR, OPEN, [6, WANTED], "no reservation 6"),
    (OPERATOR, OPEN, [6, None], "no reservation 6"),
    (OPERATOR, OPEN, [5, {**WANTED, "start": NOW - 90}], "the start is in the past"),
    (OPERATOR, OPEN, [5, {**WANTED, "gpus": 5}], "5 GPUs asked for, but this machine has 4"),
    (OPERATOR, OPEN, [5, {**WANTED, "gpus": 3}], "5 GPUs would be reserved at a time"),
    (OPERATOR, OPEN, [5, {**WANTED, "cancelled_at": 5.0}], "a new reservation cannot have been cancelled"),
    (OPERATOR, OPEN, [5, {**WANTED, "colour": "red"}], "does not know the field 'colour'"),
    (ADA, Policy(), [4, {**MADE, "cancelled_at": 5.0}], "only operators may cancel reservation 4 of ada"),
    (BOB, OPEN, [4, {**MADE, "cancelled_at": 5.0}], "only operators may cancel reservation 4 of ada"),
    (ADA, OPEN, [4, MADE], "reservation 4 cannot be changed, only cancelled"),
    (ADA, OPEN, [4, {**MADE, "gpus": 1, "cancelled_at": 5.0}], "reservation 4 cannot be changed, only cancelled"),
    (ADA, OPEN, [3, {**MADE, "start": 5.0, "cancelled_at": 5.0}], "reservation 3 is already completed"),
    (ADA, OPEN, [5, {**WANTED, "start": NOW + 90 * 86400}], "only operators may reserve GPUs for longer than 90 days"),
    (OPERATOR, OPEN, [4, None], "reservation 4 cannot be removed, only cancelled"),
    (ADA, Policy(), [2, None], "only operators may reserve GPUs"),
]


@pytest.mark.parametrize(("requester", "policy", "record", "why"), REFUSED)
def test_reservations_that_are_refused(requester: Any, policy: Policy, record: list[Any], why: str) -> None:
    records = Records(reservation={2: {**MADE, "start": -1e9}, 3: {**MADE, "start": 5.0}, 4: MADE})
    with pytest.raises(Refused) as caught:
        ask(["reservation", *record], of=records, requester=requester, policy=policy)
    assert why in str(caught.value)


def test_a_reservation_is_cancelled_now_and_removed_when_it_is_long_over() -> None:
    records = Records(reservation={2: {**MADE, "start": -1e9}, 4: MADE})
    [(_, _, value)] = ask(["reservation", 4, {**MADE, "cancelled_at": 5.0}], of=records, policy=OPEN)
    assert value == {**MADE, "cancelled_at": NOW}
    assert ask(["reservation", 2, None], of=records, policy=OPEN) == [("reservation", 2, None)]


def test_a_reservation_stays_with_who_made_it_when_the_name_is_somebody_elses() -> None:
    known = {**MADE, "uid": 1001, "creator_uid": 1001}
    records = Records(reservation={4: known})
    namesake = Requester(1077, "ada")
    with pytest.raises(Refused, match="only operators may cancel reservation 4 of ada"):
        ask(["reservation", 4, {**known, "cancelled_at": 5.0}], of=records, policy=OPEN, requester=namesake)
    forgetful = {**MADE, "cancelled_at": 5.0}  # of a gflowctl that knows of no ids
    [(_, _, value)] = ask(["reservation", 4, forgetful], of=records, policy=OPEN)
    assert value == {**known, "cancelled_at": NOW}
    full = Records(reservation={number: {**known, "start": 1e6 + 60 * number} for number in range(1, 21)})
    assert ask(["reservation", 21, {**WANTED, "start": 2e6}], of=full, policy=OPEN, requester=namesake)


def test_one_user_has_only_so_many_reservations() -> None:
    many = Records(reservation={number: {**MADE, "start": 1e6 + 60 * number} for number in range(1, 21)})
    with pytest.raises(Refused, match="ada has made 20 reservations"):
        ask(["reservation", 21, {**WANTED, "start": 2e6}], of=many, policy=OPEN)
    assert ask(["reservation", 21, {**WANTED, "start": 2e6}], of=many, policy=OPEN, requester=OPERATOR)


def test_operators_set_quotas_that_some_job_could_have() -> None:
    for quota in ({"max_running_jobs": 2}, None):
        assert ask(["quota", "user:ada", quota], requester=OPERATOR) == [("quota", "user:ada", quota)]
    assert ask(["quota", "project:p", {"max_running_jobs": None}], requester=OPERATOR)
    wrong = (("project:q", {"max_running_jobs": 2}, "known project"), ("user:x", {}, "limits nothing"))
    for owner, quota, why in wrong:
        with pytest.raises(Refused, match=why):
            ask(["quota", owner, quota], requester=OPERATOR, limits=Limits(known_projects=("p",), require_project=True))


def test_settings_say_who_made_them_and_when() -> None:
    by_op, old = {"at": NOW, "by": "op"}, {"at": 5.0, "by": "root", "reason": None}
    records = Records(setting={"gpus.drained": {"a": old}, "drain": {"at": 5.0, "by": "root"}})
    forged = {"at": 9.0, "by": "ada", "reason": "r"}
    cases: list[tuple[str, Any, Any]] = [
        ("drain", forged, {**by_op, "reason": "r"}),
        ("drain", {"at": 5.0, "by": "root"}, {"at": 5.0, "by": "root"}),
        ("drain", None, None),
        ("gpus.drained", {"a": old, "b": forged}, {"a": old, "b": {**by_op, "reason": "r"}}),
        ("gpus.resumed", {"a": {"at": 9.0, "boot": "b", "ecc": 0}}, {"a": {"at": NOW, "boot": "b", "ecc": 0}}),
        ("gpus.allow", {"gpus": [0]}, {"gpus": [0]}),
    ]
    for name, wanted, written in cases:
        assert ask(["setting", name, wanted], of=records, requester=OPERATOR) == [("setting", name, written)]


def test_the_limit_of_an_array_is_its_owners() -> None:
    records = Records(spec={7: {**ADAS, "family": {"ranges": [[1, 3, 1]]}}})
    for value in ({"max_concurrent": 2}, None):
        assert ask(["limit", 7, value], of=records) == [("limit", 7, value)]
    with pytest.raises(Refused, match="a limit needs a number"):
        ask(["limit", 7, {"max_concurrent": None}], of=records)
    with pytest.raises(Refused, match="no job 8"):
        ask(["limit", 8, {"max_concurrent": 1}], of=records)
