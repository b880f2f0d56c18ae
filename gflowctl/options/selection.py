"""The jobs that a command is to change or to wait for: named by JOBS, or chosen by options, alike for every command."""

from __future__ import annotations

from gflowctl.options import arguments
from gflowctl.output import descriptions
from gflowctl.view import jobs, views
from gflowd import command_line
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job.model import ENDED_STATES, HELD, QUEUED, RUNNING, STARTING, STATES, STOPPING, SUSPENDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from gflowd.core.job.model import Job

WAITING = (QUEUED, HELD)
LIVE = (STARTING, RUNNING, SUSPENDED, STOPPING)
NOT_ENDED = (*WAITING, *LIVE)
NAME = "--name"


def add(parser: argparse.ArgumentParser, every: str, name: str = NAME) -> None:
    """JOBS, and the options to choose them by; `every` says which jobs --all means."""
    arguments.add_jobs(parser, nargs="*")
    group = parser.add_argument_group("which jobs, instead of JOBS")
    short = ("-n",) if name == NAME else ()
    group.add_argument("--all", action="store_true", help=every)
    group.add_argument(
        *short, name, type=command_line.words, metavar="NAME,...", dest="names", help="jobs with these names"
    )
    group.add_argument("-u", "--user", type=command_line.words, metavar="USER,...", help="jobs of these users")
    group.add_argument("-s", "--state", type=command_line.words, metavar="STATE,...", help="jobs in these states")


class Selection:
    """What a command line says. `what`: the command, as in `no job to hold`; `states`: of the jobs that it is for;
    `usual`: those that options choose if they name no state; `runs`: which runs the id of a series means
    (`view.series_runs`); None: the run with this id. `series`: those that were named, once `select` was called.
    """

    __slots__ = ("_args", "_name", "_runs", "_states", "_what", "is_by_options", "series")

    def __init__(
        self,
        args: argparse.Namespace,
        what: str,
        states: Sequence[str] = STATES,
        usual: Sequence[str] | None = None,
        name: str = NAME,
        runs: str | None = None,
    ) -> None:
        """Raises `BadUsage`; `Refused` for states in which no job can be meant."""
        self._args, self._what, self._name, self._runs = args, what, name, runs
        self.series: set[int] = set()
        for option, given in ((name, args.names), ("--user", args.user), ("--state", args.state)):
            if given == []:  # an empty variable of a script; it would choose every job
                raise BadUsage(f"{option}: no {option.rpartition('-')[2]} given")
        self.is_by_options: bool = bool(args.all or args.names or args.user or args.state)
        if bool(args.jobs) == self.is_by_options:
            raise BadUsage(f"name the jobs to {what}, or choose them with --all, {name}, --user or --state")
        given = descriptions.states(args.state)
        self._states = set(usual or states) if args.state is None else set(states).intersection(given)
        if not self._states:
            meant = descriptions.either(states)
            raise Refused(f"--state {','.join(args.state)}: gflowctl {what} is for jobs that are {meant}")

    def select(self, view: views.View) -> list[int]:
        """The ids of the jobs that are meant, ascending if they are chosen by options, which leave out the history."""
        args = self._args
        if not self.is_by_options:
            return self._named(view)
        ids = view.ids() if args.user is None else view.owned(view.ids(), args.user)
        also = self._followed(view)
        if self._states.isdisjoint(ENDED_STATES):
            ids = [job_id for job_id in ids if job_id in also or not view.has_ended(job_id)]
        return [job_id for job_id in ids if self._fits(view.job(job_id), is_followed=job_id in also)]

    def _followed(self, view: views.View) -> frozenset[int]:
        """The runs that are over, but whose series ends only if they are chosen."""
        if self._runs is None or not view.has_series:
            return frozenset()
        from gflowctl.view import series_runs

        return series_runs.followed(view) if self._runs == series_runs.ALL else frozenset()

    def _named(self, view: views.View) -> list[int]:
        if self._runs is None:
            return view.select(self._args.jobs)
        from gflowctl.view import series_runs

        ids, self.series = series_runs.select(view, self._args.jobs, self._runs)
        return ids

    def _fits(self, job: Job, *, is_followed: bool) -> bool:
        state = QUEUED if is_followed else jobs.state(job)
        return state in self._states and (self._args.names is None or jobs.name(job) in self._args.names)

    def nothing(self) -> str:
        """What to say where the options choose no job."""
        options = ((self._name, self._args.names), ("--user", self._args.user), ("--state", self._args.state))
        given = " ".join(f"{option} {','.join(words)}" for option, words in options if words)
        return f"no job to {self._what} matches {given}" if given else f"no job to {self._what}"
