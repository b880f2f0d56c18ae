"""What `info` shows of GPUs: who is on them, and for whom they are reserved now and next."""

from __future__ import annotations

import json
import time
from datetime import UTC
from typing import TYPE_CHECKING, Any

import pytest

from gflowctl.machine import reservations
from gflowctl.output import render
from gflowd.core.job.records import RESERVATION
from gflowd.core.planning.reservations import Reservation, encode
from gflowd.core.syntax.clocks import Clock

CLOCK = Clock(UTC)

if TYPE_CHECKING:
    from support.ctl import Ctl


def gpu(index: int, **of: Any) -> dict[str, Any]:
    told = {
        "index": index, "uuid": f"GPU-{index}", "model": "NVIDIA H100 80GB HBM3", "memory_mb": 81920, "used_mb": 71680,
        "utilisation": 93, "temperature": 71, "state": "busy", "cause": None, "jobs": [], "processes": [],
    }  # fmt: skip
    return {**told, **of}


def stranger(pid: int, user: str) -> dict[str, Any]:
    return {"pid": pid, "user": user, "job_id": None, "start": 1, "memory_mb": 5}


def put(ctl: Ctl, number: int, **fields: Any) -> None:
    """A reservation, whenever it is."""
    told = {"user": "ada", "duration": 7200.0, "created_at": 0.0, "created_by": "ada", **fields}
    with ctl.store.commit() as commit:
        commit.put(RESERVATION, number, encode(Reservation(id=number, **told)))


@pytest.fixture
def crowded(ctl: Ctl) -> Ctl:
    """Long names, long states, several on one GPU, and reservations of each kind."""
    now = time.time()
    ctl.observe(
        gpus=[
            gpu(0, jobs=[12]),
            gpu(1, state="unmanaged", processes=[stranger(4711, "ada"), stranger(4712, "maximilian")]),
            gpu(2, model="NVIDIA H100 80GB HBM3 MIG 1g.10gb", state="reserved", cause="for ada"),
        ],
        reasons={"12": "IdleGpus"},
    )
    put(ctl, 1, gpu_list=(0, 2), start=now - 60)
    put(ctl, 2, gpu_list=(2,), start=now + 40 * 86400, user="bob")
    put(ctl, 3, gpus=2, start=now + 40 * 86400, user="carol")
    put(ctl, 4, gpu_list=(0,), start=now - 9000, user="over")
    return ctl


def test_each_gpu_tells_for_whom_it_is_reserved_now_and_next(crowded: Ctl) -> None:
    lines = crowded.ok("info").splitlines()
    assert lines[0].split()[-3:] == ["USED", "BY", "RESERVED"]
    place = lines[0].index("RESERVED")
    cells = [line[place:] for line in lines[1:4]]
    at = json.loads(crowded.ok("info", "--json"))["gpus"][2]["reservation"]
    assert cells[0].startswith("ada until ")
    assert "," not in cells[0]
    assert cells[1] == "-"
    assert cells[2] == f"{cells[0]}, bob from {at['next']['start'][:10]} {at['next']['start'][11:16]}"
    assert (at["now"]["id"], at["now"]["user"], at["next"]["id"], at["next"]["gpu_list"]) == (1, "ada", 2, [2])
    assert "\n".join(lines).isascii()


def test_a_reservation_of_any_gpus_is_told_below(crowded: Ctl) -> None:
    said = [line for line in crowded.ok("info").splitlines() if line.startswith("Reserved:")]
    assert len(said) == 1
    assert said[0].startswith("Reserved: any 2 GPUs for carol from 20")
    assert said[0].endswith(" (3)")
    told = json.loads(crowded.ok("info", "--json"))
    assert [window["id"] for window in told["reservations"]] == [1, 2, 3]
    assert told["reservations"][0]["end"].endswith("Z")
    assert told["gpus"][1]["reservation"] == {"now": None, "next": None}


def test_where_no_gpu_is_known_every_reservation_is_told(ctl: Ctl) -> None:
    ctl.state.prepare()
    put(ctl, 1, gpu_list=(0, 1, 2, 5), start=time.time() - 1)
    ctl.observe(gpus=[], gpu_trouble="no driver", capacity={"gpus": None, "cpus": 4, "memory_mb": 1})
    assert "Reserved: GPU 0-2,5 for ada until " in ctl.ok("info")
    ctl.observe(gpus=[gpu(9)])
    shown = ctl.ok("info")
    assert "Reserved: GPU 0-2,5 for ada until " in shown
    assert "RESERVED" not in shown


def test_without_a_reservation_there_is_no_column(ctl: Ctl) -> None:
    ctl.observe(gpus=[gpu(0)])
    put(ctl, 1, gpu_list=(0,), start=time.time() - 9000)
    put(ctl, 2, gpu_list=(0,), start=time.time() + 60, cancelled_at=1.0)
    shown = ctl.ok("info")
    assert shown.splitlines()[0].endswith("USED BY")
    assert "eserved" not in shown


def test_what_is_cancelled_is_gone_though_the_daemon_is_down(crowded: Ctl) -> None:
    crowded.ok("reserve", "cancel", "1")
    assert "ada until" not in crowded.ok("info")


def test_a_job_that_leaves_its_gpus_idle_is_marked(crowded: Ctl) -> None:
    assert "  job 12 (IdleGpus)  " in crowded.ok("info")
    told = json.loads(crowded.ok("info", "--json"))["gpus"]
    assert [one["idle_jobs"] for one in told] == [[12], [], []]


def drawn(ctl: Ctl, columns: int) -> list[str]:
    """The lines of `info` on a terminal as wide as that."""
    shown, status = ctl.on_a_terminal("info", columns=columns, env={"NO_COLOR": "1"})
    assert status == 0
    return shown.splitlines()


@pytest.mark.parametrize("columns", [80, 100, 130])
def test_it_fits_the_terminal_and_loses_no_word(crowded: Ctl, columns: int) -> None:
    lines = drawn(crowded, columns)
    assert max(map(render.width, lines)) <= columns
    starts = [lines[0].index(title) for title in ("MODEL", "USED BY", "RESERVED")]
    table = lines[1 : next(place for place, line in enumerate(lines) if not line)]
    mig, who, whom = (" ".join(" ".join(line[start:].split("  ")[0] for line in table).split()) for start in starts)
    assert "H100 80GB HBM3 MIG 1g.10gb" in mig
    assert "pid 4711 of ada, pid 4712 of maximilian" in who
    assert "ada until" in whom
    assert "bob from 20" in whom
    assert "+" not in "".join(table)


def test_on_a_wide_terminal_each_gpu_has_one_line(crowded: Ctl) -> None:
    lines = drawn(crowded, 200)
    assert lines[4] == ""
    assert lines[2].split("  ")[0:3] == ["", "1", "NVIDIA H100 80GB HBM3"]
    assert "█" in lines[1]


def test_a_cell_is_wrapped_after_commas_else_between_words_else_cut() -> None:
    said = "pid 4711 of ada, pid 12 of bob"
    assert render.wrap(said, 30) == [said]
    assert render.wrap(said, 18) == ["pid 4711 of ada,", "pid 12 of bob"]
    assert render.wrap(said, 9) == ["pid 4711", "of ada,", "pid 12 of", "bob"]
    assert render.wrap("maximilian", 8) == ["maximil+"]
    assert render.wrap("", 8) == [""]


def test_one_that_repeats_follows_itself() -> None:
    daily = Reservation(
        id=1, user="ada", gpu_list=(0, 1), start=0.0, duration=60.0, repeat="daily", created_at=0.0, created_by="ada"
    )
    once = Reservation(id=2, user="bob", gpu_list=(1,), start=600.0, duration=60.0, created_at=0.0, created_by="bob")
    kept = reservations.by_gpu([daily, once], 30.0, UTC)
    assert {
        index: [None if window is None else (window.user, window.start) for window in both]
        for index, both in kept.items()
    } == {0: [("ada", 0.0), ("ada", 86400.0)], 1: [("ada", 0.0), ("bob", 600.0)]}
    assert reservations.brief(*kept[1], 30.0, CLOCK) == "ada until 00:01, bob from 00:10"
    later = reservations.by_gpu([daily, once], 700.0, UTC)
    assert reservations.brief(*later[1], 700.0, CLOCK) == "ada from Fri 00:00"


def test_it_counts_jobs_and_busy_gpus(ctl: Ctl) -> None:
    ctl.ok("submit", "--array", "1-4", "true")
    ctl.submit("--hold", "true")
    ctl.run_job(2, gpu_ids=(0,))
    ctl.end_job(1)
    ctl.observe(gpus=[gpu(0, jobs=[2]), gpu(1, state="unmanaged"), gpu(2, state="idle"), gpu(3, state="drained")])
    assert "Jobs:     1 running, 2 queued, 1 held; 2 of 4 GPUs busy\n" in ctl.ok("info")
    told = json.loads(ctl.ok("info", "--json"))
    assert (told["jobs"]["queued"], told["jobs"]["running"], told["jobs"]["held"], told["busy_gpus"]) == (2, 1, 1, 2)


def test_it_fits_eighty_columns_however_long_its_words_are(ctl: Ctl) -> None:
    now, long = time.time(), "maximilian-von-und-zu-hohenstein"
    ctl.observe(
        gpus=[
            gpu(0, state="unmanaged", model="NVIDIA Supercalifragilistic-80GB", simulated=True, memory_mb=1 << 20,
                used_mb=71680, processes=[stranger(4711, long), stranger(4712, long)], utilisation=100),
            gpu(1, state="faulty", cause="Xid 79: GPU has fallen off the bus " * 4, lasting=True, answers=True),
        ],
        trouble="the disk is full " * 8,
        config={"gpu_allow": [0], "gpu_allow_by": "/home/" + "very-" * 30 + "long/gflow.toml"},
    )  # fmt: skip
    put(ctl, 1, gpu_list=(0,), start=now - 60, user=long)
    put(ctl, 2, gpus=2, start=now + 40 * 86400, user=f"{long}-{long}")
    ctl.ok("drain", "--reason", "because of very many reasons " * 5)
    lines = drawn(ctl, 80)
    assert max(map(render.width, lines)) <= 80, "\n".join(lines)
    assert "MEMORY" not in lines[0]
    text = "".join("".join(lines).split())
    for word in ("/home/" + "very-" * 30 + "long/gflow.toml", "because of very many reasons " * 5, f"{long}-{long}"):
        assert "".join(word.split()) in text
    assert "MEMORY" in drawn(ctl, 160)[0]
