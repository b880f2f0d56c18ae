"""A job script to begin with."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl


def test_the_script_can_be_submitted_as_it_is(ctl: Ctl) -> None:
    assert ctl.ok("new", "train") == "Wrote train.sh\n"
    assert stat.S_IMODE((ctl.home / "train.sh").stat().st_mode) & 0o111
    spec = ctl.spec(ctl.submit("train.sh"))
    assert (spec.name, spec.gpus, spec.time_limit, spec.family, spec.script is None) == ("train", 0, None, None, False)


def test_each_option_that_it_shows_is_one(ctl: Ctl) -> None:
    ctl.ok("new", "all")
    path = ctl.home / "all.sh"
    path.write_text(path.read_text().replace("## GFLOW", "# GFLOW").replace("afterok:41", "afterok:1"))
    ctl.submit("true")
    ctl.ok("submit", "all.sh")
    spec = ctl.spec(2)
    assert (spec.gpus, spec.gpu_memory_mb, spec.cpus, spec.memory_mb, spec.time_limit) == (1, 20480, 4, 16384, 7200)
    assert (spec.priority, spec.needs.ids, spec.retry.max_retries) == (20, (1,), 2)


@pytest.mark.parametrize(("name", "file"), [("a.sh", "a.sh"), ("sub/b", "sub/b.sh"), ("it's ü", "it's ü.sh")])
def test_the_name_may_be_that_of_the_file(ctl: Ctl, name: str, file: str) -> None:
    (ctl.home / "sub").mkdir()
    ctl.ok("new", name)
    assert ctl.spec(ctl.submit(file)).name == os.path.basename(file).removesuffix(".sh")


def test_no_file_is_overwritten(ctl: Ctl) -> None:
    (ctl.home / "train.sh").write_text("mine")
    (ctl.home / "link.sh").symlink_to("nowhere")
    for name in ("train", "link"):
        assert f"{name}.sh already exists" in ctl.fails(1, "new", name)
    assert (ctl.home / "train.sh").read_text() == "mine"


@pytest.mark.parametrize(
    ("status", "name"),
    [(2, ""), (2, "."), (2, ".sh"), (2, "sub/"), (1, "a\nb"), (1, "a\x1bb"), (1, b"\xff"), (1, "n" * 300), (1, "no/a")],
)
def test_a_name_that_no_job_can_have_is_refused(ctl: Ctl, status: int, name: str | bytes) -> None:
    ctl.fails(status, "new", name)
    assert os.listdir(ctl.home) == []
