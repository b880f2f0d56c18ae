"""Why jobs failed, told from endings and from what real programs write."""

from __future__ import annotations

import pytest

from gflowctl.agents import diagnosis
from gflowctl.agents.diagnosis import Ending
from gflowctl.agents.failure_patterns import KNOWN

TORCH_OOM = """\
Epoch 3/90:  41%|####1     | 512/1250 [02:11<03:08,  3.91it/s]
Traceback (most recent call last):
  File "/home/ada/train.py", line 212, in <module>
    main()
  File "/home/ada/train.py", line 188, in main
    loss.backward()
  File "/opt/conda/lib/python3.11/site-packages/torch/_tensor.py", line 581, in backward
    torch.autograd.backward(
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 23.65 GiB\
 of which\
 1.32 GiB is free. Including non-PyTorch memory, this process has 22.31 GiB memory in use.
"""
JAX_OOM = """\
2026-03-01 10:11:12.000000: W external/xla/xla/tsl/framework/bfc_allocator.cc:497] Allocator (GPU_0_bfc) ran out of mem
jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8589934592 bytes.
"""
NO_GPU = """\
  File "/home/ada/venv/lib/python3.11/site-packages/torch/cuda/__init__.py", line 319, in _lazy_init
    torch._C._cuda_init()
RuntimeError: No CUDA GPUs are available
"""
ASSERT = """\
../aten/src/ATen/native/cuda/Loss.cu:250: nll_loss_forward_reduce_cuda_kernel_2d: block: [0,0,0], thread: [5,0,0]\
 Assertion `t >= 0 && t < n_classes` failed.
RuntimeError: CUDA error: device-side assert triggered
CUDA kernel errors might be asynchronously reported at some other API call.
"""
NCCL = """\
[rank1]:[E301 10:00:01 ProcessGroupNCCL.cpp:616] [Rank 1] Watchdog caught collective operation timeout:\
 WorkNCCL(SeqNum=42)
[rank1]: torch.distributed.DistBackendError: NCCL error in: ../torch/csrc/distributed/c10d/NCCLUtils.hpp:317
"""
SHM = """\
ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).
RuntimeError: DataLoader worker (pid 4711) is killed by signal: Bus error.
"""
DISK = """\
  File "/opt/conda/lib/python3.11/site-packages/torch/serialization.py", line 850, in save
OSError: [Errno 28] No space left on device: '/data/ckpt/epoch3.pt'
"""
QUOTA = "tar: model.bin: Cannot write: Disk quota exceeded\ntar: Exiting with failure status due to previous errors\n"
HOST_OOM = """\
numpy.core._exceptions._ArrayMemoryError: Unable to allocate 37.3 GiB for an array with shape (50000, 100000)\
 and data type float64
"""
WORKER_KILLED = "RuntimeError: DataLoader worker (pid 12) is killed by signal: Killed.\n"
FILES = "OSError: [Errno 24] Too many open files: '/data/img/00041.jpg'\n"
MODULE = """\
Traceback (most recent call last):
  File "train.py", line 3, in <module>
    import lightning as L
ModuleNotFoundError: No module named 'lightning'
"""
LIBRARY = "./simulate: /lib/x86_64-linux-gnu/libm.so.6: version `GLIBC_2.38' not found (required by ./simulate)\n"
PORT = """\
[W socket.cpp:697] [c10d] The server socket has failed to bind to [::]:29500 (errno: 98 - Address already in use).
torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address.
"""
GATED = """\
requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: https://huggingface.co/api/models/x
huggingface_hub.errors.GatedRepoError: 401 Client Error. Access to model x is restricted.
"""
NETWORK = """\
requests.exceptions.ConnectionError: HTTPSConnectionPool(host='huggingface.co', port=443): Max retries exceeded\
 with url:\
 /api (Caused by NameResolutionError: Failed to resolve 'huggingface.co' ([Errno -3] Temporary failure in name\
 resolution))
"""
DENIED = "mkdir: cannot create directory '/data/runs': Permission denied\n"
FILE = """\
  File "train.py", line 9, in <module>
    data = open("data/train.csv")
FileNotFoundError: [Errno 2] No such file or directory: 'data/train.csv'
"""
ARGUMENTS = "usage: train.py [-h] [--lr LR]\ntrain.py: error: unrecognized arguments: --learning-rate 0.1\n"
NAN = "step 1200 loss 2.31\nstep 1210 loss nan\nTraining stopped: loss is nan\n"
NOT_FOUND = "/bin/sh: 1: torchrun: not found\n"
PLAIN = """\
Traceback (most recent call last):
  File "train.py", line 40, in step
    raise ValueError("batch size 0")
ValueError: batch size 0
"""
# A warning long before the end is not the cause.
HARMLESS = "cp: cannot stat 'cache': No such file or directory\n" + "step\n" * 40 + PLAIN
BOTH = DISK + "\n" + TORCH_OOM  # what is more special counts


def ended(state: str = "failed", reason: str | None = "NonZeroExit", code: int | None = 1, **more: int) -> Ending:
    return Ending(state, reason, code, more.get("signal"), more.get("gpus", 1))


CASES: list[tuple[str, Ending, str, str | None]] = [
    ("cuda_out_of_memory", ended(), TORCH_OOM, "torch.OutOfMemoryError: CUDA out of memory."),
    ("cuda_out_of_memory", ended(), JAX_OOM, "RESOURCE_EXHAUSTED"),
    ("cuda_out_of_memory", ended(), BOTH, "CUDA out of memory"),
    ("gpu_not_visible", ended(), NO_GPU, "No CUDA GPUs are available"),
    ("gpu_error", ended(), ASSERT, "device-side assert triggered"),
    ("nccl", ended(code=-6), NCCL, "NCCL error"),
    ("shared_memory", ended(), SHM, "is killed by signal: Bus error"),
    ("disk_full", ended(), DISK, "No space left on device"),
    ("disk_full", ended(code=2), QUOTA, "Disk quota exceeded"),
    ("out_of_memory", ended(), HOST_OOM, "Unable to allocate 37.3 GiB"),
    ("out_of_memory", ended(), WORKER_KILLED, "killed by signal: Killed"),
    ("too_many_files", ended(), FILES, "Too many open files"),
    ("missing_module", ended(), MODULE, "No module named 'lightning'"),
    ("missing_library", ended(), LIBRARY, "GLIBC_2.38"),
    ("port_in_use", ended(), PORT, "Address already in use"),
    ("access_denied", ended(), GATED, "GatedRepoError"),
    ("network", ended(), NETWORK, "Max retries exceeded"),
    ("permission_denied", ended(), DENIED, "Permission denied"),
    ("missing_file", ended(), FILE, "'data/train.csv'"),
    ("bad_arguments", ended(code=2), ARGUMENTS, "unrecognized arguments: --learning-rate"),
    ("diverged", ended(), NAN, "loss is nan"),
    ("command_not_found", ended(code=127), NOT_FOUND, "torchrun: not found"),
    ("not_executable", ended(code=126), "", None),
    ("segmentation_fault", ended(code=139), "", None),
    ("segmentation_fault", ended(reason="Signaled:SIGSEGV", code=None, signal=11), "", None),
    ("killed", ended(code=137), "", None),
    ("killed", ended(reason="Signaled:SIGKILL", code=None, signal=9), "step 1\n", None),
    ("exception", ended(), PLAIN, "ValueError: batch size 0"),
    ("exception", ended(), HARMLESS, "ValueError: batch size 0"),
    ("unknown", ended(), "step 1\nstep 2\n", None),
    ("unknown", ended(), "", None),
    ("time_limit", ended("timeout", "TimeLimit", None), TORCH_OOM, None),
    ("cancelled", ended("cancelled", "CancelledByUser", None), "", None),
    ("memory_limit", ended(reason="OutOfMemory", code=137), HOST_OOM, None),
    ("dependency_failed", ended("cancelled", "DependencyFailed:12", None), "", None),
    ("vanished", ended(reason="Zombie", code=None), "", None),
    ("no_output", ended(reason="NoOutput", code=None), "", None),
]


@pytest.mark.parametrize(("cause", "ending", "text", "evidence"), CASES)
def test_the_cause_is_told_with_the_line_that_names_it(
    cause: str, ending: Ending, text: str, evidence: str | None
) -> None:
    found = diagnosis.of(ending, text.splitlines())
    assert found.cause == cause
    assert (found.evidence is None) == (evidence is None)
    assert evidence is None or evidence in str(found.evidence)
    assert found.meaning
    assert found.advice


def test_every_known_cause_has_a_case() -> None:
    assert {each.cause for each in KNOWN} <= {cause for cause, *_ in CASES}


def test_a_job_without_gpus_that_looks_for_one_is_told_so() -> None:
    assert "it had asked for none" in diagnosis.of(ended(gpus=0), NO_GPU.splitlines()).meaning
    assert "it had asked for none" not in diagnosis.of(ended(), NO_GPU.splitlines()).meaning


def test_evidence_is_bounded() -> None:
    assert len(diagnosis.of(ended(), ["CUDA out of memory " + "x" * 9999]).evidence or "") < 310


def test_a_line_without_end_is_looked_at_from_both_ends() -> None:
    """All of it would take minutes: a pattern with `.*` starts anew at each repetition."""
    endless = "DataLoader worker " * 60_000
    found = diagnosis.of(Ending("failed", "NonZeroExit", 1, None, 0), [f"{endless}Bus error"])
    assert found.cause == "shared_memory"
    assert diagnosis.of(Ending("failed", "NonZeroExit", 1, None, 0), [endless]) == diagnosis.UNKNOWN
