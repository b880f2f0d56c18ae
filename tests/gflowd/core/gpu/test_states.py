from __future__ import annotations

from support import specs

from gflowd.core.gpu import states
from gflowd.core.gpu.admin_state import AdminState
from gflowd.core.gpu.device import Gpu, GpuProcess
from gflowd.core.gpu.states import Held
from gflowd.core.job.model import Job, Queued, Run, Starting, Wish

SPEC = specs.SPEC.replace(gpus=1)
GPUS = [Gpu(index=i, uuid=f"G{i}", model="M", memory_mb=10) for i in range(3)]
FOREIGN = GpuProcess(pid=5, user="ada", start=9)


def with_processes(*processes: GpuProcess) -> list[Gpu]:
    return [GPUS[0].replace(processes=processes)]


def state(gpus: list[Gpu], admin: AdminState | None = None, held: Held | None = None, **more: object) -> object:
    """The state of the first GPU; it can be given away exactly when that is idle, busy or reserved without a cause."""
    admin, held = admin or AdminState(), held or {}
    live = {1, 2}
    found = states.states(gpus, admin, held, live, **more)[0]  # type: ignore[arg-type]
    taken = more.get("taken", ())
    usable = 0 in states.available(gpus, admin, held, live, taken)  # type: ignore[arg-type]
    assert usable == (found[0] in ("idle", "reserved") or (found[0] in ("busy", "shared") and found[1] is None))
    return found


def test_a_gpu_is_idle_busy_or_shared() -> None:
    assert state(GPUS) == ("idle", None)
    assert state(GPUS, held={0: [1]}) == ("busy", None)
    assert state(GPUS, held={0: [1, 2]}, shared={0}) == ("shared", None)
    assert state(GPUS, reserved={0: "for ada until 9:00"}) == ("reserved", "for ada until 9:00")


def test_foreign_processes_make_it_unmanaged_until_they_are_ignored() -> None:
    gpus = with_processes(FOREIGN, FOREIGN.replace(pid=6, user="bob"))
    assert state(gpus) == ("unmanaged", "pid 5 of ada, pid 6 of bob")
    ignored = AdminState(ignored={("G0", 5, 9), ("G0", 6, 8)})
    assert state(gpus, ignored) == ("unmanaged", "pid 6 of bob"), "the other pid 6 began at another time"
    assert state(with_processes(FOREIGN), ignored) == ("idle", None)


def test_the_processes_of_a_job_are_at_home_on_its_own_gpus_only() -> None:
    gpus = with_processes(FOREIGN.replace(job_id=1))
    assert state(gpus, held={0: [1]}) == ("busy", None)
    assert state(gpus) == ("unmanaged", "pid 5 of job 1, which was not given this GPU")
    ended = with_processes(FOREIGN.replace(job_id=3))
    assert state(ended) == ("idle", None), "it was alive at the last poll; the next one, before it is given away, tells"


def test_orders_keep_a_gpu_from_jobs() -> None:
    assert state(GPUS, AdminState(drained={"G0": "fan"})) == ("drained", "fan")
    assert state(GPUS, AdminState(allowed=(1,))) == ("restricted", None)
    assert state(GPUS, taken={"G0": states.ELSEWHERE}) == ("unmanaged", states.ELSEWHERE)
    assert state(GPUS, AdminState(drained={"G0": "fan"}), held={0: [1]}) == ("busy", "drained: fan")
    assert state(GPUS, AdminState(allowed=(1,)), held={0: [1]}) == ("busy", "restricted")


def test_claims_that_do_not_count_are_told() -> None:
    assert states.claimed_by("ada") == "claimed by ada, whose claims are not honoured"


def test_a_fault_is_above_all() -> None:
    gpus = [GPUS[0].replace(fault="lost", processes=(FOREIGN,))]
    assert state(gpus, AdminState(drained={"G0": "fan"}), held={0: [1]}) == ("faulty", "lost")


def job(job_id: int, *gpu_ids: int, uuids: tuple[str, ...] = ()) -> Job:
    run = Run(executor="process", launched_at=1.0, gpu_ids=gpu_ids, gpu_uuids=uuids)
    return Job(job_id, SPEC, Wish(), Starting(run=run))


def test_a_job_holds_the_gpu_of_its_uuid_wherever_that_is_now() -> None:
    jobs = [job(1, 0, uuids=("G2",)), job(2, 1), job(3, 0, uuids=("gone",)), Job(4, SPEC, Wish(), Queued())]
    assert states.held(jobs, GPUS) == {2: [1], 1: [2]}
    assert states.held(jobs[:2], []) == {0: [1], 1: [2]}


def test_a_job_keeps_what_its_gpu_was_cut_into_and_nothing_of_a_part_that_is_gone() -> None:
    parts = [gpu.replace(uuid=f"MIG-{gpu.index}", parent="G0") for gpu in GPUS[:2]]
    run = Run(executor="process", launched_at=1.0, gpu_ids=(0,), gpu_uuids=("G0",))
    assert states.places(run, [*parts, GPUS[2]]) == (0, 1)
    assert states.places(run.replace(gpu_uuids=("MIG-1", "G2")), [*parts, GPUS[2]]) == (1, 2)
    assert states.places(run.replace(gpu_uuids=("MIG-1",)), GPUS) == ()


def test_what_only_draws_keeps_no_job_away() -> None:
    drawing = FOREIGN.replace(graphics=True)
    assert state(with_processes(drawing, drawing.replace(job_id=2))) == ("idle", None)
    assert state(with_processes(drawing, FOREIGN.replace(pid=6))) == ("unmanaged", "pid 6 of ada")


def test_what_a_drained_gpu_was_cut_into_is_drained_too() -> None:
    parts = [GPUS[0].replace(uuid="MIG-0", parent="G0")]
    assert state(parts, AdminState(drained={"G0": "fan"})) == ("drained", "fan")
    assert state(parts, AdminState(drained={"MIG-0": "x", "G0": "fan"})) == ("drained", "x")
    assert state(GPUS, AdminState(drained={"MIG-0": "x"})) == ("idle", None)
