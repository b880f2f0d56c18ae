from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import specs

from gflowd.core.accounting.quotas import FIELDS, Ledger, Quota, Quotas, owners
from gflowd.core.job.model import Spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    Records = Mapping[str, Mapping[str, int | None]]

SPEC = specs.SPEC.replace(user="ada")
LIMITS = st.none() | st.integers(0, 5)
VALUES = st.dictionaries(st.sampled_from(FIELDS), LIMITS)
IDS = st.sampled_from(["user:ada", "user:bob", "project:ml", "project:nlp", "default-user", "default-project"])
RECORDS = st.dictionaries(IDS, VALUES)
SPECS = st.builds(
    lambda user, project, gpus: SPEC.replace(user=user, project=project, gpus=gpus),
    st.sampled_from(["ada", "bob"]), st.sampled_from([None, "ml", "nlp"]), st.integers(0, 3),
)  # fmt: skip


def ledger_of(quotas: Quotas, *live: Spec) -> Ledger:
    """With these running."""
    ledger = Ledger(quotas)
    for spec in live:
        ledger.start(spec)
    return ledger


def test_without_quotas_nothing_is_limited() -> None:
    quotas = Quotas({}, {})
    assert quotas.of("user:ada") == quotas.of("project:ml") == Quota()
    assert not quotas.limit(*FIELDS)
    assert quotas.queued_refusal(SPEC.replace(project="ml"), 1 << 40, {"user:ada": 1 << 40}) is None
    ledger = ledger_of(quotas, SPEC, SPEC)
    assert ledger.admits(SPEC)


def test_each_field_is_whose_says_it_first_own_before_default_and_run_time_before_file() -> None:
    said = {"run": {"max_running_jobs": 1}, "file": {"max_running_jobs": 2, "max_running_gpus": 3}}
    defaults = {"run": {"max_queued_jobs": 4, "max_running_gpus": 9}, "file": {"max_queued_jobs": 5}}
    configured = {"user:ada": said["file"], "default-user": defaults["file"]}
    records = {"user:ada": said["run"], "default-user": defaults["run"]}
    quotas = Quotas(configured, records)
    assert quotas.of("user:ada") == Quota(max_running_jobs=1, max_running_gpus=3, max_queued_jobs=4)
    assert quotas.of("user:bob") == Quota(max_running_gpus=9, max_queued_jobs=4)
    assert quotas.of("project:ada") == Quota()
    assert quotas.ids() == {"user:ada", "default-user"}
    assert Quotas({"default-project": {"max_queued_jobs": 1}}, {}).of("project:ml") == Quota(max_queued_jobs=1)


def test_one_user_may_be_freed_of_a_default() -> None:
    quotas = Quotas({"default-user": {"max_running_jobs": 1}}, {"user:ada": {"max_running_jobs": None}})
    assert quotas.of("user:ada") == Quota()
    assert quotas.of("user:bob") == Quota(max_running_jobs=1)


@given(RECORDS, RECORDS, st.sampled_from(FIELDS))
def test_the_merge_is_a_search_through_four_places(configured: Records, records: Records, field: str) -> None:
    quotas = Quotas(configured, records)
    for owner, default in (("user:ada", "default-user"), ("project:ml", "default-project")):
        places = [records.get(owner), configured.get(owner), records.get(default), configured.get(default)]
        said = [place[field] for place in places if place is not None and field in place]
        assert getattr(quotas.of(owner), field) == (said[0] if said else None)
        assert said[:1] in ([], [None]) or quotas.limit(field)


@given(RECORDS, RECORDS, st.lists(SPECS), st.lists(SPECS))
def test_what_the_ledger_admits_exceeds_no_quota_and_it_admits_all_that_fits(
    configured: Records, records: Records, live: list[Spec], queue: list[Spec]
) -> None:
    quotas = Quotas(configured, records)
    running = list(live)
    ledger = ledger_of(quotas, *live)
    for spec in queue:
        fits = True
        for owner in owners(spec):
            limit = quotas.of(owner)
            others = [each for each in running if owner in owners(each)]
            gpus = sum(each.gpus for each in others)
            fits &= limit.max_running_jobs is None or len(others) + 1 <= limit.max_running_jobs
            fits &= limit.max_running_gpus is None or spec.gpus == 0 or gpus + spec.gpus <= limit.max_running_gpus
        assert ledger.admits(spec) == fits
        if fits:
            ledger.start(spec)
            running.append(spec)


def test_a_job_counts_against_its_user_and_its_project() -> None:
    ledger = ledger_of(Quotas({"project:ml": {"max_running_jobs": 1}}, {}), SPEC.replace(user="bob", project="ml"))
    assert not ledger.admits(SPEC.replace(project="ml"))
    assert ledger.admits(SPEC)


def test_a_job_without_gpus_may_run_although_the_gpu_quota_was_lowered() -> None:
    ledger = ledger_of(Quotas({}, {"user:ada": {"max_running_gpus": 1}}), SPEC.replace(gpus=2))
    assert ledger.admits(SPEC)
    assert not ledger.admits(SPEC.replace(gpus=1))


@pytest.mark.parametrize("certain", [True, False])
def test_at_a_later_time_those_have_gone_that_end_by_then_and_if_it_must_be_certain_no_others(certain: bool) -> None:
    ledger = Ledger(Quotas({"user:ada": {"max_running_jobs": 2, "max_running_gpus": 3}}, {}))
    ledger.start(SPEC.replace(gpus=2), 50.0)
    ledger.start(SPEC.replace(gpus=1), 80.0, certain=False)
    wide = SPEC.replace(gpus=3)
    assert not ledger.admits(SPEC)
    assert not ledger.admits(SPEC, 49.0, certain=certain)
    assert ledger.admits(SPEC, 50.0, certain=certain)
    assert not ledger.admits(wide, 50.0, certain=certain)
    assert ledger.admits(wide, 80.0, certain=certain) == (not certain)
    assert ledger.admits(wide.replace(user="bob"), 49.0, certain=certain)


def test_what_is_larger_than_a_quota_can_never_start() -> None:
    ledger = ledger_of(Quotas({"user:ada": {"max_running_gpus": 3}, "project:no": {"max_running_jobs": 0}}, {}), SPEC)
    assert ledger.can_ever(SPEC.replace(gpus=3))
    assert not ledger.can_ever(SPEC.replace(gpus=4))
    assert not ledger.can_ever(SPEC.replace(project="no"))
    assert Ledger(Quotas({}, {})).can_ever(SPEC.replace(gpus=4))
    assert (ledger.is_needed, Ledger(Quotas({}, {})).is_needed) == (True, False)


def test_one_that_runs_on_beside_another_must_leave_it_its_part_of_a_quota_that_both_have() -> None:
    ledger = Ledger(Quotas({"project:ml": {"max_running_jobs": 2}, "user:ada": {"max_running_gpus": 3}}, {}))
    ledger.start(SPEC.replace(user="bob", project="ml"), 50.0)
    wide, other = SPEC.replace(gpus=3, project="ml"), SPEC.replace(user="eve", project="ml")
    assert ledger.admits_beside(wide, other, 60.0, 60.0, certain=True), "it is gone by then"
    assert ledger.admits_beside(wide, other, 60.0, 50.0, certain=True), "and is one of two"
    assert not ledger.admits_beside(wide, other, 60.0, 49.0, certain=True)
    assert ledger.admits_beside(wide, SPEC.replace(user="eve"), 60.0, 49.0, certain=True), "they share no quota"
    assert not ledger.admits_beside(wide, SPEC.replace(gpus=1), 60.0, 50.0, certain=True)
    assert ledger.admits_beside(wide, SPEC, 60.0, 50.0, certain=True)
    assert Ledger(Quotas({}, {})).admits_beside(wide, wide, 60.0, 50.0, certain=True)


@pytest.mark.parametrize(
    ("new", "has", "said"),
    [
        (1, 2, None),
        (3, 0, None),
        (1, 3, "user ada has 3 jobs queued, another would exceed max_queued_jobs = 3"),
        (3, 1, "user ada has 1 job queued, 3 more would exceed max_queued_jobs = 3"),
        (2, 2, "user ada has 2 jobs queued, 2 more would exceed max_queued_jobs = 3"),
    ],
)
def test_a_refusal_names_the_quota_the_count_and_the_limit(new: int, has: int, said: str | None) -> None:
    quotas = Quotas({"user:ada": {"max_queued_jobs": 3}}, {})
    assert quotas.queued_refusal(SPEC, new, {"user:ada": has}) == said


def test_a_submission_must_fit_the_quota_of_its_project_too() -> None:
    quotas = Quotas({}, {"default-project": {"max_queued_jobs": 0}})
    assert quotas.queued_refusal(SPEC, 1, {}) is None
    said = quotas.queued_refusal(SPEC.replace(project="a:b"), 1, {})
    assert said == "project a:b has 0 jobs queued, another would exceed max_queued_jobs = 0"


@pytest.mark.parametrize(
    ("gpus", "quota", "said"),
    [
        (2, {"max_running_gpus": 2}, None),
        (3, {"max_running_gpus": 2}, "user ada may use 2 GPUs at most (max_running_gpus = 2), 3 asked for"),
        (1, {"max_running_gpus": 0}, "user ada may use no GPU at most (max_running_gpus = 0), 1 asked for"),
        (0, {"max_running_gpus": 0}, None),
        (0, {"max_running_jobs": 1}, None),
        (0, {"max_running_jobs": 0}, "user ada may run no job (max_running_jobs = 0)"),
    ],
)
def test_a_job_that_its_quota_keeps_out_alone(gpus: int, quota: dict[str, int | None], said: str | None) -> None:
    quotas = Quotas({}, {"user:ada": quota})
    assert quotas.too_large(SPEC.replace(gpus=gpus)) == said
    assert Ledger(quotas).can_ever(SPEC.replace(gpus=gpus)) == (said is None)


def test_the_quotas_that_are_reached_are_named_with_what_runs() -> None:
    quotas = Quotas({}, {"user:ada": {"max_running_jobs": 2}, "project:ml": {"max_running_gpus": 4}})
    running = {"user:ada": (2, 4), "project:ml": (1, 3)}
    assert quotas.reached(SPEC.replace(project="ml", gpus=2), running) == [
        "user ada runs 2 of 2 jobs (max_running_jobs)",
        "project ml uses 3 of 4 GPUs (max_running_gpus), 2 asked for",
    ]
    assert quotas.reached(SPEC.replace(project="ml", gpus=0), {"user:ada": (1, 0)}) == []
    narrow = SPEC.replace(project="ml", gpus=1)
    assert quotas.reached(narrow, running) == ["user ada runs 2 of 2 jobs (max_running_jobs)"]
