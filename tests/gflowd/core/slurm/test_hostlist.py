"""Lists of hosts."""

from __future__ import annotations

import pytest

from gflowd.core.errors import Refused
from gflowd.core.slurm import hostlist, site


@pytest.mark.parametrize(
    ("text", "hosts", "folded"),
    [
        ("box", "box", "box"),
        ("n[1-3,7],m2", "n1 n2 n3 n7 m2", "n[1-3,7],m2"),
        ("n[008-011]", "n008 n009 n010 n011", "n[008-011]"),
        ("r[1-2]n[1-2]x", "r1n1x r1n2x r2n1x r2n2x", "r1n1x,r1n2x,r2n1x,r2n2x"),
        ("a,b,a", "a b a", "a,b,a"),
        ("n1,n2", "n1 n2", "n[1-2]"),
        ("n1,n3", "n1 n3", "n[1,3]"),
        ("", "", ""),
    ],
)
def test_a_list_names_hosts(text: str, hosts: str, folded: str) -> None:
    assert hostlist.expand(text) == hosts.split()
    assert hostlist.fold(hosts.split()) == folded


@pytest.mark.parametrize(
    "text",
    [
        "n[1-", "n]1", "n[3-1]", "n[x]", "n[1-99999999]", "n[1-60000],m[1-60000]", ",a", "a[]", "n" + "[1-999]" * 4,
        "n" + "[1]" * 2000,
    ],
)  # fmt: skip
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="Invalid hostlist"):
        hostlist.expand(text)


def test_the_node_is_the_machine() -> None:
    assert (site.node("box.example.org"), site.node("box"), site.node("")) == ("box", "box", "localhost")
