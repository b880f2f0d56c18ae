"""Whole requests: new jobs get ids and owners, all is right or nothing is written, and who may what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from asking import (
    ADA,
    ADAS,
    BOB,
    ENDED,
    NEW,
    NOW,
    OPERATOR,
    ROOT,
    RUNNING,
    SPEC,
    Records,
    ask,
)

from gflowd.core.admission.policy import Policy
from gflowd.core.admission.requester import Requester
from gflowd.core.errors import Refused

SENSELESS = [
    json.loads(line)
    for line in (Path(__file__).parents[3] / "data" / "senseless-records.jsonl").read_text().splitlines()
]


def test_a_new_job_is_its_submitters_and_gets_the_next_id() -> None:
    forged = {**SPEC, "user": "root", "uid": 0, "submitted_at": 1.0, "once": "f" * 32}
    [(kind, key, value)] = ask(["spec", NEW, forged], once="a" * 32)
    assert (kind, key) == ("spec", 100)
    assert (value["user"], value["uid"], value["submitted_at"], value["once"]) == ("ada", 1001, NOW, "a" * 32)


def test_provisional_ids_become_real_ones_wherever_they_are() -> None:
    array = {**SPEC, "family": {"ranges": [[1, 3, 1]]}, "batch": NEW}
    after = {**SPEC, "batch": NEW, "redone_from": 7,
             "needs": {"dependencies": [{"kind": "afterok", "id": NEW + 1, "element": True},
                                        {"kind": "afterany", "id": 7}]}}  # fmt: skip
    asked = (["spec", NEW, array], ["wish", NEW + 2, {"held": True}], ["spec", NEW + 3, after])
    made = ask(*asked, of=Records(spec={7: ADAS}))
    assert [(kind, key) for kind, key, _ in made] == [("spec", 100), ("wish", 102), ("spec", 103)]
    assert [value.get("batch") for kind, _, value in made if kind == "spec"] == [100, 100]
    assert made[1][2] == {"held": True}
    assert [each["id"] for each in made[2][2]["needs"]["dependencies"]] == [101, 7]


REFUSED: list[tuple[Requester, list[Any], str]] = [
    (BOB, ["spec", 7, ADAS], "job 7 belongs to ada"),
    (BOB, ["wish", 7, {"held": True}], "job 7 belongs to ada"),
    (BOB, ["limit", 7, {"max_concurrent": 1}], "job 7 belongs to ada"),
    (Requester(1009, "ada"), ["wish", 7, {"held": True}], "job 7 belongs to ada"),
    (Requester(1001, "carl"), ["wish", 7, {"held": True}], "job 7 belongs to ada"),
    (ADA, ["wish", 4711, {"held": True}], "no job 4711"),
    (ADA, ["wish", 100, {"held": True}], "no job 100"),
    (ADA, ["wish", NEW, {"held": True}], "no job 100"),
    (ADA, ["spec", 8, SPEC], "no job 8"),
    (ADA, ["spec", 100, SPEC], "no job 100"),
    (ADA, ["spec", NEW + 1, SPEC], "the ids of new jobs do not follow each other"),
    (ADA, ["limit", 7, {"max_concurrent": 1}], "job 7 is not an array or sweep"),
    (ADA, ["limit", 70, None], "no job 70"),
    (ADA, ["wish", 7, {"top_at": 1.0}], "only operators may move jobs to the front of the queue"),
    (ADA, ["quota", "user:ada", {"max_running_jobs": None}], "only operators may set quotas"),
    (ADA, ["quota", "user:ada", None], "only operators may set quotas"),
    (ADA, ["setting", "drain", {"at": 1.0, "by": "x"}], "only operators may drain the machine"),
    (ADA, ["setting", "drain", None], "only operators may drain the machine"),
    (ADA, ["spec", 7, None], "records of the kind spec cannot be removed"),
    (ADA, ["spec", NEW, {**SPEC, "priority": 11}], "only operators may give jobs a priority above 10"),
    (OPERATOR, ["spec", NEW, {**SPEC, "notify": ["https://x.test/"]}], "no URLs are called for jobs here"),
    (ADA, ["spec", 7, {**ADAS, "notify": ["https://x.test/"]}], "no URLs are called for jobs here"),
    (ADA, ["spec", NEW, {**SPEC, "gpus": 5}], "5 GPUs asked for, but this machine has 4"),
    (ADA, ["spec", NEW, {**SPEC, "colour": "red"}], "this version does not know the field 'colour'"),
    (ADA, ["spec", NEW, {**SPEC, "retry": {"max_retries": 1, "x": 1}}], "does not know the field 'retry.x'"),
    (ADA, ["spec", NEW, {**SPEC, "needs": {"dependencies": [{"kind": "afterok", "id": 99}]}}], "no job 99"),
    (ADA, ["spec", NEW, {**SPEC, "needs": {"dependencies": [{"kind": "afterok", "id": NEW}]}}],
     "job 100 would wait for itself"),
    (ADA, ["spec", NEW, {**SPEC, "redone_from": NEW}], "cannot repeat another new one"),
    (BOB, ["spec", NEW, {**SPEC, "redone_from": 7}], "job 7 belongs to ada"),
    (ADA, ["spec", NEW, {**SPEC, "batch": 7}], "a batch is named by the first of its jobs"),
    (ADA, ["spec", NEW, {**SPEC, "deadline": 5.0}], "the deadline has passed"),
    (ADA, ["header", 0, {"format": 1}], "records of the kind 'header' are gflowd's alone"),
    (OPERATOR, ["phase", 7, ENDED], "records of the kind 'phase' are gflowd's alone"),
    (ROOT, ["spec", NEW, SPEC], "root may not submit jobs here"),
    (Requester(999, "daemon"), ["spec", NEW, SPEC], "users with ids below 1000 may not submit jobs here"),
    (Requester(1001, "ada", may_submit=False), ["spec", NEW, SPEC], "ada may not submit jobs here"),
    (ADA, ["wish", 1.5, {}], "is no id"),
    (ADA, ["wish", True, {}], "is no id"),
    (ADA, ["wish", "7", {}], "no such job"),
    (ADA, ["quota", "nobody", None], "there is no such id"),
    (ADA, [], "is no record"),
    (ADA, 7, "is no record"),
]  # fmt: skip


@pytest.mark.parametrize(("requester", "record", "why"), REFUSED)
def test_what_is_refused(requester: Requester, record: Any, why: str) -> None:
    records = Records(spec={7: ADAS})
    with pytest.raises(Refused) as caught:
        ask(record, of=records, requester=requester)
    assert why in str(caught.value)
    assert {kind: found for kind, found in records.kinds.items() if found} == {"spec": {7: ADAS}}


def test_the_configuration_may_let_root_have_jobs() -> None:
    assert ask(["spec", NEW, SPEC], requester=ROOT, policy=Policy(allow_root=True))


def test_ids_do_not_run_out_unnoticed() -> None:
    with pytest.raises(Refused, match="there are not so many ids"):
        ask(["spec", NEW, {**SPEC, "family": {"ranges": [[1, 3, 1]]}}], next_id=NEW - 2)


def test_one_bad_record_spoils_the_request() -> None:
    with pytest.raises(Refused, match="belongs to ada"):
        ask(["spec", NEW, SPEC], ["wish", 7, {"held": True}], of=Records(spec={7: ADAS}), requester=BOB)
    with pytest.raises(Refused, match="twice"):
        ask(["wish", 7, {"held": True}], ["wish", 7, None], of=Records(spec={7: ADAS}))


def test_an_operator_may_change_the_jobs_of_others_but_not_what_they_run() -> None:
    records = Records(spec={7: ADAS})
    assert ask(["wish", 7, {"held": True}], of=records, requester=OPERATOR) == [("wish", 7, {"held": True})]
    [(_, _, value)] = ask(["spec", 7, {**ADAS, "priority": 200}], of=records, requester=OPERATOR)
    assert (value["priority"], value["user"], value["uid"], value["submitted_at"]) == (200, "ada", 1001, 5.0)
    for changed in ({"command": ["id"]}, {"output": "/root/x"}, {"name": "y"}):
        with pytest.raises(Refused, match="job 7: only ada may change its"):
            ask(["spec", 7, {**ADAS, **changed}], of=records, requester=OPERATOR)
        assert ask(["spec", 7, {**ADAS, **changed}], of=records, requester=ROOT)
        assert ask(["spec", 7, {**ADAS, **changed}], of=records)


def test_a_running_job_goes_on_to_need_what_it_has() -> None:
    has = {**ADAS, "gpus": 2, "cpus": 2, "time_limit": 60.0}
    records = Records(spec={7: has}, phase={7: RUNNING})
    for changed in ({"gpus": 0}, {"cpus": 0}, {"memory_mb": 0}, {"exclusive": True}, {"env": "1" * 32}, {"umask": 0}):
        with pytest.raises(Refused, match="cannot be changed"):
            ask(["spec", 7, {**has, **changed}], of=records)
    assert ask(["spec", 7, {**has, "comment": "c", "time_limit": 30.0}], of=records)
    for longer in (61.0, None):
        with pytest.raises(Refused, match="only operators may raise the time limit"):
            ask(["spec", 7, {**has, "time_limit": longer}], of=records)
        assert ask(["spec", 7, {**has, "time_limit": longer}], of=records, requester=OPERATOR)


def test_circles_through_several_jobs_of_a_request_are_seen() -> None:
    def after(job_id: int) -> dict[str, Any]:
        return {**ADAS, "needs": {"dependencies": [{"kind": "afterok", "id": job_id}]}}

    records = Records(spec={7: ADAS, 8: ADAS})
    assert ask(["spec", 7, after(8)], of=records)
    for asked in (
        (["spec", 7, after(8)], ["spec", 8, after(7)]),
        (["spec", 7, after(NEW)], ["spec", NEW, after(7)]),
        (["spec", NEW, after(NEW + 1)], ["spec", NEW + 1, after(NEW)]),
    ):
        with pytest.raises(Refused, match="would wait for itself"):
            ask(*asked, of=records)


def test_quotas_and_the_most_jobs_of_a_user_count_the_elements_of_arrays() -> None:
    array = {**SPEC, "family": {"ranges": [[1, 3, 1]]}}
    records = Records(spec={7: ADAS, 8: ADAS}, phase={8: ENDED})
    assert ask(["spec", NEW, array], of=records, policy=Policy(max_jobs_per_user=4))
    with pytest.raises(Refused, match="ada has 1 jobs queued, 3 more would exceed max_jobs_per_user = 3"):
        ask(["spec", NEW, array], of=records, policy=Policy(max_jobs_per_user=3))
    assert ask(["spec", NEW, array], of=records, policy=Policy(max_jobs_per_user=3), requester=OPERATOR)
    records.of("quota")["user:ada"] = {"max_queued_jobs": 3}
    with pytest.raises(Refused, match="max_queued_jobs = 3"):
        ask(["spec", NEW, array], of=records)
    with pytest.raises(Refused, match="max_running_gpus = 1"):
        ask(["spec", NEW, {**SPEC, "gpus": 2}], policy=Policy(quotas={"default-user": {"max_running_gpus": 1}}))


def test_who_cancelled_and_when_is_as_it_is() -> None:
    forged = {"cancelled_by": "bob", "cancelled_at": 1.0}
    [(_, _, value)] = ask(["wish", 7, forged], of=Records(spec={7: ADAS}))
    assert value == {"cancelled_by": "ada", "cancelled_at": NOW}


@pytest.mark.parametrize("case", SENSELESS, ids=[case["case"] for case in SENSELESS])
def test_senseless_records_are_refused_or_mended(case: dict[str, Any]) -> None:
    """They stopped scheduling for good when whoever could write the snapshot wrote them."""
    records = Records(spec={1: {**ADAS, "user": "gfa"}, 5: ADAS})
    key = NEW if case["id"] is None else case["id"]
    requester = Requester(1001, "gfa")
    if case["case"] == "spec submitted_at null":
        assert ask([case["kind"], key, case["value"]], of=records, requester=requester)[0][2]["submitted_at"] == NOW
        return
    with pytest.raises(Refused):
        ask([case["kind"], key, case["value"]], of=records, requester=requester)
    with pytest.raises(Refused):
        ask([case["kind"], key, case["value"]], of=records, requester=Requester(1003, "op", is_operator=True))
