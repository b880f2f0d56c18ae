from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.errors import Refused
from gflowd.core.job import arrays
from gflowd.core.job.arrays import Axis

SWEEP = arrays.new_family(
    axes=[Axis(names=("lr",), rows=tuple((f"{n}",) for n in range(10))), Axis(names=("s", "t"), rows=(("a", "b"),))]
)


def test_one_element_gets_another_value() -> None:
    family = arrays.overridden(SWEEP, [3], {"lr": "x"})
    assert arrays.parameters(family, 3) == {"lr": "x", "s": "a", "t": "b"}
    assert all(arrays.parameters(family, at) == arrays.parameters(SWEEP, at) for at in range(10) if at != 3)


def test_the_last_value_counts_and_leaves_no_trace_of_those_before() -> None:
    family = arrays.overridden(arrays.overridden(SWEEP, [2, 3, 4], {"lr": "x"}), [3], {"lr": "y"})
    family = arrays.overridden(arrays.overridden(family, [3], {"lr": "z"}), [2, 4], {"lr": "w"})
    assert [(override.positions, override.value) for override in family.overrides] == [
        (((3, 3, 1),), "z"),
        (((2, 2, 1), (4, 4, 1)), "w"),
    ]


def test_a_name_that_is_no_parameter_is_refused() -> None:
    with pytest.raises(Refused, match=r"^'seed' is not one of its parameters \(lr, s, t\)$"):
        arrays.overridden(SWEEP, [1], {"lr": "1", "seed": "2"})


CHANGES = st.lists(
    st.tuples(
        st.sets(st.integers(0, 9), min_size=1),
        st.dictionaries(st.sampled_from(["lr", "s", "t"]), st.text(max_size=3), min_size=1),
    ),
    max_size=6,
)


@given(CHANGES)
def test_each_element_has_the_values_that_it_was_given_last(changes: list[tuple[set[int], dict[str, str]]]) -> None:
    family = SWEEP
    wanted = [arrays.parameters(SWEEP, at) for at in range(10)]
    for positions, values in changes:
        family = arrays.overridden(family, positions, values)
        for at in positions:
            wanted[at] |= values
    again = arrays.from_json(json.loads(json.dumps(arrays.to_json(family))))
    assert again == family
    assert [arrays.parameters(again, at) for at in range(10)] == wanted
