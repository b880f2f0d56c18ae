from __future__ import annotations

import getpass
import json
import os
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gflowd.core.job.records import RESERVATION
from gflowd.core.planning.reservations import Reservation, encode

if TYPE_CHECKING:
    from support.ctl import Ctl

YEAR = datetime.now(UTC).year + 2


def create(ctl: Ctl, *words: str) -> Any:
    return json.loads(ctl.ok("reserve", "create", "--json", *words))


def put(ctl: Ctl, number: int, **fields: Any) -> None:
    """A reservation that was made at another time."""
    told = {"user": "ada", "gpus": 1, "start": 0.0, "duration": 60.0, "created_at": 0.0, "created_by": "ada", **fields}
    with ctl.store.commit() as commit:
        commit.put(RESERVATION, number, encode(Reservation(id=number, **told)))


def status(ctl: Ctl, number: int) -> str:
    return str(json.loads(ctl.ok("reserve", "show", "--json", str(number)))["status"])


@pytest.fixture
def seen(ctl: Ctl) -> Ctl:
    """With a machine of four GPUs that the daemon saw."""
    ctl.observe(capacity={"gpus": 4, "cpus": 4, "memory_mb": 8192})
    return ctl


def test_a_reservation_is_created_listed_shown_and_cancelled(seen: Ctl) -> None:
    words = ("--user", "nobody", "--gpu-list", "0,2-3", "--start", f"{YEAR}-01-31 18:30", "--for", "2h")
    assert seen.ok("reserve", "create", *words) == "Created reservation 1\n"
    assert seen.ok("reserve", "list").splitlines()[1].split() == [
        "1", "nobody", "3", "0,2-3", f"{YEAR}-01-31T18:30:00", f"{YEAR}-01-31T20:30:00", "-", "pending",
    ]  # fmt: skip
    shown = dict(line.split(":", 1) for line in seen.ok("reserve", "show", "1").splitlines())
    assert {key: text.strip() for key, text in shown.items()} | {"Created": ""} == {
        "Id": "1", "User": "nobody", "Status": "pending", "GPUs": "index 0,2-3", "Start": f"{YEAR}-01-31T18:30:00",
        "Duration": "2:00:00", "Next": f"{YEAR}-01-31T18:30:00 to {YEAR}-01-31T20:30:00", "Created": "",
    }  # fmt: skip
    assert seen.ok("reserve", "cancel", "1") == "Cancelled reservation 1\n"
    assert status(seen, 1) == "cancelled"
    assert "Cancelled:" in seen.ok("reserve", "show", "1")
    again = seen.run("reserve", "cancel", "1")
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr == "gflowctl: reservation 1 is already cancelled\n"


def test_json_has_everything(seen: Ctl) -> None:
    made = create(seen, "--gpus", "2", "--start", f"{YEAR}-07-01 9:00", "--for", "8h", "--repeat", "weekly")
    caller = made["created_by"]
    del made["created_at"]
    assert made == {
        "id": 1, "user": caller, "status": "pending", "gpus": 2, "gpu_list": None,
        "start": f"{YEAR}-07-01T09:00:00.000000Z", "duration": 28800.0, "repeat": "weekly",
        "window": {"start": f"{YEAR}-07-01T09:00:00.000000Z", "end": f"{YEAR}-07-01T17:00:00.000000Z"},
        "created_by": caller, "cancelled_at": None,
    }  # fmt: skip
    assert [one["id"] for one in json.loads(seen.ok("reserve", "list", "--json"))] == [1]
    gone = json.loads(seen.ok("reserve", "cancel", "--json", "1"))
    assert (gone["status"], gone["window"]) == ("cancelled", None)


def test_now_is_not_in_the_past(seen: Ctl) -> None:
    assert create(seen, "--gpus", "1", "--start", "now", "--for", "1h")["status"] == "active"


def test_the_list_can_be_narrowed(seen: Ctl) -> None:
    create(seen, "--gpus", "1", "--start", "now", "--for", "1h")
    create(seen, "--gpus", "1", "--start", "now+2h", "--for", "1h", "--user", "nobody")
    put(seen, 3)
    put(seen, 4, cancelled_at=5.0)

    def listed(*words: str) -> list[int]:
        return [one["id"] for one in json.loads(seen.ok("reserve", "list", "--json", *words))]

    assert listed() == [1, 2, 3, 4]
    assert listed("--active") == listed("--status", "active") == [1]
    assert listed("--status", "pending") == [2]
    assert listed("--status", "completed") == [3]
    assert listed("--status", "cancelled", "--user", "ada") == [4]
    assert listed("--user", "nobody") == [2]


@pytest.mark.parametrize(
    ("code", "words", "why"),
    [
        (1, "--gpus 0 --start now --for 1h", "a reservation needs at least one GPU"),
        (1, "--gpus 1 --start now --for 0", "a reservation needs a duration of more than zero"),
        (1, "--gpus 1 --start now-1s --for 1h", "the start is in the past"),
        (1, "--gpus 5 --start now --for 1h", "5 GPUs asked for, but this machine has 4"),
        (1, "--gpu-list 1,4 --start now --for 1h", "there is no GPU 4; this machine has 4 GPUs"),
        (1, "--gpus 1 --start now --for 1h --user no-such", "no user 'no-such' on this machine"),
        (1, "--gpus 1 --start now --for 25h --repeat daily", "a daily reservation cannot last longer than a day"),
        (2, "--gpus 1 --start soon --for 1h", "--start: 'soon' is not an instant"),
        (2, "--gpus x --start now --for 1h", "'x' is not a number"),
        (2, "--gpu-list 2-0 --start now --for 1h", "runs backwards"),
        (2, "--gpu-list 0,0 --start now --for 1h", "index 0 is given twice"),
        (2, "--gpu-list 0-99999999 --start now --for 1h", "goes beyond GPU 1023"),
        (2, "--gpus 1 --gpu-list 1 --start now --for 1h", "not allowed with"),
        (2, "--gpus 1 --start now", "required: --for"),
        (2, "--start now --for 1h", "one of the arguments -g/--gpus --gpu-list is required"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(seen: Ctl, code: int, words: str, why: str) -> None:
    assert why in seen.fails(code, "reserve", "create", *words.split())
    assert not os.path.exists(seen.state.snapshot)


@pytest.mark.parametrize(
    ("code", "words", "why"),
    [
        (1, "show 7", "no reservation 7"),
        (1, "cancel 7", "no reservation 7"),
        (2, "cancel x", "'x' is not a number"),
        (2, "list --range 2d", "--range is for --timeline"),
        (2, "list --timeline --range 1s", "from 10 minutes to five years"),
        (2, "list --timeline --json", "either --timeline or --json"),
        (2, "list --active --status pending", "not allowed with"),
        (2, "", "required: ACTION"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(seen: Ctl, code: int, words: str, why: str) -> None:
    assert why in seen.fails(code, "reserve", *words.split())
    assert not os.path.exists(seen.state.snapshot)


def test_a_conflict_names_the_reservation_and_changes_nothing(seen: Ctl) -> None:
    create(seen, "--gpu-list", "0", "--start", f"{YEAR}-01-31 18:30", "--for", "2h", "--user", "nobody")
    late = ("--start", f"{YEAR}-01-31 20:00", "--for", "1h")
    assert seen.fails(1, "reserve", "create", "--gpu-list", "0,1", *late) == (
        f"GPU 0 is reserved at that time by reservation 1 (nobody, {YEAR}-01-31 18:30 for 2:00:00)"
    )
    assert "reservation 1 (nobody" in seen.fails(1, "reserve", "create", "--gpus", "4", *late)
    assert len(json.loads(seen.ok("reserve", "list", "--json"))) == 1
    assert create(seen, "--gpus", "3", *late)["id"] == 2


def test_before_the_daemon_ever_ran_only_reservations_are_compared(ctl: Ctl) -> None:
    words = ("reserve", "create", "--gpu-list", "900", "--start", "now+1h", "--for", "1h")
    done = ctl.run(*words)
    assert (done.returncode, done.stdout) == (0, "Created reservation 1\n")
    assert "the GPU count is not known yet" in done.stderr
    assert "by reservation 1" in ctl.fails(1, *words)


def test_a_repeating_one_keeps_its_time_of_day_in_the_configured_zone(seen: Ctl) -> None:
    seen.env["GFLOW_TIMEZONE"] = "Europe/Vienna"
    made = create(seen, "--gpus", "1", "--start", f"{YEAR}-07-01 9:00", "--for", "1h", "--repeat", "daily")
    assert made["window"]["start"] == f"{YEAR}-07-01T07:00:00.000000Z"
    assert f"{YEAR}-07-01T09:00:00" in seen.ok("reserve", "list")


def test_ids_go_on_and_what_is_long_over_is_forgotten(seen: Ctl) -> None:
    put(seen, 1)
    put(seen, 2, cancelled_at=5.0, repeat="daily")
    put(seen, 3, repeat="daily", duration=1.0)
    put(seen, 8)
    assert create(seen, "--gpus", "1", "--start", "now", "--for", "1h")["id"] == 9
    assert [one["id"] for one in json.loads(seen.ok("reserve", "list", "--json"))] == [3, 9]
    job_id = seen.submit("true")
    assert job_id == 1, "reservations and jobs have numbers of their own"


def test_the_global_options_go_before_or_after_the_action(seen: Ctl) -> None:
    create(seen, "--gpus", "1", "--start", "now", "--for", "1h")
    elsewhere = str(seen.home / "elsewhere")
    for words in (("--state-dir", elsewhere, "reserve", "list"), ("reserve", "--state-dir", elsewhere, "list"),
                  ("reserve", "list", "--state-dir", elsewhere)):  # fmt: skip
        assert seen.ok(*words).count("\n") == 1
    assert seen.ok("reserve", "list").count("\n") == 2


@pytest.fixture
def busy(seen: Ctl) -> Ctl:
    create(seen, "--gpu-list", "0,1", "--start", "now", "--for", "6h", "--user", "nobody")
    create(seen, "--gpu-list", "1", "--start", "now+12h", "--for", "6h", "--user", "nobody")
    create(seen, "--gpus", "2", "--start", "now+6h", "--for", "6h", "--user", "nobody")
    return seen


def test_the_timeline_is_ascii_when_piped_and_fits_eighty_columns(busy: Ctl) -> None:
    drawn = busy.ok("reserve", "list", "--timeline").splitlines()
    assert all(line.isascii() and len(line) <= 80 for line in drawn)
    assert [line.split("  ")[0].strip() for line in drawn[2:5]] == ["GPU 0", "GPU 1", "3: any 2"]
    assert re.search(r"\[=* 1 nobody =*\]", drawn[2])
    assert re.search(r"\[=* 1 nobody =*\] +\[=* 2 nobody =*\]", drawn[3])
    assert re.search(r"\| +\[=* 3 nobody =*\]", drawn[4])
    now = drawn[5].index("^ now")
    assert drawn[2].index("[") == now == drawn[4].index("|")
    assert re.search(r"\d\d:\d\d +\d\d:\d\d", drawn[1])


def test_each_bar_of_the_timeline_is_painted_at_once(busy: Ctl) -> None:
    drawn = busy.ok("reserve", "list", "--timeline", "--color", "always").splitlines()
    assert re.search(r" \x1b\[32m\[=* 1 nobody =*\]\x1b\[0m +\x1b\[36m\[=* 2 nobody =*\]\x1b\[0m$", drawn[3])


def test_the_timeline_says_whose_each_reservation_is_and_what_its_signs_mean(busy: Ctl) -> None:
    create(busy, "--gpu-list", "0", "--start", "now+18h", "--for", "5m", "--repeat", "daily")
    drawn = busy.ok("reserve", "list", "--timeline").splitlines()
    assert drawn[7:9] == ["[=] reserved   # reserved briefly", ""]
    rows = [re.split("  +", line.strip()) for line in drawn[9:]]
    assert [row[:3] for row in rows] == [
        ["ID", "USER", "GPUS", "WINDOW"][:3], ["1", "nobody", "0-1"], ["2", "nobody", "1"], ["3", "nobody", "any 2"],
        ["4", getpass.getuser(), "0"],
    ]  # fmt: skip
    assert re.fullmatch(r"(\w{3} )?\d\d:\d\d to (\w{3} )?\d\d:\d\d, daily", rows[4][3])
    shown = busy.on_a_terminal("reserve", "list", "--timeline", columns=80)[0]
    assert re.search("\x1b\\[2m▐█▌\x1b\\[0m past +\x1b\\[32m▐█▌\x1b\\[0m now +\x1b\\[36m▐█▌\x1b\\[0m coming", shown)


def test_the_list_has_short_times_on_a_terminal(busy: Ctl) -> None:
    shown = busy.on_a_terminal("reserve", "list", columns=80, env={"NO_COLOR": "1"})[0].splitlines()
    assert re.search(r" 0-1 +(\w{3} )?\d\d:\d\d +(\w{3} )?\d\d:\d\d +- +active", shown[1])
    assert re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", busy.ok("reserve", "list"))


def test_what_is_over_of_a_window_is_dim(seen: Ctl) -> None:
    create(seen, "--gpu-list", "0", "--start", "now", "--for", "2h", "--user", "nobody")
    with seen.store.commit() as commit:
        raw = commit.fold().of("reservation")[1]
        commit.put("reservation", 1, {**raw, "start": raw["start"] - 900})
    drawn = seen.ok("reserve", "list", "--timeline", "--range", "6h", "--color", "always").splitlines()
    assert re.search("\x1b\\[2m\\[[^\x1b]*\x1b\\[0m\x1b\\[32m[^\x1b]*\\]\x1b\\[0m", drawn[2])
    assert re.match(r"\d\d:\d\d to |\d{4}-\d\d-\d\d \d\d:\d\d to ", drawn[0])


def test_the_range_of_the_timeline_can_be_chosen(busy: Ctl) -> None:
    drawn = busy.ok("reserve", "list", "--timeline", "--range", "30m").splitlines()
    assert drawn[5] == "", "only what is in the picture is drawn and explained"
    assert [line.split()[:2] for line in drawn[8:]] == [["ID", "USER"], ["1", "nobody"]]
    assert "=]" not in drawn[2]
    assert drawn[2].endswith("=" * 20), "it goes on beyond the picture"
    days = busy.ok("reserve", "list", "--timeline", "--range", "30d").splitlines()
    assert re.search(r"\d\d-\d\d +\d\d-\d\d", days[1])
    assert "#" in days[2]


def test_a_window_of_years_is_drawn_at_once_with_its_text_in_sight(seen: Ctl) -> None:
    create(seen, "--gpus", "1", "--start", "now", "--for", "1800d", "--user", "nobody")
    drawn = seen.ok("reserve", "list", "--timeline", "--range", "10m").splitlines()
    assert re.search(r" \[=+ 1 nobody =+$", drawn[2])


def test_the_axis_is_of_the_wall_where_clocks_change(seen: Ctl) -> None:
    seen.env["GFLOW_TIMEZONE"] = "Europe/Vienna"
    tomorrow = datetime.now(UTC) + timedelta(days=200)
    create(seen, "--gpus", "1", "--start", f"{tomorrow:%Y-%m-%d} 9:00", "--for", "1h")
    axis = seen.ok("reserve", "list", "--timeline", "--range", "300d").splitlines()[1]
    assert re.fullmatch(r" *(\d\d-\d\d *)+", axis)


def test_an_empty_timeline_says_so(seen: Ctl) -> None:
    assert "nothing is reserved" in seen.ok("reserve", "list", "--timeline")


def test_the_timeline_has_block_characters_on_a_terminal(busy: Ctl) -> None:
    shown, status = busy.on_a_terminal("reserve", "list", "--timeline", columns=80, env={"NO_COLOR": "1"})
    assert status == 0
    lines = shown.splitlines()
    assert re.search("▐█* 1 nobody █*▌", lines[2])
    assert "▲ now" in lines[5]
    assert max(map(len, lines)) <= 80
