import pickle

import pytest

from gflowd.core.execution.observations import LiveJob, Observation
from gflowd.core.gpu.device import Gpu, GpuProcess
from gflowd.core.job.model import Identity, Started
from gflowd.core.job.value_base import Posted

STARTED = Started(at=1.0, mono=2.0, identity=Identity("boot", 3, 4))


@pytest.mark.parametrize(
    "posted",
    [
        LiveJob(id=1, attempt=2, executor="tmux", grace=3.0, started=STARTED, time_limit=None, why="TimeLimit"),
        Observation(started=STARTED, lives=True, status=0),
        Gpu(index=0, uuid="G", model="M", memory_mb=1, processes=(GpuProcess(pid=1, graphics=True),), instance=(1, 2)),
    ],
)
def test_what_is_posted_arrives_as_it_was(posted: Posted) -> None:
    assert pickle.loads(pickle.dumps(posted)) == posted
    assert pickle.loads(pickle.dumps(posted)).replace(**posted.fields()) == posted
    with pytest.raises(AttributeError):
        setattr(posted, posted.__slots__[0], None)
