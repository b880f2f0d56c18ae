from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from gflowd.effects.shared_mode import job_unit

if TYPE_CHECKING:
    from pathlib import Path

FAILS = ["/bin/sh", "-c", "echo No; echo 'such `unit`' >&2; exit 1"]


def test_a_service_is_one_users_and_has_the_limits_of_its_job() -> None:
    words = job_unit.start(
        "gflow-job-4-1.service", 1001, ("/bin/sh", "/a b"), description="job 4", service="gflow", memory_mb=2048,
        no_new_privs=True, start_within=30.0, kill_after=10.0,
    )  # fmt: skip
    assert words[0] == "systemd-run"
    assert words[-2:] == ["/bin/sh", "/a b"]
    wanted = {"--uid=1001", "--unit=gflow-job-4-1.service", "--slice=gflow.slice", "--property=PAMName=gflow",
              "--property=MemoryMax=2048M", "--property=MemorySwapMax=0", "--property=NoNewPrivileges=yes",
              "--property=TimeoutStartSec=30", "--property=IgnoreSIGPIPE=no"}  # fmt: skip
    assert wanted <= set(words)
    plain = job_unit.start("x", 1, ("y",), description="z", service="p", memory_mb=None, no_new_privs=False,
                       start_within=1, kill_after=1)  # fmt: skip
    assert not any("Memory" in word or "NoNew" in word for word in plain)


@pytest.mark.parametrize(
    ("start", "check", "why"),
    [
        (["true"], ["false"], None),
        (FAILS, ["true"], "systemd did not start it: No such `unit`\n"),
        (["/bin/sh", "-c", "echo Unit x.service was already loaded or has a fragment file.; exit 1"], ["true"], None),
        (FAILS, ["/bin/sh", "-c", 'echo "expired" >"$0"; exit 125'], "expired\n"),
    ],
)
def test_why_a_service_did_not_start_is_kept(
    tmp_path: Path, start: list[str], check: list[str], why: str | None
) -> None:
    barred = tmp_path / "it's barred"
    asked = [*check, str(barred)] if len(check) == 3 else check
    subprocess.run(job_unit.program(start, asked, str(barred)), check=False)
    assert (barred.read_text() if barred.exists() else None) == why
    assert [path.name for path in tmp_path.iterdir()] == ([] if why is None else [barred.name])


def test_the_first_reason_counts(tmp_path: Path) -> None:
    barred = tmp_path / "barred"
    barred.write_text("first\n")
    subprocess.run(job_unit.program(FAILS, ["true"], str(barred)), check=False, stderr=subprocess.DEVNULL)
    assert barred.read_text() == "first\n"
