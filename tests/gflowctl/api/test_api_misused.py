"""The queue for programs that are wrong: what makes no sense is refused, whatever it is, and nothing is changed."""

from __future__ import annotations

import math
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from gflowctl.api import BadUsage, Queue, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ctl import Ctl


@pytest.fixture
def queue(ctl: Ctl) -> Iterator[Queue]:
    with Queue(ctl.state.root, environ=ctl.env) as found:
        yield found


def test_a_nought_is_a_value(queue: Queue) -> None:
    job = queue.job(queue.submit("true", priority=0, cpus=0, max_retries=0).id)
    assert (job.priority, job.cpus) == (0, 0)
    with pytest.raises(Refused, match="a limit of 0 concurrent jobs"):
        queue.submit("true", array="1-3", max_concurrent=0)
    with pytest.raises(Refused, match="the deadline has passed"):
        queue.submit("true", deadline=0)


def test_bytes_are_not_the_numbers_of_jobs(queue: Queue) -> None:
    for _ in range(55):
        queue.submit("true")
    for change in (queue.cancel, queue.hold, queue.redo, queue.wait, queue.jobs):
        with pytest.raises(BadUsage, match="b'7' names no job"):
            change(b"7")  # type: ignore[operator]
    assert queue.job(55).state == "queued"


@pytest.mark.parametrize(
    "at", ["x", "18:30", math.nan, math.inf, -math.inf, 1e300, True, [1]], ids=repr,
)  # fmt: skip
def test_a_begin_time_that_is_none_is_not_written(ctl: Ctl, queue: Queue, at: Any) -> None:
    queue.submit("true", hold=True)
    before = ctl.store.read().of("wish")[1]
    with pytest.raises(BadUsage, match=r"^at: "):
        queue.release(1, at=at)
    assert ctl.store.read().of("wish")[1] == before
    assert queue.release(1, at=2e9).jobs[0].begin_at == 2e9


def test_whatever_makes_no_sense_is_bad_usage(queue: Queue) -> None:
    queue.submit("true")
    wrong: Any = queue
    for call in (
        lambda: wrong.cancel(None), lambda: wrong.cancel(3.0), lambda: wrong.cancel([[1]]), lambda: wrong.job([1, 2]),
        lambda: wrong.job([]), lambda: wrong.why(None), lambda: wrong.attempts([]), lambda: wrong.log(1, after="1"),
        lambda: wrong.log(1, lines=1.5), lambda: wrong.log(1, attempt="1"), lambda: wrong.jobs(states=1),
        lambda: wrong.jobs(states=[1]), lambda: wrong.jobs(names=None), lambda: wrong.jobs(users=[b"me"]),
        lambda: wrong.jobs(limit="3"), lambda: wrong.jobs(limit=1.5), lambda: wrong.jobs(since="x", ended=True),
        lambda: wrong.jobs(since=math.nan), lambda: wrong.wait(1, timeout="1"), lambda: wrong.wait(1, timeout=math.nan),
        lambda: wrong.events(after=17), lambda: wrong.events(kinds=[1]), lambda: wrong.statistics(users=[None]),
        lambda: wrong.statistics(since="x"), lambda: wrong.submit(5), lambda: wrong.submit(None),
        lambda: wrong.submit("true", params=3), lambda: wrong.submit("true", params={"a": 3}),
        lambda: wrong.submit("true", params={3: [1]}), lambda: wrong.submit("true", retry_on=3),
        lambda: wrong.submit("true", gpu_prefer=3), lambda: wrong.submit("true", array=3),
        lambda: wrong.submit("true", array=b"13"), lambda: wrong.submit("true", signal=9),
        lambda: wrong.submit("true", environment=3), lambda: wrong.submit("true", environment={"A=B": "c"}),
        lambda: wrong.submit("true", environment={"": "c"}), lambda: wrong.submit("true", environment={"A": "b\0C=d"}),
        lambda: wrong.submit("true", environment={"A": "\ud800"}),
    ):  # fmt: skip
        with pytest.raises(BadUsage):
            call()
    assert [job.id for job in queue.jobs(ended=True)] == [1]


def test_it_stays_the_same_queue_when_the_program_changes_its_directory(
    ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(os.path.dirname(ctl.state.root))
    name = os.path.basename(ctl.state.root)
    ctl.submit("true")
    with Queue(name, environ=ctl.env) as given, Queue(environ=ctl.env | {"GFLOW_STATE_DIR": name}) as named:
        monkeypatch.chdir("/")
        ctl.end_job(1, exit_code=0)
        for queue in (given, named):
            assert [job.state for job in queue.wait(1, timeout=60)] == ["finished"]
            assert list(queue.events()) == []


def test_a_process_that_was_forked_while_a_thread_wrote_can_write(ctl: Ctl, queue: Queue) -> None:
    from gflowctl.api import reader

    holds, ends = threading.Event(), threading.Event()

    def write() -> None:
        with reader.WRITING:
            holds.set()
            ends.wait(60)

    writer = threading.Thread(target=write)
    writer.start()
    assert holds.wait(60)
    pid = os.fork()
    if not pid:  # pragma: no cover -- another process
        os._exit(0 if reader.WRITING.acquire(blocking=False) else 1)
    ends.set()
    writer.join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert queue.submit("true").id == 1
