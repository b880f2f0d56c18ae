"""What outputs of failed programs say when a known cause is behind it. A table; the more special cause comes first."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gflowctl.output.failure_output import CUDA, CUDA_OUT_OF_MEMORY


@dataclass(frozen=True, slots=True)
class Known:
    """A cause, what it means, what may help, and how a line looks that names it. `near`: it counts only near the end,
    since it may be a harmless warning.
    """

    cause: str
    meaning: str
    advice: str
    pattern: re.Pattern[str]
    near: bool = False


def _known(cause: str, meaning: str, advice: str, *patterns: str, near: bool = False) -> Known:
    return Known(cause, meaning, advice, re.compile("|".join(patterns)), near)


GPU_NOT_VISIBLE = "gpu_not_visible"
KNOWN: tuple[Known, ...] = (
    Known(
        CUDA_OUT_OF_MEMORY,
        "the GPU's memory ran out",
        "take a smaller batch or a GPU with more memory (gpu_memory_mb); see who else holds memory of that GPU",
        CUDA,
    ),
    _known(
        GPU_NOT_VISIBLE,
        "CUDA found no GPU that it can use",
        "a job sees only the GPUs that it asks for (gpus); else the driver or the build of the library does not fit",
        "no CUDA-capable device",
        "No CUDA GPUs are available",
        "Found no NVIDIA driver",
        "CUDA_ERROR_NO_DEVICE",
        "Torch not compiled with CUDA enabled",
        "CUDA driver version is insufficient",
        "cuInit: CUDA_ERROR",
    ),
    _known(
        "gpu_error",
        "a CUDA kernel failed",
        "often an index out of range, and CUDA_LAUNCH_BLOCKING=1 shows where; if others fail on that GPU, it is faulty",
        "CUDA error: (?:an illegal memory access|unspecified launch failure|misaligned|uncorrectable)",
        "device-side assert triggered",
        "CUBLAS_STATUS_EXECUTION_FAILED",
        r"NVRM: Xid",
    ),
    _known(
        "nccl",
        "the communication between GPUs failed",
        "the rank that failed first has the cause; NCCL_DEBUG=INFO says more",
        r"\bNCCL error",
        r"nccl(?:System|Internal|UnhandledCuda|UnhandledSystem|Remote)Error",
        "Watchdog caught collective operation timeout",
    ),
    _known(
        "shared_memory",
        "the file system for shared memory (/dev/shm) is full",
        "let the data loader have fewer workers, or enlarge it",
        "insufficient shared memory",
        "unable to open shared memory object",
        "No space left on device.*/dev/shm",
        "DataLoader worker .* Bus error",
    ),
    _known(
        "disk_full",
        "a file system is full, or a quota is reached",
        "make room where it writes",
        "No space left on device",
        "Disk quota exceeded",
    ),
    _known(
        "out_of_memory",
        "the host's memory ran out",
        "ask for more memory_mb, so that fewer jobs run beside it, or let it use less",
        r"\bMemoryError\b",
        "Cannot allocate memory",
        "Unable to allocate .* for an array",
        "std::bad_alloc",
        "DefaultCPUAllocator: can't allocate",
        "DataLoader worker .* killed by signal: Killed",
        "Out of memory: Killed process",
    ),
    _known(
        "too_many_files",
        "it had too many files open",
        "submit it with a higher ulimit -n, or let it open fewer",
        "Too many open files",
    ),
    _known(
        "missing_module",
        "a Python module is missing",
        "choose another environment (conda_env), or install it there",
        "ModuleNotFoundError: No module named",
        "ImportError: (?:cannot import name|No module named)",
        near=True,
    ),
    _known(
        "missing_library",
        "a shared library is missing or does not fit",
        "look at the environment of the job, e.g. its LD_LIBRARY_PATH",
        "error while loading shared libraries",
        r"version `\S+' not found",
        "undefined symbol:",
        "cannot open shared object file",
        near=True,
    ),
    _known(
        "port_in_use",
        "a port is taken",
        "give each job another port (MASTER_PORT)",
        "Address already in use",
        "EADDRINUSE",
        near=True,
    ),
    _known(
        "access_denied",
        "a server refused access",
        "the job needs credentials in its environment",
        r"\b(?:401|403) Client Error",
        "GatedRepoError",
        r"Permission denied \(publickey",
        "Authentication failed",
        "HTTP Error (?:401|403)",
        near=True,
    ),
    _known(
        "network",
        "a server could not be reached",
        "see whether the machine has network, and the server runs",
        "Temporary failure in name resolution",
        "Name or service not known",
        "Could not resolve host",
        "Max retries exceeded with url",
        "Connection refused",
        "ConnectionResetError",
        "Network is unreachable",
        near=True,
    ),
    _known(
        "permission_denied",
        "a file may not be read or written",
        "look at its owner and mode, as the user of the job",
        "Permission denied",
        "PermissionError",
        near=True,
    ),
    _known(
        "missing_file",
        "a file is missing",
        "paths are relative to the job's directory (cwd)",
        "FileNotFoundError",
        "No such file or directory",
        near=True,
    ),
    _known(
        "bad_arguments",
        "the command does not know one of its arguments",
        "look at the command line",
        r"error: (?:unrecognized arguments|the following arguments are required|argument \S+:)",
        ": (?:unrecognized|invalid|illegal) option",
        near=True,
    ),
    _known(
        "diverged",
        "the training diverged",
        "try a smaller learning rate, gradient clipping, or another precision",
        r"(?i:\bloss(?: is)?[ :=]+nan\b)",
        "NaN or Inf found in input",
        near=True,
    ),
)
