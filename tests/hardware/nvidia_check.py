"""Holds what gflow says of real NVIDIA GPUs against nvidia-smi and a process that really uses one: `make nvidia-check`.

The processes of tests/hardware take CUDA memory through libcuda alone; nothing of CUDA needs to be installed beside the
driver. Changes nothing on the machine, and touches only a GPU that nobody uses.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support import shared_machine  # noqa: E402 -- it is beside us, not installed
from support.groups import WHY_NO_FILTER, inside  # noqa: E402 -- it is beside us, not installed
from support.machine import GATE, Machine  # noqa: E402 -- it is beside us, not installed
from support.waiting import eventually  # noqa: E402 -- it is beside us, not installed

from gflowd.core.gpu import device_access  # noqa: E402 -- it is beside us, not installed
from gflowd.effects.gpu import device_files  # noqa: E402 -- it is beside us, not installed
from gflowd.effects.gpu.nvml import Nvml  # noqa: E402 -- it is beside us, not installed
from gflowd.effects.kernel import cgroups  # noqa: E402 -- it is beside us, not installed
from gflowd.effects.shared_mode.device_filter import DeviceFilter  # noqa: E402 -- it is beside us, not installed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gflowd.core.gpu.device import Gpu

HELD, MUCH = 256, 2048  # MiB
PATIENCE = 60.0  # seconds: the first use of a GPU may take long
IN_A_PID_NAMESPACE = ("unshare", "--fork", "--pid", "--mount-proc")
HOLD = """
import ctypes, sys
cuda = ctypes.CDLL("libcuda.so.1")
def call(name, *about):
    code = getattr(cuda, name)(*about)
    if code:
        sys.exit(f"{name} answers {code}")
device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
call("cuInit", 0)
call("cuDeviceGet", ctypes.byref(device), 0)
call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
call("cuCtxSetCurrent", context)
call("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(int(sys.argv[1]) << 20))
print("held", flush=True)
sys.stdin.read()
"""


def smi(*words: str) -> str:
    """What nvidia-smi says; empty when it fails."""
    done = subprocess.run(["nvidia-smi", *words], capture_output=True, text=True, timeout=120, check=False)
    return done.stdout if done.returncode == 0 else ""


def gpus(machine: Machine) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(machine.ctl("info", "--json").stdout)["gpus"]
    return found


def inventory(machine: Machine) -> None:
    """The GPUs and MIG devices are those of nvidia-smi, in its order by bus."""
    asked = "pci.bus_id,uuid,name,memory.total,memory.used"
    lines = smi(f"--query-gpu={asked}", "--format=csv,noheader,nounits").splitlines()
    cards = sorted(re.split(r",\s*", line.strip()) for line in lines)
    parts = re.findall(r"UUID: ((?:GPU|MIG)-[^)]+)", smi("-L"))
    seen = eventually(lambda: gpus(machine), PATIENCE)
    assert [gpu["uuid"] for gpu in seen if gpu["parent"]] == [uuid for uuid in parts if uuid.startswith("MIG")], parts
    assert list(dict.fromkeys(gpu["parent"] or gpu["uuid"] for gpu in seen)) == [card[1] for card in cards], cards
    for _, uuid, name, memory_mb, used_mb in cards:
        whole = next((gpu for gpu in seen if gpu["uuid"] == uuid), None)
        if whole is not None and whole["memory_mb"]:  # one in MIG mode without a device tells of none
            assert whole["model"] == name, (whole, name)
            assert abs(whole["memory_mb"] - int(memory_mb)) <= int(memory_mb) / 100, (whole, memory_mb)
            assert abs(whole["used_mb"] - int(used_mb)) <= int(memory_mb) / 500, (whole, used_mb)


def _processes(machine: Machine, uuid: str) -> list[dict[str, Any]]:
    return list(next(gpu for gpu in gpus(machine) if gpu["uuid"] == uuid)["processes"])


def of_a_job(machine: Machine, gpu: dict[str, Any]) -> None:
    """What a job runs on its GPU is the job's, and it is on no other."""
    (machine.work / "hold.py").write_text(HOLD)
    command = f"mkfifo open; {sys.executable} hold.py {HELD} <open & {{ {GATE}; }} >open; wait $!"
    job_id = machine.submit("-g", "1", "--wrap", command)
    eventually(lambda: machine.job(job_id)["state"] not in ("queued", "starting"), PATIENCE)
    eventually(
        lambda: machine.job(job_id)["state"] != "running" or "held" in machine.log(job_id).decode(),
        PATIENCE,
    )
    assert machine.job(job_id)["state"] == "running", machine.log(job_id)
    (found,) = eventually(lambda: [p for p in _processes(machine, gpu["uuid"]) if p["job_id"] == job_id], PATIENCE)
    assert found["memory_mb"] is None or found["memory_mb"] >= HELD, found
    others = [p for each in gpus(machine) if each["uuid"] != gpu["uuid"] for p in each["processes"]]
    assert all(p["job_id"] is None for p in others), others
    machine.open_gate()
    assert machine.wait(job_id) == 0, machine.log(job_id)
    eventually(lambda: gpus(machine)[gpu["index"]]["state"] == "idle", PATIENCE)


def of_a_stranger(machine: Machine, gpu: dict[str, Any]) -> None:
    """A process that is not gflow's keeps jobs from its GPU for as long as it lives."""
    with _holding(gpu["uuid"], HELD) as stranger:
        eventually(lambda: stranger.pid in [p["pid"] for p in _processes(machine, gpu["uuid"])], PATIENCE)
        eventually(lambda: gpus(machine)[gpu["index"]]["state"] == "unmanaged", PATIENCE)
        waiting = machine.submit("-g", "1", "--wrap", "true")
        eventually(lambda: machine.job(waiting)["reason"] == "GpuUnavailable", PATIENCE)
    assert machine.wait(waiting) == 0


def of_another_namespace(gpu: dict[str, Any]) -> None:
    """Memory that is in use by no process that the driver lists keeps jobs from a GPU, too."""
    with _holding(gpu["uuid"], MUCH):
        # There gflow is told of none of the processes outside.
        words = [*IN_A_PID_NAMESPACE, sys.executable, __file__, gpu["uuid"]]
        subprocess.run(words, check=True, timeout=5 * PATIENCE)


def _is_unlisted(uuid: str) -> None:
    with _machine() as machine:
        gpu = eventually(lambda: next((gpu for gpu in gpus(machine) if gpu["uuid"] == uuid), None), PATIENCE)
        machine.ctl("gpus", "allow", str(gpu["index"]))
        eventually(lambda: gpus(machine)[gpu["index"]]["state"] == "unmanaged", PATIENCE)
        seen = gpus(machine)[gpu["index"]]
        assert "by no process that the driver lists" in seen["cause"], seen
        assert not seen["processes"], seen
        waiting = machine.submit("-g", "1", "--wrap", "true")
        eventually(lambda: machine.job(waiting)["reason"] == "GpuUnavailable", PATIENCE)


def of_others_in_a_filtered_group(gpu: dict[str, Any]) -> None:
    """A control group with a device filter computes on the GPU that it was given, by its UUID, and on no other."""
    with _nvml() as seen:
        mine = next(each for each in seen if each.uuid == gpu["uuid"])
        files = device_files.read(seen)
    others = [each for each in seen if each.uuid != mine.uuid]
    group = os.path.join(cgroups.find_mount() or "", f"gflow-check-{os.getpid()}")
    os.mkdir(group)
    try:
        with closing(DeviceFilter("nvidia-check")) as filters:
            filters.put(group, device_access.rule([mine], files))
            assert inside(group, lambda: _held(mine.uuid)) == "held"
            for other in others[:1]:
                said = inside(group, lambda uuid=other.uuid: _held(uuid))  # type: ignore[misc]
                assert said != "held", f"{other.uuid} can be used too"
            if mine.parent is None:
                assert inside(group, lambda: smi("-L")).count("GPU ") == 1, "nvidia-smi shows others"
            filters.put(group, device_access.rule(others, files))
            assert inside(group, lambda: _held(mine.uuid)) != "held", "the filter lets everything through"
    finally:
        os.rmdir(group)


def of_a_daemon_for_many_users(gpu: dict[str, Any]) -> None:
    """Jobs of users compute on the GPUs that they were given; their other jobs and their logins see none."""
    refused = "Operation not permitted"
    with shared_machine.new_shared_machine(
        executor={"type": "process", "grace": 2}, gpu={"poll_interval": 1}, shared={"enforce_gpus": "everyone"}
    ) as machine:
        people = {name: machine.as_user(name) for name in ("root", "gfa", "gfb")}
        for person in people.values():
            person.env["PATH"] += f":{os.path.dirname(shutil.which('nvidia-smi') or '')}"
            person.env |= {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        machine.start()
        gfa, gfb = people["gfa"], people["gfb"]
        eventually(lambda: gpu["uuid"] in [each["uuid"] for each in gpus(gfa)], PATIENCE)
        people["root"].ctl("gpus", "allow", str(gpu["index"]))
        for person in (gfa, gfb):
            person.write("hold.py", HOLD)
        compute = f"{sys.executable} hold.py {HELD}; nvidia-smi -L; (: <>/dev/nvidia{_minor(gpu['uuid'])})"
        first = gfa.submit("-g", "1", "--wrap", f"{{ {compute}; }} 2>&1; {GATE}")
        gfa.until(first, "running")
        said = eventually(lambda: (text := gfa.log(first).decode()).count("GPU ") and text, PATIENCE)
        assert said.startswith("held\n"), said
        assert said.count("GPU ") == 1, said
        beside = gfb.submit("--wrap", f"CUDA_VISIBLE_DEVICES={gpu['uuid']}; export CUDA_VISIBLE_DEVICES; {compute}")
        gfb.wait(beside)
        for text in (gfb.log(beside).decode(), gfb.sh(f"{{ {compute}; }} 2>&1").stdout):
            assert "held" not in text, text
            assert "GPU " not in text, text
            assert refused in text, text
        gfa.open_gate()
        assert gfa.wait(first) == 0, gfa.log(first)


def _minor(uuid: str) -> int:
    with _nvml() as seen:
        minor = next(each for each in seen if each.uuid == uuid).minor
    assert minor is not None, "the driver does not tell the device file"
    return minor


def _held(uuid: str) -> str:
    """Whether this process may compute on a GPU: `held`, or what is wrong."""
    done = subprocess.run(
        [sys.executable, "-c", HOLD, str(HELD)], env={**os.environ, "CUDA_VISIBLE_DEVICES": uuid}, text=True,
        stdin=subprocess.DEVNULL, capture_output=True, timeout=2 * PATIENCE, check=False,
    )  # fmt: skip
    return (done.stdout + done.stderr).strip()


@contextmanager
def _nvml() -> Iterator[tuple[Gpu, ...]]:
    driver = Nvml(lambda: True)
    try:
        yield driver.poll()
    finally:
        driver.close()


@contextmanager
def _holding(uuid: str, held_mb: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is not gflow's, with memory of a GPU."""
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": uuid}
    words = [sys.executable, "-c", HOLD, str(held_mb)]
    with subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stranger:
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == b"held\n"
        yield stranger


@contextmanager
def _machine() -> Iterator[Machine]:
    """A running gflow, and nothing of it afterwards."""
    machine = Machine(Path(tempfile.mkdtemp(prefix="gf-", dir="/tmp")))
    machine.write_config(executor={"type": "process"}, gpu={"poll_interval": 1})
    try:
        machine.start()
        yield machine
    finally:
        machine.ctl("cancel", "--all", check=False)
        machine.close()


def main() -> int:
    """Tells what was checked; 1 when something is not so."""
    if sys.argv[1:]:
        _is_unlisted(sys.argv[1])
        return 0
    if shutil.which("nvidia-smi") is None or not smi("-L").strip():
        print("no NVIDIA GPU here, nothing checked")
        return 0
    with _machine() as machine:
        failed = _fails(inventory, machine)
        idle = next((gpu for gpu in gpus(machine) if gpu["state"] == "idle"), None)
        if idle is None:
            print("no GPU is idle: whose processes are was not checked")
            return failed
        machine.ctl("gpus", "allow", str(idle["index"]))
        failed = max(failed, *(_fails(check, machine, idle) for check in (of_a_job, of_a_stranger)))
    if WHY_NO_FILTER is None:
        failed = max(failed, _fails(of_others_in_a_filtered_group, idle))
    else:
        print(f"device filters were not checked: {WHY_NO_FILTER}")
    if why := shared_machine.obstacle() or WHY_NO_FILTER:
        print(f"a daemon for many users was not checked: {why}")
    else:
        failed = max(failed, _fails(of_a_daemon_for_many_users, idle))
    if subprocess.run([*IN_A_PID_NAMESPACE, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        print("no pid namespace can be made here: memory that no listed process has was not checked")
        return failed
    return max(failed, _fails(of_another_namespace, idle))


def _fails(check: Callable[..., None], *about: Any) -> int:
    what = f"{check.__name__.replace('_', ' ')}: {check.__doc__}"
    try:
        check(*about)
    except (AssertionError, subprocess.SubprocessError) as error:
        print(f"NOT SO  {what}\n{error}")
        return 1
    print(f"is so   {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
