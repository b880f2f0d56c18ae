from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.errors import Refused
from gflowd.core.job import dependencies
from gflowd.core.job.dependencies import AFTER, ALL, ANY, KINDS, SINGLETON, Dependency, Needs

ROOT = Path(__file__).parents[4]
WORDS: dict[str, tuple[int, ...]] = {
    "@": (9,), "@~1": (8,), "42_3": (44,), "42_[1-2]": (42, 43), "42_[1, 2%5]": (42, 43),
    "42_[1,3]": (42, 44), "42_[0-4:2]": (42, 44), "5-7": (5, 6, 7),
}  # fmt: skip


def resolve(word: str) -> Sequence[tuple[int, bool]]:
    if word == "99":
        raise Refused("no job 99")
    return [(job_id, "_" in word) for job_id in (WORDS[word] if word in WORDS else (int(word),))]


def ok(job_id: int, kind: str = "afterok", **fields: object) -> Dependency:
    return Dependency(kind=kind, id=job_id).replace(**fields)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("42", [ok(42)]),
        ("@", [ok(9)]),
        ("@~1", [ok(8)]),
        ("1,2,3", [ok(1), ok(2), ok(3)]),
        ("1:2", [ok(1), ok(2)]),
        ("5-7", [ok(5), ok(6), ok(7)]),
        ("afterok:1:2,afterany:3,afternotok:4", [ok(1), ok(2), ok(3, "afterany"), ok(4, "afternotok")]),
        ("after:5", [ok(5, "after")]),
        ("after:5+10", [ok(5, "after", delay=600.0)]),
        ("after:5+10:6:7+30s", [ok(5, "after", delay=600.0), ok(6, "after"), ok(7, "after", delay=30.0)]),
        ("aftercorr:6", [ok(6, "aftercorr")]),
        ("singleton", [Dependency(kind=SINGLETON)]),
        ("AfterAny:3, Singleton", [ok(3, "afterany"), Dependency(kind=SINGLETON)]),
        ("42_3", [ok(44, element=True)]),
        ("afterany:42_[1,3]:7,1", [ok(42, "afterany", element=True), ok(44, "afterany", element=True),
                                   ok(7, "afterany"), ok(1)]),
        ("42_[1, 2%5]", [ok(42, element=True), ok(43, element=True)]),
        ("42_[0-4:2]", [ok(42, element=True), ok(44, element=True)]),
        ("1,1,afterok:1", [ok(1)]),
        (" 1 , afterok:2\n", [ok(1), ok(2)]),
    ],
)  # fmt: skip
def test_what_depends_on_asks_for(text: str, found: list[Dependency]) -> None:
    assert dependencies.parse(text, resolve) == Needs(dependencies=tuple(found))


def test_a_question_mark_means_any() -> None:
    needs = dependencies.parse("afterok:1:2?afterany:3", resolve)
    assert needs == Needs(dependencies=(ok(1), ok(2), ok(3, "afterany")), mode=ANY)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'' is not a job to depend on"),
        ("1,", "'' is not a job to depend on"),
        ("1,2?3", "not by both"),
        ("expand:1", "'expand' is not a kind of dependency"),
        ("afterok", "afterok needs a job"),
        ("afterok:", "'' is not a job"),
        ("singleton:4", "singleton takes no job"),
        ("afterok:5+10", "only after takes a delay"),
        ("5+10", "only after takes a delay"),
        ("after:5+", "'5\\+' is not a job"),
        ("after:5+x", "'x' is not a duration"),
        ("after:5+10000000000", "longer than a hundred years"),
        ("-1", "'-1' is not a job"),
        ("42_", "'42_' is not a job"),
        ("42_[1", r"'42_\[1' is not a job"),
        ("42_[]", r"'42_\[\]' is not a job"),
        ("1" * 19, "is not a job"),
        ("٣", "is not a job"),
        ("é:1", "is not a kind"),
        ("afterok:x", "'x' is not a job"),
        ("1,99", "^no job 99$"),
    ],
)
def test_nonsense_is_refused_with_its_reason(text: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        dependencies.parse(text, resolve)


@given(st.one_of(st.text(), st.text(alphabet="afterokynsig0123456789:,?+@~_[]- ", max_size=40)))
def test_any_text_is_read_or_refused_in_one_short_line(text: str) -> None:
    try:
        needs = dependencies.parse(text, lambda word: [(len(word), False)])
    except Refused as error:
        refusal = str(error)
    else:
        assert needs.dependencies
        return
    assert "\n" not in refusal
    assert len(refusal) < 250


def test_a_long_list_is_read_in_one_go() -> None:
    ids = list(range(1, 10_001))
    asked: list[str] = []

    def count(word: str) -> list[tuple[int, bool]]:
        asked.append(word)
        return [(int(word), False)]

    assert list(dependencies.parse("afterany:" + ":".join(map(str, ids)), count).ids) == ids
    assert len(asked) == len(ids)
    with pytest.raises(Refused):
        dependencies.parse("[" * 100_000, count)


@pytest.mark.parametrize("mode", [ALL, ANY])
def test_the_lists_mean_afterok(mode: str) -> None:
    needs = dependencies.parse_list("1, 5-7,@,42_[1,3],1", mode, resolve)
    members = (ok(42, element=True), ok(44, element=True))
    assert needs == Needs(dependencies=(ok(1), ok(5), ok(6), ok(7), ok(9), *members), mode=mode)


@pytest.mark.parametrize("text", ["", "1,", "1?2", "afterok:1", "1:2", "1+5", "singleton", "99"])
def test_the_lists_take_only_jobs(text: str) -> None:
    with pytest.raises(Refused):
        dependencies.parse_list(text, ALL, resolve)


def test_several_options_add_up() -> None:
    one = Needs(dependencies=(ok(1), ok(2)))
    either = Needs(dependencies=(ok(3), ok(4)), mode=ANY)
    stubborn = Needs(auto_cancel=False)
    assert dependencies.join() == dependencies.NOTHING
    assert dependencies.join(one, dependencies.ALONE, stubborn) == Needs(
        dependencies=(ok(1), ok(2), Dependency(kind=SINGLETON)), auto_cancel=False
    )
    assert dependencies.join(dependencies.NOTHING, either) == either
    assert dependencies.join(one, one) == one
    assert dependencies.join(one, either.replace(dependencies=(ok(3),))).dependencies == (ok(1), ok(2), ok(3))


def test_alternatives_do_not_combine_with_more() -> None:
    with pytest.raises(Refused, match="any of several"):
        dependencies.join(Needs(dependencies=(ok(3), ok(4)), mode=ANY), dependencies.ALONE)


DEPENDENCIES = st.one_of(
    st.just(Dependency(kind=SINGLETON)),
    st.builds(
        lambda kind, job_id, milliseconds: Dependency(
            kind=kind, id=job_id, delay=milliseconds / 1000 if kind == AFTER else 0.0
        ),
        st.sampled_from([kind for kind in KINDS if kind != SINGLETON]),
        st.integers(1, 10**17),
        st.one_of(st.just(0), st.integers(0, 10**8), st.integers(0, 10**4).map(lambda minutes: minutes * 60_000)),
    ),
)
NEEDS = st.builds(
    lambda found, mode, auto_cancel: Needs(
        dependencies=tuple(found), mode=mode if len(found) > 1 else ALL, auto_cancel=auto_cancel
    ),
    st.lists(DEPENDENCIES, max_size=6, unique=True),
    st.sampled_from([ALL, ANY]),
    st.booleans(),
)


@given(NEEDS.filter(lambda needs: needs.dependencies))
def test_what_is_shown_reads_back(needs: Needs) -> None:
    again = dependencies.parse(dependencies.show(needs), lambda word: [(int(word), False)])
    assert (again.dependencies, again.mode) == (needs.dependencies, needs.mode)


def test_a_name_of_the_callers_is_shown() -> None:
    needs = Needs(dependencies=(ok(44, element=True), ok(5, AFTER, delay=90.0)))
    shown = dependencies.show(needs, lambda each: "42_3" if each.element else str(each.id))
    assert shown == "afterok:42_3,after:5+90s"


@given(NEEDS)
def test_a_record_reads_back(needs: Needs) -> None:
    assert dependencies.decode(json.loads(json.dumps(dependencies.encode(needs)))) == needs


def test_the_record_is_the_one_of_the_manual() -> None:
    needs = dependencies.parse("afterok:1?after:2+1?42_3?singleton", resolve)
    assert dependencies.encode(needs.replace(auto_cancel=False)) == {
        "dependencies": [
            {"kind": "afterok", "id": 1},
            {"kind": "after", "id": 2, "delay": 60.0},
            {"kind": "afterok", "id": 44, "element": True},
            {"kind": "singleton", "id": None},
        ],
        "dependency_mode": "any",
        "auto_cancel": False,
    }
    assert dependencies.encode(dependencies.NOTHING) == {}
    with pytest.raises(KeyError):
        dependencies.decode({"dependencies": [{"kind": "afterok"}]})


def test_each_id_is_named_once() -> None:
    needs = Needs(dependencies=(ok(3), ok(1), ok(3, "afterany"), Dependency(kind=SINGLETON)))
    assert needs.ids == (3, 1)


def test_importing_what_submit_needs_is_cheap() -> None:
    code = "import sys; import gflowd.core.job.dependencies, gflowd.core.job.retries; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-SEc", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert {"dataclasses", "datetime", "typing", "heapq", "pathlib"}.isdisjoint(done.stdout.split())


def test_dependencies_are_shown_as_they_are_given() -> None:
    needs = Needs(dependencies=(ok(5, AFTER, delay=120.0), ok(6), Dependency(kind=SINGLETON)), mode=ANY)
    assert dependencies.show(needs) == "after:5+2?afterok:6?singleton"
