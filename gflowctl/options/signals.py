"""Signals for the processes of running jobs, and no others."""

from __future__ import annotations

import os

from gflowctl.view import jobs
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job.model import Begun, EarlySignal
from gflowd.core.syntax import durations, signal_names
from gflowd.effects import daemon
from gflowd.effects.kernel import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowctl.context import Context
    from gflowd.core.job.model import Job

HEEDING, COMMAND, EVERYONE = "heeding", "command", "everyone"  # whom `send` sends to
EARLY = 60.0  # seconds, as sbatch(1)
EARLIEST = 30 * 86400.0
UNCATCHABLE = (signal_names.NUMBERS["KILL"], signal_names.NUMBERS["STOP"])


def parse(text: str) -> int:
    """`INT`, `SIGINT` or `2`. Raises `BadUsage`."""
    try:
        return signal_names.number(text)
    except ValueError:
        raise BadUsage(f"--signal: {text!r} is not a signal (try USR1 or 10)") from None


def parse_early(text: str) -> EarlySignal:
    """`[B:]SIG[@SECONDS]`, as sbatch(1) has it; also durations with a unit, such as `USR1@10m`. Raises `Refused`."""
    head, colon, rest = text.rpartition(":")
    name, at, ahead = rest.partition("@")
    if colon and head.upper() != "B":
        raise Refused(f"{text!r} is not of the form [B:]SIGNAL[@SECONDS]")
    try:
        number = parse(name)
    except BadUsage:
        raise Refused(f"{name!r} is not a signal (try USR1 or 10)") from None
    if number in UNCATCHABLE:
        raise Refused(f"{signal_names.name(number)} cannot be caught, so it cannot be a warning")
    plain = ahead.isascii() and ahead.isdigit()
    before = durations.parse(f"{ahead}s" if plain else ahead) if at else EARLY
    if not 0 < before <= EARLIEST:
        raise Refused(f"{text!r}: a warning must come 1 second to 30 days before the time limit")
    return EarlySignal(number=number, before=before, command_only=bool(colon))


def send(context: Context, found: Sequence[Job], number: int, whom: str = HEEDING) -> dict[int, int]:
    """Sends `number` to the processes of jobs that have begun and that take it (`processes.heeding`), or to others
    (`whom`); returns how many of each job. Never to this process, which may itself be in a job.
    """
    leaders, owners = {}, {}
    written_for_slurm = {job.id for job in found if job.spec.slurm}
    for job in found:
        context.check_own(job.spec, jobs.label(job))
        assert isinstance(job.phase, Begun)
        identity = None if job.phase.started is None else job.phase.started.identity
        mark = processes.job_mark(context.state.root, job.id, job.phase.run.attempt)
        leaders[job.id, job.phase.run.attempt] = identity, mark
        owners[job.id, job.phase.run.attempt] = job.spec.uid
    running = daemon.running(context.state)
    members = processes.members(leaders, os.getpid() if running is None else running.pid)
    sent = {}
    for key, (leader, _) in leaders.items():
        pid = None if leader is None else leader.pid
        if whom == HEEDING:
            meant = processes.heeding(members[key], pid, number, slurm=key[0] in written_for_slurm)
        else:
            meant = [each for each in members[key] if each.pid != pid and (whom == EVERYONE or each.parent == pid)]
        if (owner := owners[key]) is not None:  # what another user's process says of itself counts for nothing
            meant = [each for each in meant if processes.is_of(each, owner)]
        sent[key[0]] = sum(processes.send(each, (number,)) for each in meant if each.pid != os.getpid())
    return sent
