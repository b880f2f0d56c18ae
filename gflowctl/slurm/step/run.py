"""One step of the job that we are in, from its turn to its exit status."""

from __future__ import annotations

import os
import signal

from gflowctl.output import render
from gflowctl.slurm.step import guard, tasks
from gflowctl.slurm.step.ledger import Ledger
from gflowctl.slurm.step.streams import Screen
from gflowd.core.errors import GflowError, Refused
from gflowd.core.slurm import site
from gflowd.core.slurm.step import srun_options, step_tasks, steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gflowd.core.slurm.step.srun_options import Step
    from gflowd.core.slurm.step.steps import Need, Pool

READ = 1 << 21  # bytes of a program
LARGEST_FILE = 1 << 22  # bytes
CANCELLING = (signal.SIGINT, *tasks.ENDING)


def run(step: Step, environ: Mapping[str, str]) -> int:
    """Runs the step; returns the exit status of its srun. Raises `Refused`."""
    signals = tasks.Signals()
    _be_named()
    job, attempt = environ["SLURM_JOB_ID"], tasks.attempt_directory(environ)
    parent, pool = steps.place(environ)
    try:
        need = steps.need(step, pool)
    except Refused as error:
        raise Refused(f"Unable to create step for job {job}: {error}") from None
    commands = _commands(step, need.tasks)
    bindings = [step_tasks.gpus_of_task(step, range(need.gpus), task) for task in range(need.tasks)]
    base = step_tasks.base_environment(step, environ)
    limit = _limit(step)
    _enter(step, base)
    if step.pty and not os.isatty(0):
        render.note("error: Not using a pseudo-terminal, disregarding --pty option")
        step.pty = False
    ledger = Ledger(attempt, pool, parent)
    guards: list[guard.Guard] = []
    done = False
    try:
        found = _turn(step, need, ledger, signals, guards, job)
        if found is None:
            done = True
            return 1
        number, places = found
        variables = _variables(step, need, number, pool, places, environ)
        files = tasks.Files(step, need.tasks, _names(environ, variables, number))
        descriptors, feed = files.open()
        screen = Screen() if step.pty else None
        if screen is not None:
            descriptors = [(screen.slave,) * 3, *[(files.nothing,) * 3] * (need.tasks - 1)]
        starts = []
        for task, command in enumerate(commands):
            own = _own(task, bindings[task], need, variables)
            three = descriptors[task]
            on_screen = screen is not None and task == 0
            starts.append(tasks.Start(command, {**base, **variables, **own}, three, terminal=on_screen))
        name, marks = f"{job}.{number}", tasks.marks_directory(environ)
        working = tasks.Tasks(step, name, variables["SLURMD_NODENAME"], guards[0], signals, marks)
        working.start(starts)
        files.begun()
        if screen is not None:
            screen.begin()
        if limit is not None:
            working.limit(limit)
        working.attend(files.outputs, feed if screen is None else screen)
        done = True
        return step_tasks.status(working.ends.values()) or int(files.failed)
    finally:
        for each in guards:
            each.dismiss(done=done)
        ledger.leave()


def _be_named() -> None:
    """Others see that we are no program that takes signals for itself."""
    try:
        with open("/proc/self/comm", "wb", buffering=0) as file:
            file.write(b"srun")
    except OSError:
        pass


def _commands(step: Step, count: int) -> Sequence[tuple[str, ...]]:
    """What each task runs. Raises `Refused`."""
    if not step.command:
        raise Refused("No command given to execute.")
    if step.multi:
        return step_tasks.programs(_read(step.command[0], LARGEST_FILE).decode(errors="surrogateescape"), count)
    if count > 1:
        try:
            content = _read(tasks.found(step.command[0], dict(os.environ)), READ)
        except (OSError, GflowError):
            content = b""
        if (why := srun_options.why_no_mpi(step, count, content)) is not None:
            raise Refused(why)
    return (step.command,) * count


def _read(path: str, most: int) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None


def _limit(step: Step) -> float | None:
    if step.time is None or step.time.upper() in ("UNLIMITED", "INFINITE"):
        return None
    from gflowd.core.syntax import durations

    return durations.parse(step.time) or None


def _enter(step: Step, base: dict[str, str]) -> None:
    if step.chdir is not None:
        try:
            os.chdir(step.chdir)
        except OSError as error:
            raise Refused(f"couldn't chdir to `{step.chdir}': {error.strerror}") from None
        base["PWD"] = os.getcwd()


def _turn(
    step: Step, need: Need, ledger: Ledger, signals: tasks.Signals, guards: list[guard.Guard], job: str
) -> tuple[int, tuple[int, ...]] | None:
    """The number of the step and the places of its GPUs, once it may start; None if it is cancelled before."""

    def companion() -> int:
        guards.append(guard.Guard())
        return guards[0].pid

    waited = False
    while (found := ledger.take(need, companion)) is None:
        if step.immediate:
            raise Refused(f"Unable to create step for job {job}: {steps.BUSY}")
        if not waited and not step.quiet:
            render.note(f"Job {job} step creation temporarily disabled, retrying ({steps.BUSY})")
        waited = True
        ledger.wait(signals.wake)
        if any(number in CANCELLING for number in signals.taken()):
            render.note(f"Cancelled pending step for job {job}")
            return None
    if waited and not step.quiet:
        render.note(f"Step created for StepId={job}.{found[0]}")
    return found


def _variables(
    step: Step, need: Need, number: int, pool: Pool, places: Sequence[int], environ: Mapping[str, str]
) -> dict[str, str]:
    names = [pool.gpus[place] for place in places]
    known = environ.get("SLURM_STEP_GPUS" if steps.STEP in environ else "SLURM_JOB_GPUS", "").split(",")
    ids = [known[place] if len(known) == len(pool.gpus) else pool.gpus[place] for place in places]
    node = site.node(os.uname().nodename)
    found = step_tasks.step_variables(step, need, number, node, names, ids)
    return {**found, steps.STEP: steps.told(number, need, names)}


def _names(environ: Mapping[str, str], variables: Mapping[str, str], number: int) -> tasks.Namer:
    """The file of a task by a pattern."""
    here = {**environ, **variables}
    return lambda pattern, task: step_tasks.path(pattern, here, number, task, _user)


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _own(task: int, places: Sequence[int], need: Need, variables: Mapping[str, str]) -> dict[str, str]:
    """What only one task has."""
    found = {"SLURM_PROCID": str(task), "SLURM_LOCALID": str(task)}
    if len(places) != need.gpus:
        for name in ("CUDA_VISIBLE_DEVICES", "SLURM_STEP_GPUS"):
            words = variables.get(name, "").split(",")
            found[name] = ",".join(words[place] for place in places)
    return found
