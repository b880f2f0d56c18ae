from __future__ import annotations

import pytest
from stage import NOTHING_POSTED, live, observed, polled, slots_of

from gflowd.core.execution.observations import Enforced, Observation, Observations
from gflowd.core.gpu.device import Gpu
from gflowd.core.gpu.report import GpuReport
from gflowd.workers.board_slots import GPU_POLLER, SCHEDULER, TIMEOUT_ENFORCER, Agenda, Post, Slots

GPU = Gpu(index=0, uuid="G0", model="M", memory_mb=1)


def test_who_has_posted_nothing_has_seen_nothing() -> None:
    assert NOTHING_POSTED.agenda is None
    assert NOTHING_POSTED.gpu_report == GpuReport()
    assert NOTHING_POSTED.observations == Observations()
    assert NOTHING_POSTED.enforced == Enforced()


def test_each_post_is_read_by_what_it_is() -> None:
    seen, over = Observation(lives=True), Enforced(overdue=((1, 1),))
    posts = {**slots_of(live(1)).posts, **observed({(1, 1): seen}).posts, **polled(5.0, (GPU,)).posts}
    slots = Slots({**posts, TIMEOUT_ENFORCER: Post(over)})
    assert slots.agenda == Agenda((live(1),), (), None)
    assert slots.gpu_report == GpuReport(begun=5.0, answered=5.0, gpus=(GPU,))
    assert slots.observations.of((1, 1)) == seen
    assert slots.enforced == over


def test_what_is_of_another_kind_is_not_taken_for_it() -> None:
    with pytest.raises(TypeError, match="Agenda wanted on the board, not Enforced"):
        _ = Slots({SCHEDULER: Post(Enforced())}).agenda
    with pytest.raises(TypeError, match="GpuReport wanted on the board, not NoneType"):
        _ = Slots({GPU_POLLER: Post(None)}).gpu_report


def test_others_posts_are_the_same_whatever_one_posts_itself() -> None:
    first, second = slots_of(live(1)), slots_of(live(1), live(2))
    seen = observed({(1, 1): Observation(lives=True)}).posts
    both = [Slots({**slots.posts, **seen}) for slots in (first, second)]
    assert both[0] != both[1]
    assert both[0].without(SCHEDULER) == both[1].without(SCHEDULER) == Slots(seen)
