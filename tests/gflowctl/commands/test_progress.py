"""`gflowctl progress` in a job, and what `queue` and `show` tell of it, whatever a job puts into its directory."""

from __future__ import annotations

import json
import os
import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from support import elapsed
from support.imports import TOO_DEAR_FOR_SUBMIT, imported

from gflowctl.output.render import rfc3339
from gflowd.core.job.model import Identity, Pauses, Run, Running, Started, Suspended
from gflowd.effects.daemon import boot_id

if TYPE_CHECKING:
    from pathlib import Path

    from support.ctl import Ctl

BAR = "\r 45%|████▌     | 450/1000 [00:58<01:11,  7.50it/s]"
FIELDS = ("progress", "progress_text", "progress_at", "progress_source", "expected_end")
NOTHING = dict.fromkeys(FIELDS)
PLAIN = {"NO_COLOR": "1"}


@pytest.fixture
def place(ctl: Ctl) -> Path:
    """The directory of the first attempt of a job that has run for 100 s; its time limit is an hour."""
    ctl.submit("--time", "1h", "--name", "train", "true")
    return ctl.run_job(1, since=100).parent


def report(ctl: Ctl, *words: str, job: str = "1", attempt: str = "1") -> None:
    env = ctl.env | {"GFLOW_JOB_ID": job, "GFLOW_ATTEMPT": attempt}
    assert ctl.ok("progress", *words, env=env) == ""


def told(ctl: Ctl, *words: str) -> dict[str, Any]:
    (job,) = ctl.jobs(*words or ("1",))
    return {name: job[name] for name in FIELDS}


def shown(ctl: Ctl, *words: str) -> dict[str, str]:
    return {key: text.strip() for key, _, text in (line.partition(":") for line in ctl.ok("show", *words).splitlines())}


def test_a_report_is_one_private_file_and_the_last_one_counts(ctl: Ctl, place: Path) -> None:
    assert told(ctl) == NOTHING
    report(ctl, "1/3")
    report(ctl, "40%", "epoch 4/10,", "loss\n0.3", "\x1b[31m")
    assert (place / "progress").read_text() == "0.4 epoch 4/10, loss 0.3 ?[31m\n"
    assert (place / "progress").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in place.iterdir()] == ["progress"]
    found = told(ctl)
    assert (found["progress"], found["progress_text"], found["progress_source"]) == (
        0.4, "epoch 4/10, loss 0.3 ?[31m", "job",
    )  # fmt: skip
    assert found["progress_at"] == rfc3339((place / "progress").stat().st_mtime)


def test_nonsense_and_a_shell_without_a_job_are_refused(ctl: Ctl, place: Path) -> None:
    inside = ctl.env | {"GFLOW_JOB_ID": "1", "GFLOW_ATTEMPT": "1"}
    for word in ("", "x", "40", "-1", "4/3", "nan"):
        ctl.fails(2, "progress", word, env=inside)
    assert "'x' is not a part of a whole (such as 0.4, 40% or 4/10)" in ctl.fails(2, "progress", "x", env=inside)
    assert "from within a job" in ctl.fails(1, "progress", "0.4")
    assert "from within a job" in ctl.fails(1, "progress", "0.4", env={**inside, "GFLOW_JOB_ID": "../1"})
    assert "job 7 has no directory in" in ctl.fails(1, "progress", "0.4", env={**inside, "GFLOW_JOB_ID": "7"})
    (place / "progress").mkdir()
    assert "Is a directory" in ctl.fails(3, "progress", "0.4", env=inside)
    assert [each.name for each in place.iterdir()] == ["progress"]
    assert told(ctl) == NOTHING


def test_a_report_costs_as_little_as_can_be(ctl: Ctl, place: Path) -> None:
    ctl.env |= {"GFLOW_JOB_ID": "1", "GFLOW_ATTEMPT": "1"}
    found = imported(ctl, "progress", "0.4", "epoch", "4")
    assert place.joinpath("progress").exists()
    assert not found & TOO_DEAR_FOR_SUBMIT
    assert len({name for name in found if name.startswith("gflow")}) <= 27, sorted(found)


def test_the_end_is_expected_by_the_pace(ctl: Ctl, place: Path) -> None:
    (place / "progress").write_text("4/10\n")
    (job,) = ctl.jobs("1")
    assert job["progress_text"] == ""
    at = (place / "progress").stat().st_mtime
    began, ends = (datetime.fromisoformat(job[name]).timestamp() for name in ("started_at", "expected_end"))
    assert ends == pytest.approx(at + (at - began) * 6 / 4, abs=0.01)
    os.utime(place / "progress", (0, time.time() - 99))
    assert (told(ctl)["progress"], told(ctl)["expected_end"]) == (0.4, None)
    assert shown(ctl, "1")["Expected end"] == "not known: nothing new for too long"
    (place / "progress").write_text("1%\n")
    assert shown(ctl, "1")["Expected end"] == "not known: too early to tell"
    (place / "progress").write_text("2% x\n")
    assert shown(ctl, "1")["Expected end"].endswith(", which is after its time limit")
    asked, at = time.time(), (place / "progress").stat().st_mtime
    reported = re.fullmatch(r"2%, x \(reported (\S+) ago\)", shown(ctl, "1")["Progress"])
    assert reported is not None
    assert elapsed.is_told(reported[1], since=at, asked=asked)


def test_suspensions_do_not_count(ctl: Ctl) -> None:
    ctl.submit("true")
    log, now, mono = ctl.run_job(1), time.time(), time.monotonic()
    (log.parent / "progress").write_text("0.5")
    os.utime(log.parent / "progress", (0, now - 110))
    began = Started(at=now - 210, mono=mono - 210, identity=Identity(boot_id(), 4242, 7))
    run = Run(executor="process", launched_at=now - 210)
    ctl.set_phase(1, Running(run=run, started=began, pauses=Pauses(count=1, seconds=100.0, last_mono=mono - 10)))
    assert datetime.fromisoformat(told(ctl)["expected_end"]).timestamp() == pytest.approx(now + 90, abs=0.1)
    still = Suspended(run=run, started=began, since_at=now, since_mono=mono, since_boot=boot_id())
    ctl.set_phase(1, still)
    assert (told(ctl)["progress"], told(ctl)["expected_end"]) == (0.5, None)
    assert "it is suspended" in shown(ctl, "1")["Progress"]


def test_what_a_job_puts_in_the_way_harms_nobody(ctl: Ctl, place: Path) -> None:
    path, secret = place / "progress", ctl.home / "secret"
    secret.write_text("0.5 of another\n")
    for make in (
        lambda: path.symlink_to(secret),
        lambda: path.symlink_to("/dev/zero"),
        lambda: os.mkfifo(path),
        lambda: path.write_bytes(os.urandom(1 << 16)),
        lambda: path.write_bytes(b"0.4" + b"x" * (1 << 20)),
        path.touch,
    ):
        make()
        assert told(ctl) == NOTHING
        assert "Progress" not in shown(ctl, "1")
        report(ctl, "0.4")
        assert told(ctl)["progress"] == 0.4
        path.unlink()
    assert secret.read_text() == "0.5 of another\n"
    path.write_bytes(b"0.4 \x1b]0;title\x07" + "\u202e".encode())
    assert ctl.ok("queue", "-f", "PROGRESS").splitlines()[1] == "40% ?]0;title??"


@pytest.mark.parametrize("at", [-(10**12), -1, 10**10, 10**12, 4 * 10**17])
def test_a_report_of_another_age_of_the_world_harms_nobody(ctl: Ctl, place: Path, at: int) -> None:
    report(ctl, "40%")
    os.utime(place / "progress", (at, at))
    assert told(ctl)["progress"] == 0.4
    assert shown(ctl, "1")["Progress"].startswith("40%")
    assert "40%" in ctl.ok("queue", "-f", "PROGRESS")


def test_each_attempt_has_its_own_and_what_an_ended_one_said_is_kept(ctl: Ctl, place: Path) -> None:
    report(ctl, "0.4", "epoch 4")
    ctl.end_job(1, "failed", exit_code=1)
    assert told(ctl) == NOTHING, "a list of ended jobs looks at no files"
    assert shown(ctl, "1")["Progress"] == "40%, epoch 4 (its last report)"
    assert "Expected end" not in shown(ctl, "1")
    (job,) = json.loads(ctl.ok("show", "--json", "1"))
    assert (job["progress"], job["expected_end"]) == (0.4, None)
    began = time.time() - 60
    again = Run(executor="process", launched_at=began, attempt=2)
    ctl.set_phase(1, Running(run=again, started=Started(at=began, mono=1.0, identity=Identity("b", 1, 1))))
    assert told(ctl) == NOTHING
    (place.parent / "2").mkdir()
    report(ctl, "0.1", attempt="2")
    assert told(ctl)["progress"] == 0.1
    assert shown(ctl, "1")["Progress"].startswith("10% (")


def test_the_last_bar_of_tqdm_in_a_log_counts_while_a_job_says_nothing(ctl: Ctl, place: Path) -> None:
    (place / "log").write_text("x" * 5000 + f"\n{BAR}")
    found = told(ctl)
    assert (found["progress"], found["progress_text"], found["progress_source"], found["expected_end"]) == (
        0.45, "450/1000", "bar", None,
    )  # fmt: skip
    assert shown(ctl, "1")["Expected end"] == "not known: the bar does not count the whole job"
    began = datetime.fromisoformat(ctl.jobs("1")[0]["started_at"]).timestamp()
    minutes, seconds = divmod(int(time.time() - began), 60)
    (place / "log").write_text(BAR.replace("00:58", f"{minutes:02}:{seconds:02}"))
    assert told(ctl)["expected_end"] is not None
    assert "the progress bar in its log" in shown(ctl, "1")["Progress"]
    report(ctl, "0.4")
    assert told(ctl)["progress"] == 0.4
    (place / "progress").unlink()
    (place / "log").unlink()
    (place / "log").symlink_to(ctl.home / "elsewhere")
    (ctl.home / "elsewhere").write_text(BAR)
    assert told(ctl) == NOTHING
    (place / "log").unlink()
    os.mkfifo(place / "log")
    assert told(ctl) == NOTHING


def test_a_list_has_the_columns_on_demand_and_on_a_terminal_with_room(ctl: Ctl, place: Path) -> None:
    ctl.submit("true")
    (place / "progress").write_text("4/10 epoch 4/10, loss 0.312\n")
    piped = ctl.ok("queue")
    assert "PROGRESS" not in piped
    rows = [line.split() for line in ctl.ok("queue", "-f", "JOBID,PROGRESS", "--sort", "-PROGRESS").splitlines()]
    assert rows == [["JOBID", "PROGRESS"], ["1", "40%", "epoch", "4/10,", "loss", "0.312"], ["2", "-"]]
    ends = ctl.ok("queue", "-f", "END").splitlines()
    assert ends[1].startswith("~20")
    assert ends[2] == "N/A"
    assert ctl.ok("queue", "--csv", "-f", "JOBID,PROGRESS,END").splitlines() == [
        "JOBID,PROGRESS,END", "1,0.4,", "2,,",
    ]  # fmt: skip
    wide, _ = ctl.on_a_terminal("queue", columns=120, env=PLAIN)
    head, row = (line.rstrip() for line in wide.splitlines()[:2])
    assert head.split()[-2:] == ["PROGRESS", "END"]
    assert "40% epoch 4/10, loss 0.312" in row
    narrow, _ = ctl.on_a_terminal("queue", columns=60, env=PLAIN)
    assert "PROGRESS" not in narrow
    assert all(len(line.rstrip()) <= 60 for line in narrow.splitlines())
    (place / "progress").unlink()
    assert "PROGRESS" not in ctl.on_a_terminal("queue", columns=120, env=PLAIN)[0]


def test_an_array_tells_of_those_that_run(ctl: Ctl) -> None:
    ctl.ok("submit", "--array", "1-4", "true")
    places = [ctl.run_job(number, since=100).parent for number in (1, 2, 3)]
    assert "Progress" not in shown(ctl, "1")
    for place, part in zip(places, ("0.2", "60%", "what"), strict=True):
        (place / "progress").write_text(part)
    assert shown(ctl, "1")["Progress"] == "20% to 60% (2 of 3 running jobs)"
    assert "Expected end" not in shown(ctl, "1")
    (places[2] / "progress").write_text("0.3")
    assert shown(ctl, "1")["Expected end"].endswith(" (of those running)")
    assert shown(ctl, "1_2")["Progress"].startswith("60% (reported")
