"""What a person reads."""

from __future__ import annotations

from typing import Any

import pytest

from gflowd.core.notify import messages, plain_text

ENDED: dict[str, Any] = {
    "id": "3-17", "at": 1764268000.0, "kind": "job_ended", "job": 42, "array_id": None, "array_index": None,
    "name": "train", "user": "ada", "project": "vision", "attempt": 1, "state": "failed", "reason": "NonZeroExit",
    "exit_code": 1, "signal": None, "run_seconds": 725.2, "gpu_ids": [0, 1], "final": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        ({}, "train (job 42) failed: exit code 1, after 12m 5s"),
        ({"state": "finished", "exit_code": 0, "run_seconds": 7.25}, "train (job 42) finished after 7.2s"),
        ({"state": "timeout", "run_seconds": 7200}, "train (job 42) exceeded its time limit after 2h 0m"),
        ({"state": "cancelled", "reason": "CancelledByUser", "run_seconds": None}, "train (job 42) was cancelled"),
        ({"state": "cancelled", "reason": "DependencyFailed:7", "run_seconds": None},
         "train (job 42) was cancelled: DependencyFailed:7"),
        ({"reason": "OutOfMemory", "run_seconds": 90061}, "train (job 42) failed: OutOfMemory, after 1d 1h"),
        ({"reason": None, "exit_code": None}, "train (job 42) failed after 12m 5s"),
        ({"final": False}, "train (job 42) failed after 12m 5s and will be tried again"),
        ({"kind": "job_requeued", "attempt": 2}, "train (job 42) is queued again, for attempt 2"),
        ({"kind": "job_started"}, "train (job 42) has started"),
        ({"kind": "job_submitted", "count": 8}, "train (job 42) was submitted: 8 jobs"),
        ({"kind": "job_submitted", "count": 1}, "train (job 42) was submitted"),
        ({"kind": "job_new"}, "train (job 42) job_new"),
        ({"array_id": 40, "array_index": 3}, "train (job 40_3) failed: exit code 1, after 12m 5s"),
        ({"kind": "job_time_limit", "mark": "time_limit_80", "seconds_left": 720.0},
         "train (job 42) has used 80% of its time limit, 12m 0s are left"),
        ({"kind": "job_time_limit", "mark": "time_limit_50"}, "train (job 42) has used 50% of its time limit"),
        ({"name": "a\nBcc: x@y\u202e", "state": "finished", "run_seconds": None},
         r"a\x0aBcc: x@y\u202e (job 42) finished"),
        ({"name": "x" * 200, "state": "finished", "run_seconds": 3}, "x" * 57 + "... (job 42) finished after 3.0s"),
    ],
)  # fmt: skip
def test_a_subject_says_what_happened(changes: dict[str, Any], subject: str) -> None:
    assert messages.subject(ENDED | changes) == subject


def test_events_of_the_machine_have_subjects_too() -> None:
    assert messages.subject({"kind": "gpu_faulty", "gpu": 3, "at": 0}) == "a GPU is faulty: 3"
    assert messages.subject({"kind": "daemon_started", "at": 0}) == "gflowd has started"
    text = messages.text({"id": "1-1", "kind": "gpu_faulty", "at": 0.0, "gpu": 3, "cause": "Xid 79"}, "box")
    assert text.splitlines()[:4] == ["a GPU is faulty: 3.", "", "Gpu:        3", "Cause:      Xid 79"]
    assert "gflowctl" not in text


def test_the_text_says_what_a_person_wants() -> None:
    text = messages.text({**ENDED, "attempt": 2, "cwd": "/home/ada"}, "box", ["epoch 3", "", "CUDA out"], "/s/log\n")
    lines = text.splitlines()
    assert lines[0] == "train (job 42) failed: exit code 1, after 12m 5s."
    rows = dict(line.split(":", 1) for line in lines[2 : lines.index("", 2)])
    assert {key: value.strip() for key, value in rows.items() if key != "Time"} == {
        "State": "failed", "Reason": "NonZeroExit", "Exit code": "1", "Run time": "12m 5s", "Attempt": "2",
        "GPUs": "0, 1", "User": "ada", "Project": "vision", "Directory": "/home/ada", "Machine": "box",
    }  # fmt: skip
    assert r"The end of its output (/s/log\x0a):" in lines
    assert text.endswith("    epoch 3\n\n    CUDA out\n\nTo see more:\n\n    gflowctl show 42\n    gflowctl log 42\n")
    assert "gflowctl log" not in messages.text({**ENDED, "kind": "job_held"}, "box")


def test_an_array_gets_a_summary() -> None:
    summary = {"count": 100, "states": {"finished": 96, "failed": 3, "timeout": 1}, "failures": ["42_7: x"], "more": 2}
    array = {**ENDED, "array_id": 42, "job": 42, "state": "failed", "summary": summary}
    assert messages.subject(array) == "train (array 42) has ended: 96 finished, 3 failed, 1 over their time limit"
    text = messages.text(array, "box", [], "")
    assert "Not finished:\n\n    42_7: x\n    ... and 2 more\n" in text
    assert "gflowctl queue --all 42" in text
    assert "Exit code" not in text
    begun = {**array, "kind": "job_started", "summary": {"count": 100}}
    assert messages.subject(begun) == "train (array 42) has started: 100 jobs"
    assert "more" not in messages.text({**array, "summary": summary | {"more": 0}}, "box").partition("To see")[0]
    assert "Not finished" not in messages.text({**array, "summary": summary | {"failures": []}}, "box")
    assert messages.failure({**ENDED, "array_id": 42, "array_index": 7}) == "42_7: failed: exit code 1, after 12m 5s"
    assert messages.failure({**ENDED, "array_id": 42}) == "42_?: failed: exit code 1, after 12m 5s"


def test_many_messages_become_one() -> None:
    subject, text = messages.digest([(0.0, f"job {number} x") for number in range(500)], "box")
    assert subject == "500 notifications, the last: job 499 x"
    assert "  (200 older ones)\n" in text
    assert text.count(" x\n") == 300
    assert "older" not in messages.digest([(0.0, "a"), (1.0, "b")], "box")[1]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a\nb\n\n\n", ["a", "b"]),
        (b"a\r\n10%\r50%\r100%\r\n", ["a", "100%"]),
        (b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07x\tz", ["red x    z"]),
        (b"\xff\x00\xe2\x80\xae", ["\ufffd\\x00\\u202e"]),
        (b"1\n2\n3\n4\n5\n6", ["3", "4", "5", "6"]),
    ],
)
def test_the_end_of_an_output_is_what_a_person_saw(data: bytes, lines: list[str]) -> None:
    assert plain_text.last_lines(data, 4, whole=True) == lines


def test_half_a_line_is_left_out() -> None:
    assert plain_text.last_lines(b"alf\nwhole\n", 4, whole=False) == ["whole"]
    assert plain_text.last_lines(b"only", 4, whole=False) == ["only"]
    assert plain_text.last_line(b"\n") == ""
    assert plain_text.line("x" * 500).endswith("x...")
