"""Device files of NVIDIA's, with or without a driver, and control groups that stand for attempts': only for root."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.groups import WHY_NO_FILTER, inside

from gflowd.core.gpu.device import Gpu
from gflowd.core.job.model import Run
from gflowd.effects.shared_mode import bpf, device_filter
from gflowd.workers.base import Wiring
from gflowd.workers.scheduler.launching.gpu_guard import LATE, GpuGuard

GPUS = tuple(Gpu(index=index, uuid=f"GPU-{index}", model="M", memory_mb=1, minor=index) for index in range(3))
needs_filters = pytest.mark.skipif(WHY_NO_FILTER is not None, reason=str(WHY_NO_FILTER))


def run(*gpu_ids: int) -> Run:
    return Run(executor="process", launched_at=0.0, gpu_ids=gpu_ids, gpu_uuids=tuple(f"GPU-{n}" for n in gpu_ids))


def guard(wiring: Wiring, place: str = device_filter.PLACE, **settings: Any) -> contextlib.closing[GpuGuard]:
    return contextlib.closing(GpuGuard(wiring.state, replace(wiring.config, **settings), place))


@pytest.fixture
def opened(tmp_path: Path, group: str) -> Any:
    """The numbers of the GPUs that a process in the group can open, as far as the kernel asks us."""
    paths = [tmp_path / f"nvidia{minor}" for minor in range(3)]
    for minor, path in enumerate(paths):
        os.mknod(path, 0o020666, os.makedev(195, minor))

    def act() -> str:
        found = ""
        for path in paths:
            try:
                os.close(os.open(path, os.O_RDWR))
            except PermissionError:
                continue
            except OSError:  # no driver, no such GPU
                pass
            found += path.name[-1]
        return found

    return lambda: inside(group, act)


@needs_filters
def test_a_job_opens_its_own_gpus_through_restarts_until_that_is_not_wanted(
    wiring: Wiring, group: str, opened: Any
) -> None:
    with guard(wiring, shared_enforce_gpus="jobs") as first:
        assert first.is_on
        first.put(group, run())
        assert opened() == "", "no GPU is known yet, and none is the job's"
        first.look(GPUS)
        first.put(group, run(1))
        assert opened() == "1"
        first.keep({group: run(1)})
        first.put(f"{group}/gone", run(1))
        assert first.trouble is None
    with guard(wiring, shared_enforce_gpus="everyone") as second:
        second.look(None)
        second.keep({group: run(1)})
        assert opened() == "1", "what holds goes on while a GPU is not seen"
        second.look((*GPUS[:1], GPUS[1].replace(minor=2)))
        second.keep({group: run(1)})
        assert opened() == "2"
    with guard(wiring, shared_enforce_gpus="off") as third:
        third.look(GPUS)
        third.keep({group: run(1)})
        third.put(group, run(1))
        assert opened() == "012"
        assert (third.trouble, third.unit_properties(run(1))) == (None, ())


@needs_filters
def test_jobs_run_unfiltered_where_a_gpu_has_no_known_file_and_that_is_told(
    wiring: Wiring, group: str, opened: Any
) -> None:
    with guard(wiring, shared_enforce_gpus="jobs") as made:
        made.look((GPUS[0].replace(minor=None), GPUS[1]))
        made.put(group, run(0))
        assert made.trouble == "the driver does not tell the device file of GPU 0"
        assert opened() == "012"
        made.look(GPUS)
        assert made.trouble is None, "it may tell now"


@needs_filters
def test_systemd_is_told_of_the_filter_if_it_can_be(wiring: Wiring, bpf_place: str, tmp_path: Path) -> None:
    with guard(wiring, str(tmp_path), shared_enforce_gpus="jobs") as made:
        assert (made.unit_properties(run()), made.trouble) == ((), LATE)
    with guard(wiring, bpf_place, shared_enforce_gpus="jobs") as made:
        made.look(GPUS)
        (one,), (other,) = made.unit_properties(run(0)), made.unit_properties(run(1, 2))
        assert one.startswith(f"BPFProgram=device:{bpf_place}/gflow/gf")
        assert one != other
        assert made.unit_properties(run(0)) == (one,)
        assert made.trouble is None
    with guard(wiring, bpf_place, shared_enforce_gpus="jobs", simulate=(1, 1)) as made:
        assert made.unit_properties(run()) == (), "simulated GPUs have no files"


@needs_filters
def test_what_systemd_has_put_and_loses_again_is_not_all_there_is(
    wiring: Wiring, bpf_place: str, group: str, opened: Any
) -> None:
    with guard(wiring, bpf_place, shared_enforce_gpus="jobs") as made:
        made.look(GPUS)
        (said,) = made.unit_properties(run(1))
        fd, program = os.open(group, os.O_RDONLY), bpf.pinned(said.removeprefix("BPFProgram=device:"))
        bpf.attach(fd, program)  # as systemd does with a unit
        assert opened() == "1"
        made.keep({group: run(1)})
        bpf.detach(fd, program)  # as it does with systemctl daemon-reload
        assert opened() == "1"
        os.close(fd)
        os.close(program)


def test_where_there_can_be_no_filter_that_is_told_if_one_is_wanted(wiring: Wiring) -> None:
    def act() -> str:
        if os.geteuid() == 0:
            os.setuid(60001)
        with guard(wiring, shared_enforce_gpus="jobs") as wanted, guard(wiring, shared_enforce_gpus="off") as unwanted:
            for each in (wanted, unwanted):
                each.look(GPUS)
                each.put("/nowhere", run(0))
                each.keep({"/nowhere": run(0)})
                assert each.unit_properties(run(0)) == ()
            return f"{wanted.trouble}; {unwanted.trouble}"

    said = inside(None, act)
    assert said.startswith(("gflowd may not load BPF programs", "this kernel has no device filters", "BPF: "))
    assert said.endswith("; None")
