"""Two users share one queue: the shortest of the tests in tests/shared, which `make shared-test` runs."""

from __future__ import annotations

import pytest
from support.shared_machine import new_shared_machine, obstacle

pytestmark = pytest.mark.skipif(obstacle() != "", reason=f"no shared machine: {obstacle()}")


def test_each_runs_jobs_as_themselves_and_touches_no_other() -> None:
    with new_shared_machine() as machine:
        machine.start()
        gfa, gfb = machine.as_user("gfa"), machine.as_user("gfb")
        assert gfa.result("--", "id", "-un") == "gfa\n"
        held = gfa.submit("--hold", "--", "true")
        assert gfb.refused(1, "cancel", str(held)) == f"job {held} belongs to gfa"
        machine.as_user("gfop").ctl("cancel", str(held))
