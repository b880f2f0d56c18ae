"""Why a job failed, from how it ended and what it wrote last. Pure: knows a number of causes, and guesses no more."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowctl.agents.failure_patterns import GPU_NOT_VISIBLE, KNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_EVIDENCE = 300  # characters
LOOKED_AT = 1000  # characters at both ends of a line: patterns may take the square of its length
NEAR = 20  # lines before the end
NOT_EXECUTABLE, NOT_FOUND = 126, 127  # exit codes (POSIX sh, 2.8.2)
SIGNALLED = 128
SEGMENTATION_FAULT, KILLED = 11, 9


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ended, and what it had asked for."""

    state: str
    reason: str | None
    exit_code: int | None
    signal: int | None
    gpus: int


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A `cause`, what it means, and what may help; `evidence`: the line of the output that says so, if one does."""

    cause: str
    meaning: str
    advice: str
    evidence: str | None = None


UNKNOWN = Diagnosis("unknown", "its output names no cause that is known here", "read more of its output")
BY_STATE = {
    "timeout": Diagnosis(
        "time_limit", "it exceeded its time limit", "submit it with a longer time_limit, or let it write checkpoints"
    ),
    "cancelled": Diagnosis("cancelled", "it was cancelled", "ask whoever cancelled it"),
}
BY_REASON = {
    "OutOfMemory": Diagnosis(
        "memory_limit",
        "it used more host memory than it had asked for",
        "submit it with more memory_mb, or let it use less",
    ),
    "DependencyFailed": Diagnosis(
        "dependency_failed", "a job that it depends on did not end as it must", "see why that failed, then redo both"
    ),
    "Zombie": Diagnosis(
        "vanished",
        "it vanished without an exit status, e.g. in a reboot or by SIGKILL from outside",
        "redo it; max_retries repeats such jobs",
    ),
    "NoOutput": Diagnosis("no_output", "it wrote no output for longer than its quiet limit", "see where it stood"),
    "Deadline": Diagnosis("deadline", "it could no longer end by its deadline", "submit it with a later deadline"),
    "LaunchFailed": Diagnosis("launch_failed", "gflow could not launch it", "gflowctl doctor checks the installation"),
    "MaxFailures": Diagnosis("max_failures", "too many others of its array failed", "see why these failed"),
}
_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit)(?:: .*)?")
_NOT_FOUND = re.compile(r": (?:command )?not found$|No such file or directory$")


def of(ending: Ending, lines: Sequence[str]) -> Diagnosis:
    """The cause, if it is known: what gflow knows for certain, then what the `lines` say, then what the exit status
    says.
    """
    if (known := BY_REASON.get((ending.reason or "").partition(":")[0])) is not None:
        return known
    if ending.state in BY_STATE:
        return BY_STATE[ending.state]
    lines = [line if len(line) <= 2 * LOOKED_AT else f"{line[:LOOKED_AT]}...{line[-LOOKED_AT:]}" for line in lines]
    ways = (_by_exit_code, _by_pattern, _by_signal, _by_exception)
    return next((found for way in ways if (found := way(ending, lines)) is not None), UNKNOWN)


def _by_exit_code(ending: Ending, lines: Sequence[str]) -> Diagnosis | None:
    if ending.exit_code == NOT_FOUND:
        return Diagnosis(
            "command_not_found",
            "a command was not found",
            "look at its name, and at the PATH of the job",
            _last(lines, _NOT_FOUND),
        )
    if ending.exit_code == NOT_EXECUTABLE:
        return Diagnosis("not_executable", "a command could not be executed", "chmod +x, and its first line (#!)")
    return None


def _by_pattern(ending: Ending, lines: Sequence[str]) -> Diagnosis | None:
    for known in KNOWN:
        line = _last(lines[-NEAR:] if known.near else lines, known.pattern)
        if line is not None:
            more = "; it had asked for none" if known.cause == GPU_NOT_VISIBLE and not ending.gpus else ""
            return Diagnosis(known.cause, known.meaning + more, known.advice, line)
    return None


def _by_signal(ending: Ending, _: Sequence[str]) -> Diagnosis | None:
    number = ending.signal if ending.signal is not None else (ending.exit_code or 0) - SIGNALLED
    if number == SEGMENTATION_FAULT:
        return Diagnosis("segmentation_fault", "the program crashed (SIGSEGV)", "try a debugger, or another build")
    if number == KILLED:
        return Diagnosis(
            "killed",
            "something killed it (SIGKILL), often the kernel when the host's memory ran out",
            "dmesg tells of the kernel; ask for more memory_mb",
        )
    return None


def _by_exception(_: Ending, lines: Sequence[str]) -> Diagnosis | None:
    line = next((line.strip() for line in reversed(lines) if _EXCEPTION.fullmatch(line.strip())), None)
    if line is None:
        return None
    return Diagnosis(
        "exception", "the program ended with an exception", "read the traceback above that line", _cut(line)
    )


def _last(lines: Sequence[str], pattern: re.Pattern[str]) -> str | None:
    found = next((line.strip() for line in reversed(lines) if pattern.search(line)), None)
    return None if found is None else _cut(found)


def _cut(line: str) -> str:
    return line if len(line) <= LONGEST_EVIDENCE else f"{line[:LONGEST_EVIDENCE]}..."
