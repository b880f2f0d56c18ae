"""What gflowctl imports before it has done its work: it is run from loops, hooks and prompts."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.imports import TOO_DEAR_FOR_SUBMIT, imported

if TYPE_CHECKING:
    from support.ctl import Ctl


@pytest.mark.parametrize("observed", [False, True])
def test_submit_imports_no_more_than_it_needs(ctl: Ctl, observed: bool) -> None:
    if observed:
        ctl.observe()
    words = ["submit", "--gpus", "1", "--time", "2h", "--memory", "1G", "-o", "%j.out", "--", "echo", "hi"]
    assert not imported(ctl, *words) & TOO_DEAR_FOR_SUBMIT


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_is_looked_at_only_in_a_work_tree(ctl: Ctl) -> None:
    """Without, a plain submission imports what it imported before; within, only the reader."""
    plain = imported(ctl, "submit", "true")
    assert not {name for name in plain if name.startswith("gflowctl.submit.git")}
    subprocess.run(["git", "init", "-q", ctl.home], check=True, env={"PATH": "/usr/bin:/bin", "HOME": str(ctl.home)})
    within = imported(ctl, "submit", "true")
    assert not within & TOO_DEAR_FOR_SUBMIT
    readers = {"", ".changed_files", ".files", ".index", ".objects", ".work_tree"}
    assert within - plain <= {f"gflowctl.submit.git{name}" for name in readers} | {"struct", "_struct", "zlib", "_sha1"}


def test_a_submission_that_waits_imports_little_more(ctl: Ctl) -> None:
    ctl.submit("true")
    plain = imported(ctl, "submit", "true")
    assert (
        not {
            "gflowd.core.job.dependencies",
            "gflowd.core.job.retries",
            "gflowctl.view.dependencies",
            "gflowctl.machine.quotas",
        }
        & plain
    )
    words = ["submit", "-d", "1", "--max-retries", "2", "--retry-on", "oom", "--retry-delay", "30sx2", "true"]
    assert not imported(ctl, *words) & TOO_DEAR_FOR_SUBMIT


def test_queue_imports_no_more_than_it_needs(ctl: Ctl) -> None:
    ctl.observe()
    ctl.submit("true")
    brought_by_orjson = imported(
        ctl, program="import sys, orjson, json; print(json.dumps([*sys.modules]), file=sys.stderr)"
    )
    allowed = brought_by_orjson | {"gflowctl.view.jobs", "gflowctl.view.views"}
    assert not (imported(ctl, "queue") & TOO_DEAR_FOR_SUBMIT) - allowed


@pytest.mark.parametrize(("words", "ours", "others"), [(("submit", "true"), 34, 38), (("queue",), 43, 41)])
def test_few_modules_are_imported(ctl: Ctl, words: tuple[str, ...], ours: int, others: int) -> None:
    """Of ours as many as there are now: one more costs each call a fiftieth of a bare interpreter. Of others 34 and 36
    are seen with Python 3.11 to 3.13.
    """
    ctl.submit("true")
    found = imported(ctl, *words)
    own = {name for name in found if name.startswith("gflow")}
    assert len(own) <= ours, sorted(own)
    assert len(found - own) <= others, sorted(found - own)


def test_only_the_command_asked_for_is_imported(ctl: Ctl) -> None:
    commands = {name for name in imported(ctl, "queue") if name.startswith("gflowctl.commands.")}
    assert commands == {"gflowctl.commands.queue"}
