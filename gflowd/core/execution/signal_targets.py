"""Which processes of a job get a signal that is not a step of the stop ladder: a warning, or `cancel --signal`. Pure.

The processes that take it. A bystander, e.g. the `tee` behind a program, would be killed by it, and the program's
output would be lost; a shell that waits for its children would not pass it on. If no process takes it, the command gets
it and may be killed by it. A shell with a script is not the command; what it runs is. In a job written for Slurm its
script is never the command, as for scancel(1), which signals steps alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from gflowd.core.execution.procstat import Process

SHELLS = frozenset(
    ("ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "ksh93", "mksh", "posh", "rbash", "sh", "tcsh", "yash",
     "zsh")
)  # fmt: skip

LAUNCHER = "srun"  # would pass a signal on to its tasks, which are asked themselves

HUP, INT, TRAP, KILL, CHLD, CONT, STOP, WINCH = 1, 2, 5, 9, 17, 18, 19, 28  # Linux on x86 and arm (signal(7))
# No process answers these, or all of a job have to: a part of it that is stopped alone holds up the others.
TO_ALL = frozenset((KILL, STOP, CONT))
# Some shells catch these for themselves, so a handler says nothing about the script.
HOUSEKEEPING = frozenset((CHLD, HUP, INT, TRAP, WINCH))
FROM_A_TERMINAL = frozenset((HUP, INT))


@dataclass(frozen=True, slots=True)
class Member:
    """A process of a job, and what it does with one signal: `takes` it by a handler of its own or by waiting for it.

    `doubtful`: it catches even its own faults, as bash does for a trap on EXIT, and may still die of the signal.
    """

    process: Process
    takes: bool
    doubtful: bool = False
    shell: bool = False


def is_shell(executable: str) -> bool:
    """Whether a program, by its path, is a shell."""
    return executable.rpartition("/")[2].removesuffix(" (deleted)").removeprefix("static-") in SHELLS


def chosen(members: Sequence[Member], leader: int | None, number: int, *, slurm: bool = False) -> list[Process]:
    """Those of `members` (without `job.sh`, whose pid is `leader`) that the signal `number` goes to. `slurm`: the job
    was written for Slurm.
    """
    everyone = [member.process for member in members]
    if number in TO_ALL:
        return everyone
    takers = [member for member in members if member.takes]
    sure = [m for m in takers if not m.shell or not (m.doubtful or number in HOUSEKEEPING)]
    if sure:
        return [member.process for member in sure]
    if slurm:
        return commands(members, leader, script=True)
    if takers and number in FROM_A_TERMINAL:
        return everyone  # as a terminal would: a shell's end by them depends on how its child ended
    return [member.process for member in takers] or commands(members, leader)


def commands(members: Sequence[Member], leader: int | None, *, script: bool = False) -> list[Process]:
    """What the job runs: the children of `job.sh`, and in place of a shell what the shell runs. `script`: the children
    are a script in whichever language, and what counts is what they run.
    """
    pids = {member.process.pid for member in members}
    heads = [member for member in members if member.process.parent == leader]
    heads = heads or [member for member in members if member.process.parent not in pids]
    if script:
        pids = {member.process.pid for member in heads}
        heads = [member for member in members if member.process.parent in pids]
    return [member.process for member in _below_shells(heads, members)]


def _below_shells(heads: Iterable[Member], members: Collection[Member]) -> list[Member]:
    found, rest = [], list(heads)
    while rest:
        member = rest.pop()
        if member.shell:
            rest += [each for each in members if each.process.parent == member.process.pid]
        else:
            found.append(member)
    return found
