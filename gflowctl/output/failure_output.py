"""What a job that failed wrote last, and what that says of the cause. Reads the end of its log or error file."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from gflowctl.output import render
from gflowctl.view import jobs
from gflowctl.view.job_log import open_log
from gflowctl.view.transcript import Transcript
from gflowd.core.errors import Refused
from gflowd.core.job.model import FAILURES, Ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowctl.view.views import View
    from gflowd.core.job.model import Job

LINES = 10
WIDEST, SAID = 400, 120  # characters of a line, and of one that names the cause: its rest is in the last lines
END = 1 << 16  # bytes that are looked at
CUDA_OUT_OF_MEMORY = "cuda_out_of_memory"
CUDA = re.compile(
    r"CUDA out of memory|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation"
    r"|(?:torch\.|torch\.cuda\.)OutOfMemoryError|std::bad_alloc: cudaErrorMemoryAllocation|HIP out of memory"
    r"|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|RESOURCE_EXHAUSTED: Out of memory"
    r"|ResourceExhaustedError.{0,200}OOM when allocating"
)
SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-Za-z]|[@-Z\\^_=>78])")


class LastWords(NamedTuple):
    """The last lines of a file, and what they say of the cause; `said`: the line that does."""

    path: str
    lines: list[str]
    cause: str | None
    said: str | None


def of(view: View, job: Job) -> LastWords | None:
    """Those of a job that failed or exceeded its time; None of another, or where there are none."""
    phase = job.phase
    if not isinstance(phase, Ended) or phase.state not in FAILURES or phase.started_at is None:
        return None
    log = jobs.log_path(view.context.state, job, jobs.attempt(job))
    error = jobs.file_name(job, job.spec.error)
    found = [(log, _lines(log, terminal=jobs.is_terminal_log(job)))]
    if error is not None and error != log:
        found.insert(0, (error, _lines(error, terminal=False)))
    said = next((line for _, lines in found for line in reversed(lines) if CUDA.search(line)), None)
    path, lines = next((each for each in found if each[1]), found[0])
    if not lines:
        return None
    return LastWords(path, lines[-LINES:], None if said is None else CUDA_OUT_OF_MEMORY, said)


def cause(words: LastWords | None) -> Iterator[tuple[str, str]]:
    """The cause as `gflowctl show` has it."""
    if words is not None and words.said is not None:
        yield "Cause", render.escape(f"CUDA ran out of GPU memory, its output says: {_short(words.said.strip(), SAID)}")


def shown(words: LastWords | None) -> Iterator[tuple[str, str]]:
    """The lines as `gflowctl show` has them."""
    if words is not None:
        lines = "".join(f"\n    {render.escape(_short(line))}" for line in words.lines)
        yield "Last lines", f"of {render.escape(words.path)}{lines}"


def _short(line: str, widest: int = WIDEST) -> str:
    return line if len(line) <= widest else f"{line[:widest]}..."


def _lines(path: str, *, terminal: bool) -> list[str]:
    """The last lines as a person saw them, without colours and without what was overwritten."""
    try:
        fd = open_log(path)
    except Refused:
        return []
    if fd is None:
        return []
    try:
        size = os.fstat(fd).st_size
        data = os.pread(fd, END, max(0, size - END))
    except OSError:
        return []
    finally:
        os.close(fd)
    if terminal:
        transcript = Transcript()
        data = transcript.feed(data) + transcript.finish()
    return plain_lines(data.decode(errors="replace"), whole=size <= END)


def plain_lines(text: str, *, whole: bool) -> list[str]:
    """The lines as a person saw them; the first one is left out if it is a part of a line (not `whole`)."""
    found = SEQUENCE.sub("", text).split("\n")
    if not whole:
        del found[0]
    lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in found]
    while lines and not lines[-1]:
        lines.pop()
    return lines
