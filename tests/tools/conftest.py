"""One machine for the tests of a tool."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from slurm_site import Site
from support.machine import new_machine

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with new_machine(Site) as found:
        found.prepare()
        yield found


@pytest.fixture(autouse=True)
def visit(site: Site) -> Iterator[None]:
    with site.visit():
        yield
