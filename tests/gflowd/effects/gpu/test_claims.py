from __future__ import annotations

import os
import signal
from uuid import uuid4

from gflowd.effects.gpu.claims import Claims


def test_a_gpu_is_claimed_by_one_at_a_time() -> None:
    first, second = Claims(), Claims()
    one, other = f"GPU-{uuid4()}", f"GPU-{uuid4()}"
    assert first.take(one)
    assert first.take(one), "it is ours already"
    assert not second.take(one)
    assert second.elsewhere([one, other]) == {one}
    assert first.elsewhere([one, other]) == set()
    first.keep([other])
    assert second.take(one)
    assert second.elsewhere([one, other]) == {other}
    for each in (first, second):
        each.close()
    assert first.elsewhere([one, other]) == set()


def test_a_claim_that_comes_too_late_leaves_the_other_in_peace() -> None:
    first, second, uuid = Claims(), Claims(), f"GPU-{uuid4()}"
    assert first.take(uuid)
    second.keep([uuid])
    assert second.elsewhere([uuid]) == {uuid}
    first.close()
    second.keep([uuid])
    assert not first.take(uuid)
    second.close()


def test_the_claims_of_a_killed_daemon_are_gone() -> None:
    uuid = f"GPU-{uuid4()}"
    ready, told = os.pipe()
    if (pid := os.fork()) == 0:
        claims = Claims()
        claims.take(uuid)
        os.write(told, b".")
        signal.pause()
    os.read(ready, 1)
    mine = Claims()
    assert not mine.take(uuid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert mine.take(uuid)
    mine.close()
    for descriptor in (ready, told):
        os.close(descriptor)
