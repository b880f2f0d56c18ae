"""GPUs that a job would rather have: it gets them if they are free, and never waits for them."""

from __future__ import annotations

import pytest
from support.machine import GATE, Machine


@pytest.fixture
def gpus(own: Machine) -> Machine:
    own.stop()
    own.write_config(gpu={"simulate": "4x8G"})
    own.start()
    return own


def test_a_job_gets_the_gpus_that_it_prefers_while_they_are_free(gpus: Machine) -> None:
    first = gpus.submit("--gpu-prefer", "3,1", "--wrap", GATE)
    assert gpus.until(first, "running")["gpu_ids"] == [3]
    second = gpus.submit("-g", "2", "--gpu-prefer", "3,1-2", "--wrap", GATE)
    assert gpus.until(second, "running")["gpu_ids"] == [1, 2]
    third = gpus.submit("-g", "1", "--gpu-prefer", "3,2", "--wrap", GATE)
    job = gpus.until(third, "running")
    assert (job["gpu_ids"], job["gpu_prefer"]) == ([0], ["3", "2"]), "it does not wait for those"
    assert "GPUs 3, 2" in gpus.ctl("show", str(third)).stdout
    gpus.open_gate()
    assert gpus.wait(first, second, third) == 0


def test_a_preference_can_be_changed_and_repeated(gpus: Machine) -> None:
    job_id = gpus.submit("--hold", "-g", "1", "--gpu-prefer", "2", "true")
    gpus.ctl("update", str(job_id), "--gpu-prefer", "no-such-type,3")
    gpus.ctl("release", str(job_id))
    assert gpus.ended(job_id)["gpu_ids"] == [3]
    again = int(gpus.ctl("redo", "--parsable", str(job_id)).stdout)
    assert gpus.ended(again)["gpu_ids"] == [3]
    other = int(gpus.ctl("redo", "--parsable", "--gpu-prefer", "1", str(job_id)).stdout)
    assert gpus.ended(other)["gpu_ids"] == [1]
    plain = gpus.submit("--hold", "-g", "1", "--gpu-prefer", "2", "true")
    gpus.ctl("update", str(plain), "--clear", "gpu-prefer")
    gpus.ctl("release", str(plain))
    assert gpus.ended(plain)["gpu_ids"] == [0]
    assert "not a range" in gpus.refused(2, "submit", "--gpu-prefer", "3-1", "true")
