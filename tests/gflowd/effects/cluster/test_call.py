"""Calls of a cluster's programs never make us wait, and what they are given of our environment is little."""

from __future__ import annotations

import os
import select
import time

import pytest

from gflowd.effects.cluster.call import Answer, Call

LIMIT = 60.0  # seconds: patience with a busy machine, no promise


def answered(call: Call) -> Answer:
    assert call.fd is not None
    assert select.select([call.fd], [], [], LIMIT)[0]
    answer = call.answer(time.monotonic())
    assert answer is not None
    return answer


def test_what_it_says_and_how_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", "/x")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    call = Call(["/bin/sh", "-c", "echo $SLURM_CONF$SLURM_JOB_ID; echo no >&2; exit 3"], time.monotonic())
    assert answered(call) == Answer(3, "/x\n", "no")
    assert call.answer(0.0) == Answer(3, "/x\n", "no")


def test_one_that_takes_too_long_is_killed_with_what_it_has_started() -> None:
    call = Call(["/bin/sh", "-c", "sleep 1000 & wait"], 0.0, timeout=30.0)
    assert call.answer(29.0) is None
    answer = call.answer(30.0)
    assert answer == Answer(None, "", "/bin/sh: no answer within 30 s")
    assert not answer.is_good
    assert call.fd is None


def test_one_that_cannot_be_started_has_said_so() -> None:
    call = Call(["/nowhere/squeue"], 0.0)
    assert call.fd is None
    assert call.answer(0.0) == Answer(None, "", f"/nowhere/squeue: {os.strerror(2)}")
    call.end()
