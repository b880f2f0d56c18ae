"""Run a command as a job, here: wait for its resources, connect it with this terminal, and exit with its status.

The job is queued, started and shown like any other: it gets this environment, directory, umask and ulimits, its output
is kept in its log, and cancel, limits and quotas apply. COMMAND is run as it stands: a script is not copied, and the
options in its head are not read. While the job waits, the reason is shown; Ctrl-C then cancels it.

If standard input and output are a terminal, the job gets a terminal of its own, and every key goes to it: Ctrl-C
interrupts the program, not gflowctl. A run in the background (&) shows output, and takes keys after fg. Without a
terminal, or with --no-pty, input, output and errors are passed through separately, as in a pipeline. Ctrl-C and the
signals QUIT, USR1 and USR2 are then sent on to the job; a second Ctrl-C within a second cancels it.

The job ends with gflowctl: if the terminal is lost, or gflowctl is terminated or killed, the job is cancelled. With
--detach it outlives the terminal: gflowctl stays in the background and writes the output to the job's log.

If gflowd is stopped or restarted meanwhile, the job goes on; gflowctl then waits for gflowd to record its end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import time

from gflowctl.change import wishes
from gflowctl.options import job_options
from gflowctl.output import follow, render
from gflowctl.submit import capture, enqueue
from gflowctl.submit.drafting import Drafter
from gflowctl.view import jobs, reasons, views
from gflowd import paths
from gflowd.core.errors import BadUsage, GflowError
from gflowd.core.job import codec
from gflowd.core.job.model import FINISHED, PROCESS, Begun, Starting
from gflowd.core.job.reasons import NON_ZERO_EXIT, SCHEDULING
from gflowd.core.job.records import WISH
from gflowd.effects.attempt import relay_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflowctl.context import Context
    from gflowctl.submit.run_relay import Pipes, Terminal
    from gflowd.core.job.model import Job
    from gflowd.storage.store import Commit

# Options of a submission that a run does not have: it is one job, which is tried once, and whose output is here.
WITHOUT: dict[str, Any] = {
    "array": None, "param": [], "param_file": None, "name_template": None, "max_concurrent": None, "max_failures": None,
    "max_retries": None, "retry_on": None, "retry_delay": None, "requeue": False, "repeat": None, "overlap": None,
    "output": None, "error": None, "input": None, "append": False, "executor": PROCESS, "cluster": None, "source": None,
    "wait": True, "follow": False, "dry_run": False, "parsable": False, "json": False,
    "skip_if_queued": False,
    "ignore_unknown_directives": False, "partition": None, "auto_close": False,
}  # fmt: skip
PASSED_ON = (signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
ENDING = (signal.SIGHUP, signal.SIGTERM)
AGAIN = 1.0  # seconds within which a second Ctrl-C means that the job is to end
BLOCK = 4096  # bytes
LOOK = 0.3  # seconds between two looks for the reason of a wait, which is not in the snapshot


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    parser.usage = "gflowctl run [OPTIONS] [--] COMMAND [ARG ...]\n       gflowctl run [OPTIONS] --wrap TEXT"
    parser.set_defaults(parser=parser, **WITHOUT)
    job_options.add_resources(parser, new=True)
    job_options.add_tasks(parser)
    job_options.add_identity(parser, new=True)
    job_options.add_order(parser)
    group = parser.add_argument_group("environment")
    job_options.add_directory(group)
    job_options.add_export(group)
    job_options.add_environment(group)
    job_options.add_notification(parser)
    group = parser.add_argument_group("running")
    group.add_argument("--pty", action="store_true", default=None,
                       help="give the job a terminal (default: if standard input and output are one)")  # fmt: skip
    group.add_argument("--no-pty", dest="pty", action="store_false",
                       help="pass input, output and errors through, each for itself")  # fmt: skip
    group.add_argument("--detach", action="store_true", help="let the job go on when the terminal is lost")
    group.add_argument("-q", "--quiet", action="store_true", help="do not say what the job waits for")
    parser.add_argument("--wrap", metavar="TEXT", help="run TEXT with sh -c")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command and its arguments")


def run(args: argparse.Namespace, context: Context) -> int:
    """Queues the job and attends to it."""
    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    if bool(words) == (args.wrap is not None):
        raise BadUsage("give either --wrap or a command, not both" if words else "nothing to run: give a command")
    args.command = ["--", *words] if words else []
    if args.pty is None:
        args.pty = os.isatty(0) and os.isatty(1)
    if args.pty and "TERM" in context.environ:
        args.export += ",TERM"
    attendance = Attendance(args, context)
    try:
        return attendance.stay()
    finally:
        attendance.close()


class Attendance:
    """From the submission of the job to its end. Mutable: what has been said and done so far."""

    def __init__(self, args: argparse.Namespace, context: Context) -> None:
        self._args = args
        self._context = context
        self._signals: list[int] = []
        self._wake, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._said: str | None = None  # the last reason of the wait
        self._said_down = False
        self._begun = False
        self._cancelled = False
        self._interrupted_at = float("-inf")
        self._looked_at = float("-inf")
        self._listen()
        context.writable_store  # noqa: B018 -- it makes the state directory
        self._make_place()
        relay_directory.remove_left(context.state.relays(context.uid))
        self._name = os.urandom(8).hex()
        self._directory = context.state.relay(self._name, context.uid)
        self._link = self._connect()

    def _make_place(self) -> None:
        """Of many users, root has to make it."""
        state, place = self._context.state, self._context.state.relays(self._context.uid)
        if state.shared is None:
            paths.private_directory(place)
        elif not os.access(place, os.W_OK):
            from gflowd.core.gateway import asking
            from gflowd.storage import gateway_client

            gateway_client.ask(state.shared.gate, asking.relay())

    def _connect(self) -> Pipes | Terminal:
        from gflowctl.submit import run_relay as links

        return (links.Terminal if self._args.pty else links.Pipes)(self._directory, detach=self._args.detach)

    def close(self) -> None:
        """Gives the terminal back, and leaves nothing."""
        self._link.let_go()
        relay_directory.remove(self._directory)

    def _listen(self) -> None:
        """Takes signals from before the submission on, but those that we were started to ignore (nohup)."""
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        for number in (*PASSED_ON, *ENDING, signal.SIGWINCH, signal.SIGCONT):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, lambda number, _: self._signals.append(number))

    def _submit(self) -> int:
        drafter = Drafter(self._args, self._context)
        draft = drafter.draft()
        draft = draft.replace(spec=draft.spec.replace(relay=self._name, pty=self._args.pty))
        new = enqueue.queue([draft], drafter, self._context)[0]
        capture.tell(drafter.notes)
        self._context.ring(b"q")
        return new.first

    def stay(self) -> int:
        """Until the job has ended; returns its exit status."""
        from gflowctl.submit import run_relay as links

        job_id = self._submit()
        self._link.log.go_to(self._context.state.job_log(job_id, 1))
        watch = follow.Watch(self._context)
        view, moved_at = watch.look(), time.monotonic()
        while True:
            if not view.knows(job_id):
                raise follow.unknown([job_id])
            if view.has_ended(job_id):
                break
            job = view.job(job_id)
            self._advance(view, job)
            if links.turn(self._link, self._wake, follow.pause(time.monotonic() - moved_at)):
                moved_at = time.monotonic()
            if (number := self._heed(job)) is not None:
                return jobs.SIGNALLED + number
            if watch.changed() or (not self._begun and time.monotonic() - self._looked_at >= LOOK):
                self._looked_at = time.monotonic()
                self._context.forget()
                view = watch.look()
        job = view.job(job_id)
        if not self._begun and jobs.started_at(job) is not None:
            self._tell_start(job)
        for number in (*PASSED_ON, *ENDING):  # whoever takes our output may never do so
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        self._link.finish()
        self._tell_end(view, job)
        return jobs.exit_status(job)

    def _advance(self, view: views.View, job: Job) -> None:
        """Tells what it waits for, and connects it once it has begun."""
        if jobs.is_waiting(job):
            self._tell_wait(view, job)
            return
        self._link.log.go_to(self._context.state.job_log(job.id, jobs.attempt(job)))
        if not self._begun:
            self._tell_start(job)
            self._link.begin()
        elif not self._said_down and self._is_left(job):
            self._said_down = True
            self._link.let_go()
            render.note(f"gflowd is not running; it will record the end of job {job.id} when it does")

    def _tell_start(self, job: Job) -> None:
        self._begun = True
        if self._said is not None:
            render.note(f"job {job.id} starts")

    def _is_left(self, job: Job) -> bool:
        """Whether its command has ended and nobody is there to record that."""
        attempt = self._context.state.own_attempt(job.id, jobs.attempt(job))
        return os.path.exists(os.path.join(attempt, "exit")) and not self._context.daemon_runs

    def _tell_wait(self, view: views.View, job: Job) -> None:
        why = reasons.reason(view, job)
        if why in (None, SCHEDULING, self._said) or self._args.quiet:
            return
        from gflowctl.machine import explanations

        self._said = why
        render.note(f"job {job.id} waits: {explanations.Explainer(view).words(job, why)}")

    def _tell_end(self, view: views.View, job: Job) -> None:
        """Tells why it ended, unless its status says all."""
        why = reasons.reason(view, job)
        if jobs.state(job) == FINISHED or why in (None, NON_ZERO_EXIT):
            return
        from gflowctl.machine import explanations

        render.note(f"job {job.id} {jobs.state(job)}: {explanations.Explainer(view).words(job, why)}")

    def _heed(self, job: Job) -> int | None:
        """Does what signals ask for; returns the one with which we are to leave, whatever becomes of the job."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, BLOCK)
        taken, self._signals = self._signals, []
        for number in taken:
            if number in PASSED_ON and self._may_wait(job, number):
                self._signals.append(number)
            elif number == signal.SIGWINCH:
                self._link.resize()
            elif number == signal.SIGCONT:
                if self._begun and not self._said_down:
                    self._link.begin()
                    self._link.resize()
            elif number == signal.SIGHUP and self._args.detach:
                pass  # a terminal that is lost ends the input by itself, and a pipe goes on
            elif not self._pass_on(job, number):
                return number
        return None

    def _may_wait(self, job: Job, number: int) -> bool:
        """Whether there is soon somebody to send it to; an interrupt after one that waits is not put off."""
        again = number == signal.SIGINT and number in self._signals
        return isinstance(job.phase, Starting) and not (again or self._cancelled or self._said_down)

    def _pass_on(self, job: Job, number: int) -> bool:
        """Sends it to the job, or cancels that; returns False when both have been of no use."""
        now, before = time.monotonic(), self._interrupted_at
        if number == signal.SIGINT:
            self._interrupted_at = now
        if self._cancelled or self._said_down:
            return False
        again = number == signal.SIGINT and now - before <= AGAIN
        if number in PASSED_ON and isinstance(job.phase, Begun) and not again:
            from gflowctl.options import signals

            signals.send(self._context, [job], number)
            return True
        self._cancelled = True
        for each in [*self._signals]:
            if each in PASSED_ON:
                self._signals.remove(each)
        self._cancel(job.id)
        return True

    def _cancel(self, job_id: int) -> None:
        context = self._context

        def decide(commit: Commit) -> None:
            view = views.View(context, commit.fold())
            if view.knows(job_id) and not view.has_ended(job_id):
                wish = wishes.cancelled(view.job(job_id).wish, context.user)
                commit.put(WISH, job_id, codec.encode(wish))

        try:
            context.change(decide)
        except GflowError as error:  # it ends with us in any case
            render.note(str(error))
        context.ring(b"w")
