from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stage import BOOT, NOTHING_POSTED, Jobs, live, now, slots_of
from support.waiting import eventually

from gflowd.core.gpu.admin_state import Resumed
from gflowd.core.gpu.device import Gpu, GpuProcess
from gflowd.core.gpu.faults import DriverFailed
from gflowd.core.gpu.mean_load import Load
from gflowd.core.gpu.report import GpuReport
from gflowd.core.job.model import Identity
from gflowd.effects.gpu.simulated import Simulated
from gflowd.effects.kernel import processes
from gflowd.workers import gpu_poller
from gflowd.workers.base import Turn, Wiring
from gflowd.workers.board_slots import GPU_POLLER, Post, Slots
from gflowd.workers.gpu_poller import GpuPoller

GPU = Gpu(index=0, uuid="GPU-1", model="M", memory_mb=100)


class Card:
    """A driver of one GPU that is as the test says."""

    def __init__(self) -> None:
        self.polls = 0
        self.gpu = GPU
        self.trouble: str | None = None

    def poll(self) -> tuple[Gpu, ...]:
        self.polls += 1
        if self.trouble is not None:
            raise DriverFailed(self.trouble)
        return (self.gpu,)

    def close(self) -> None:
        pass


@pytest.fixture
def card() -> Card:
    return Card()


@pytest.fixture
def poller(card: Card, wiring: Wiring) -> GpuPoller:
    """On an interval of 10 s; it has had its first tick."""
    made = GpuPoller(card, replace(wiring, config=replace(wiring.config, poll_interval=10.0)))
    assert made.tick(now(mono=100.0), NOTHING_POSTED).wake_at == 100.0
    assert card.polls == 0, "a driver that hangs must not keep the daemon from starting"
    return made


def tick(poller: GpuPoller, mono: float, **slot: object) -> Turn:
    return poller.tick(now(mono=mono), slots_of(**slot))  # type: ignore[arg-type]


def told(turn: Turn) -> GpuReport:
    assert isinstance(turn.detail, GpuReport)
    return turn.detail


def seen(turn: Turn) -> Gpu:
    gpus = told(turn).gpus
    assert gpus is not None
    return gpus[0]


def test_it_looks_at_once_and_then_on_the_interval(poller: GpuPoller, card: Card) -> None:
    assert tick(poller, 100.0).wake_at == 110.0
    assert tick(poller, 109.9).wake_at == 110.0
    assert card.polls == 1
    assert tick(poller, 110.0).wake_at == 120.0
    assert card.polls == 2


def test_what_the_scheduler_wants_to_know_is_looked_at_anew_once(poller: GpuPoller, card: Card) -> None:
    tick(poller, 100.0)
    assert tick(poller, 101.0, poll_after=100.5).decision.answered == 101.0
    assert card.polls == 2
    assert tick(poller, 102.0, poll_after=100.5).decision.answered == 101.0
    assert card.polls == 2


def test_a_look_begun_before_the_wish_does_not_answer_it(poller: GpuPoller) -> None:
    tick(poller, 100.0)
    assert tick(poller, 103.0, poll_after=102.0).decision.answered > 102.0


def test_only_what_matters_for_giving_a_gpu_away_is_a_decision(poller: GpuPoller, card: Card) -> None:
    first = tick(poller, 100.0)
    card.gpu = GPU.replace(utilisation=9, temperature=70, used_mb=50)
    warm = tick(poller, 110.0)
    assert warm.decision == first.decision
    assert warm.detail != first.detail
    card.gpu = GPU.replace(processes=(GpuProcess(pid=1 << 30, graphics=True),))
    assert replace(tick(poller, 115.0, poll_after=114.0).decision, answered=first.decision.answered) == first.decision
    card.gpu = GPU.replace(processes=(GpuProcess(pid=1 << 30),))
    used = tick(poller, 120.0)
    assert used.decision != warm.decision
    card.gpu = GPU.replace(fault="lost")
    assert tick(poller, 130.0).decision not in (used.decision, warm.decision)
    for number, hidden in enumerate((GPU.replace(utilisation=99), GPU.replace(used_mb=700))):
        card.gpu = hidden
        assert tick(poller, 140.0 + 10 * number).decision != warm.decision


def test_a_driver_that_fails_is_tried_more_and_more_rarely_and_answers_no_wish(
    poller: GpuPoller, card: Card, wiring: Wiring
) -> None:
    tick(poller, 100.0)
    card.trouble = "no driver"
    turn = tick(poller, 110.0)
    assert turn.decision.trouble == "no driver"
    assert (seen(turn).fault, seen(turn).answers) == ("no driver", False)
    waits, mono = [], 110.0
    for _ in range(8):
        assert tick(poller, mono + 1, poll_after=mono).decision.answered < 110.0
        assert turn.wake_at is not None
        waits.append(turn.wake_at - mono)
        mono = turn.wake_at
        turn = tick(poller, mono)
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]
    assert card.polls == 2 + len(waits)
    card.trouble = None
    assert turn.wake_at is not None
    back = tick(poller, turn.wake_at)
    assert (back.decision.trouble, seen(back).fault) == (None, None)


@pytest.mark.parametrize("trouble", [None, "no driver"])
def test_until_its_first_look_a_poller_says_what_the_one_before_it_has_said(
    poller: GpuPoller, card: Card, wiring: Wiring, trouble: str | None
) -> None:
    tick(poller, 100.0)
    card.trouble = trouble
    last = tick(poller, 110.0)
    successor = GpuPoller(card, wiring)
    said = successor.tick(now(mono=111.0), Slots({GPU_POLLER: Post(last.decision, last.detail)}))
    assert (said.decision, said.detail, said.wake_at, card.polls) == (last.decision, last.detail, 111.0, 2)
    card.gpu, card.trouble = GPU.replace(used_mb=7), None
    assert seen(tick(successor, 111.0)) == card.gpu
    asked = GpuPoller(card, wiring).tick(
        now(mono=112.0), Slots({**slots_of(poll_after=111.5).posts, GPU_POLLER: Post(said.decision, said.detail)})
    )
    assert told(asked).answered < 111.5, "what was said before the wish does not answer it"


def test_what_was_seen_long_ago_or_of_simulated_gpus_is_not_said_again(
    poller: GpuPoller, card: Card, wiring: Wiring
) -> None:
    """As where a driver kills each poller that looks."""
    last = tick(poller, 100.0)
    posted = Slots({GPU_POLLER: Post(last.decision, last.detail)})
    end = 100.0 + wiring.config.poll_interval + gpu_poller.KEPT
    assert told(GpuPoller(card, wiring).tick(now(mono=end), posted)).gpus == (GPU,)
    assert told(GpuPoller(card, wiring).tick(now(mono=end + 1), posted)).gpus is None
    drawn = Slots({GPU_POLLER: Post(None, replace(told(last), gpus=(GPU.replace(simulated=True),)))})
    assert told(GpuPoller(card, wiring).tick(now(mono=101.0), drawn)).gpus is None


def test_simulated_gpus_are_known_at_once(wiring: Wiring) -> None:
    other = Slots({GPU_POLLER: Post(None, GpuReport(begun=99.0, gpus=(GPU,)))})
    found = told(GpuPoller(Simulated(3, 100), wiring).tick(now(mono=100.0), other)).gpus
    assert found is not None
    assert [gpu.simulated for gpu in found] == [True] * 3


def test_before_the_driver_has_ever_answered_the_gpus_are_unknown(poller: GpuPoller, card: Card) -> None:
    card.trouble = "no driver"
    assert told(tick(poller, 100.0)).gpus is None


def test_one_that_was_lost_stays_faulty_until_it_is_resumed(poller: GpuPoller, card: Card) -> None:
    card.gpu = GPU.replace(fault="lost", lasting=True, answers=False)
    assert seen(tick(poller, 100.0)).fault == "lost"
    card.gpu = GPU
    assert (seen(tick(poller, 110.0)).fault, seen(tick(poller, 110.0)).answers) == ("lost", True)
    resumed = slots_of(resumed=(Resumed("GPU-1", 5.0, 0),))
    assert seen(poller.tick(now(mono=111.0), resumed)).fault is None
    assert card.polls == 3
    assert poller.tick(now(mono=112.0), resumed).detail.begun == 111.0, "and not again and again"


def test_the_next_poller_knows_what_was_lost(poller: GpuPoller, card: Card, wiring: Wiring) -> None:
    card.gpu = GPU.replace(fault="lost", lasting=True, answers=False)
    tick(poller, 100.0)
    card.trouble = "no driver"
    turn = tick(poller, 110.0)
    following = Card()
    made = GpuPoller(following, wiring)
    made.tick(now(mono=120.0), Slots({GPU_POLLER: turn.post}))
    assert (seen(tick(made, 120.0)).fault, seen(tick(made, 120.0)).answers) == ("lost", True)
    resumed = slots_of(resumed=(Resumed("GPU-1", 5.0, 0),))
    assert seen(made.tick(now(mono=121.0), resumed)).fault is None


def test_the_processes_of_jobs_are_known_and_all_others_foreign(
    poller: GpuPoller, card: Card, jobs: Jobs, wiring: Wiring
) -> None:
    poller._wiring = replace(wiring, supervisor=1 << 30)
    leader = jobs.start(1, "setsid sh -c 'echo $$ >stray; sleep 60' & echo $$ >child; sleep 60")
    other = jobs.start(2, "sleep 60")
    child, stray = (_told(jobs.directory(1) / name) for name in ("child", "stray"))
    mine = subprocess.Popen(["sleep", "60"])
    pids = [child, stray, leader.pid, other.pid, mine.pid, 1 << 30]
    card.gpu = GPU.replace(processes=tuple(GpuProcess(pid=pid, memory_mb=pid) for pid in pids))
    found = seen(tick(poller, 100.0)).processes
    assert {process.job_id for process in found} == {None}
    turn = poller.tick(now(mono=110.0), slots_of(live(1, leader), live(2)))
    mine.send_signal(signal.SIGKILL)
    mine.wait()
    assert [process.job_id for process in seen(turn).processes] == [1, 1, 1, None, None, None]
    assert [process.memory_mb for process in found] == pids
    assert found[4].user == processes.user(os.getpid()) != "?"
    assert (found[0].start, found[5].start, found[5].user) == (_start(child), 0, "?")


class Groups:
    """Control groups: the attempts of their members."""

    def __init__(self, members: dict[int, tuple[int, int]]) -> None:
        self.members = members

    def key_of(self, pid: int) -> tuple[int, int] | None:
        return self.members.get(pid)


def test_of_many_users_a_process_is_of_the_job_in_whose_group_it_is(card: Card, jobs: Jobs, wiring: Wiring) -> None:
    leader = jobs.start(1, "sleep 60")
    members = subprocess.Popen(["sleep", "60"]), subprocess.Popen(["sleep", "60"])
    groups: Any = Groups({members[0].pid: (1, 1), members[1].pid: (2, 1)})
    pids = [leader.pid, *(each.pid for each in members), 1 << 30]
    card.gpu = GPU.replace(processes=tuple(GpuProcess(pid=pid) for pid in pids))
    poller = GpuPoller(card, wiring, groups=groups)
    tick(poller, 100.0)
    turn = poller.tick(now(mono=110.0), slots_of(live(1, leader)))
    for each in members:
        each.kill()
        each.wait()
    found = seen(turn).processes
    assert [process.job_id for process in found] == [None, 1, None, None], "a mark can be forged, and job 2 has ended"
    assert [process.user for process in found] == [processes.user(os.getpid())] * 3 + ["?"]
    assert (found[0].start > 0, found[3].start) == (True, 0)


def _told(path: Path) -> int:
    eventually(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def _start(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def test_the_load_of_each_live_attempts_gpus_is_added_up_and_handed_on(
    poller: GpuPoller, card: Card, wiring: Wiring
) -> None:
    card.gpu = GPU.replace(utilisation=40)
    job = live(1, Identity(BOOT, 9, 9), gpus=("GPU-1",))
    for mono, each in ((110.0, job), (120.0, job.replace(suspended=True)), (130.0, job.replace(started=None))):
        report = told(poller.tick(now(mono=mono), slots_of(each)))
    assert report.loads == {(1, 1): Load(40.0, 1)}
    after = GpuPoller(card, wiring)
    board = Slots({**slots_of(job).posts, GPU_POLLER: Post(None, report)})
    after.tick(now(mono=140.0), board)
    assert told(after.tick(now(mono=140.0), board)).loads == {(1, 1): Load(80.0, 2)}
    assert told(after.tick(now(mono=1e9), slots_of())).loads == {}


def test_the_driver_is_the_configured_one(wiring: Wiring) -> None:
    simulating = replace(wiring, config=replace(wiring.config, simulate=(3, 1024)))
    made = gpu_poller.open(simulating)
    made.tick(now(), NOTHING_POSTED)
    assert [(gpu.index, gpu.memory_mb, gpu.simulated) for gpu in made.tick(now(), NOTHING_POSTED).detail.gpus] == [
        (i, 1024, True) for i in range(3)
    ]
    made.close()
