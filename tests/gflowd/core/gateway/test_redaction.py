from __future__ import annotations

import pytest
from support.specs import SPEC as JOB

from gflowd.core.gateway import redaction
from gflowd.core.job import codec, record_rules
from gflowd.core.job.arrays import Axis, Family
from gflowd.core.job.model import Spec
from gflowd.core.job.overrides import Override

SECRET = "secret"
SWEEP = Family(
    axes=(Axis(names=("lr", "x"), rows=((SECRET, SECRET), (SECRET, "1"))),),
    overrides=(Override(name="lr", positions=((0, 0, 1),), value=SECRET),),
)


@pytest.mark.parametrize("family", [None, Family(ranges=((1, 9, 2),), max_concurrent=2), SWEEP])
def test_what_a_job_runs_is_hidden_and_what_the_queue_shows_is_not(family: Family | None) -> None:
    spec = Spec(
        command=(SECRET,), name="train", user="ada", cwd=f"/{SECRET}", env=SECRET, submitted_at=5.0, script=SECRET,
        comment=SECRET, output=SECRET, error=SECRET, input=SECRET, submit_dir=SECRET, conda_env=SECRET, asked=(SECRET,),
        notify=(SECRET,), notify_email=SECRET, relay=SECRET, limits=SECRET, uid=7, gpus=3, priority=9, family=family,
    )  # fmt: skip
    raw = redaction.spec(codec.encode(spec))
    assert record_rules.fault("spec", 1, 1000, raw) is None
    shown = codec.decode_spec(raw)
    assert SECRET not in repr(shown)
    assert (shown.name, shown.user, shown.uid, shown.gpus, shown.priority) == ("train", "ada", 7, 3, 9)
    assert (shown.family is None) == (family is None)
    if shown.family is not None and family is not None:
        assert shown.family.ranges == family.ranges
        assert [[axis.names, len(axis.rows)] for axis in shown.family.axes] == [
            [axis.names, len(axis.rows)] for axis in family.axes
        ]


def test_a_field_that_nobody_has_thought_of_is_hidden() -> None:
    raw = {**codec.encode(JOB), "new": SECRET}
    assert SECRET not in repr(redaction.spec(raw))
    fields = {*Spec.__slots__} - {*redaction.SHOWN}
    assert fields == {
        "append", "asked", "command", "comment", "conda_env", "cwd", "env", "error", "family", "git", "input", "limits",
        "notify", "notify_email", "notify_on", "once", "output", "pty", "relay", "script", "submit_dir", "umask",
    }, "say of a new field whether all may see it"  # fmt: skip


def test_of_an_end_it_is_hidden_which_file_could_not_be_opened() -> None:
    told = {"is": "ended", "state": "failed", "reason": "LaunchFailed:cannot enter /home/ada/secret"}
    assert redaction.end(told) == {**told, "reason": "LaunchFailed:(private)"}
    other = {"is": "ended", "state": "failed", "reason": "NonZeroExit"}
    assert redaction.end(other) is other
    assert redaction.end({"is": "queued"}) == {"is": "queued"}
