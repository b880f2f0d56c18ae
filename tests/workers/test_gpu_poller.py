from __future__ import annotations

from dataclasses import replace

from stage import now, slots_of

from gflowd.core.model import Gpu
from gflowd.core.moment import Moment
from gflowd.workers import gpu_poller
from gflowd.workers.base import Wiring
from gflowd.workers.gpu_poller import GpuPoller


class Card:
    """A driver of one GPU that is as the test says."""

    def __init__(self) -> None:
        self.polls = 0
        self.gpu = Gpu(index=0, uuid="GPU-1", model="M", memory_mb=100)

    def poll(self) -> tuple[Gpu, ...]:
        self.polls += 1
        return (self.gpu,)


def at(mono: float) -> Moment:
    return now(mono=mono)


def test_it_looks_at_once_and_then_on_the_interval() -> None:
    card = Card()
    poller = GpuPoller(card, 10.0)
    assert poller.tick(at(100.0), {}).wake_at == 110.0
    assert poller.tick(at(109.9), {}).wake_at == 110.0
    assert card.polls == 1
    assert poller.tick(at(110.0), {}).wake_at == 120.0
    assert card.polls == 2


def test_what_the_scheduler_wants_to_know_is_looked_at_anew_once() -> None:
    card = Card()
    poller = GpuPoller(card, 10.0)
    poller.tick(at(100.0), slots_of())
    turn = poller.tick(at(101.0), slots_of(poll_after=100.5))
    assert card.polls == 2
    assert turn.decision[0] == 101.0
    assert poller.tick(at(102.0), slots_of(poll_after=100.5)).decision[0] == 101.0
    assert card.polls == 2


def test_a_look_begun_before_the_wish_does_not_answer_it() -> None:
    poller = GpuPoller(Card(), 10.0)
    poller.tick(at(100.0), slots_of())
    assert poller.tick(at(103.0), slots_of(poll_after=102.0)).decision[0] > 102.0


def test_only_what_matters_for_giving_a_gpu_away_is_a_decision() -> None:
    card = Card()
    poller = GpuPoller(card, 1.0)
    first = poller.tick(at(100.0), slots_of())
    card.gpu = card.gpu.replace(utilisation=99, temperature=70, used_mb=50)
    warm = poller.tick(at(101.0), slots_of())
    assert warm.decision == first.decision
    assert warm.detail != first.detail
    card.gpu = card.gpu.replace(processes=(4711,))
    assert poller.tick(at(102.0), slots_of()).decision != warm.decision


def test_the_driver_is_the_configured_one(wiring: Wiring) -> None:
    assert gpu_poller.open(wiring).tick(now(), {}).detail[1] == ()
    simulating = replace(wiring, config=replace(wiring.config, simulate=(3, 1024)))
    seen = gpu_poller.open(simulating).tick(now(), {}).detail[1]
    assert [(gpu.index, gpu.memory_mb, gpu.simulated) for gpu in seen] == [(i, 1024, True) for i in range(3)]
    gpu_poller.open(wiring).close()
