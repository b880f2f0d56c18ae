"""docs/api.md is true: its blocks are run one after the other, beside someone who plays the daemon."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.ctl import ROOT

from gflowctl.api import Options, Queue

if TYPE_CHECKING:
    from support.ctl import Ctl

PAGE = (ROOT / "docs/api.md").read_text()


def play_daemon(ctl: Ctl, over: threading.Event) -> None:
    """Runs job 1."""
    while not over.wait(0.01):
        phases = ctl.store.read()
        if 1 in phases.of("spec") and 1 not in phases.of("phase"):
            ctl.run_job(1).write_text("epoch 1\nepoch 2\nepoch 3\n")
            ctl.end_job(1, exit_code=0)
            return


def test_the_examples_of_the_page_run(
    ctl: Ctl, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ctl.home)
    monkeypatch.setenv("GFLOW_STATE_DIR", ctl.state.root)
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```$", PAGE)
    assert len(blocks) == 8
    over, names = threading.Event(), dict[str, Any]()
    daemon = threading.Thread(target=play_daemon, args=(ctl, over))
    daemon.start()
    try:
        for block in blocks:
            exec(compile(block, "docs/api.md", "exec"), names)
    finally:
        over.set()
        daemon.join()
    said = capsys.readouterr().out
    assert said.startswith("1 finished 0 epoch 1\nepoch 2\nepoch 3\n")
    assert "queued 6 5 {" in said
    assert names["both"].jobs[0].dependencies[0].id == 1


def test_the_page_names_methods_and_options_that_there_are() -> None:
    methods = {name for name in vars(Queue) if not name.startswith("_")}
    assert methods == {
        "attempts", "cancel", "close", "events", "gpus", "hold", "job", "jobs", "log", "machine", "notes", "prepare",
        "redo",
        "release", "requeue", "reservations", "statistics", "submit", "summary", "suspend", "top", "unsuspend", "wait",
        "why",
    }  # fmt: skip
    named = set(re.findall(r"(?:`|queue\.)([a-z_]+)\b", PAGE))
    assert methods - named == {"job"}
    used = set(re.findall(r"(?:submit|prepare)\([^)]*?\b([a-z_]+)=", PAGE))
    assert used <= set(Options.__annotations__)
