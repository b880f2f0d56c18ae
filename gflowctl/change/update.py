"""Applies the options of `gflowctl update` to a job's spec. Writes only the content of a new script."""

from __future__ import annotations

import os
import time

from gflowctl.options import job_options
from gflowctl.submit import capture
from gflowctl.view import jobs, kept_submission
from gflowd import paths
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job.dependencies import NOTHING
from gflowd.core.job.model import HERE, STDIN
from gflowd.core.request import update_rules, validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from gflowctl.context import Context
    from gflowctl.view.views import View
    from gflowd.core.job.arrays import Family
    from gflowd.core.job.dependencies import Needs
    from gflowd.core.job.model import Job, Spec

PLAIN = (
    "gpus", "cpus", "gpu-type", "gpu-prefer", "shared", "signal", "grace", "name", "comment", "append", "executor",
    "cluster", "conda-env", "notify-email", "notify-on",
)  # fmt: skip
RETRY = ("max-retries", "retry-on", "retry-delay", "requeue")
LIMITS = ("max-concurrent", "max-failures")
NEEDS = ("depends-on", "singleton", "auto-cancel")
SERIES = ("repeat", "overlap")
PATHS = ("script", "output", "error", "input")
DEADLINE = ("deadline", "time", "begin")  # fields on which it depends whether a deadline can be met
RUN = ("command", "script", "name", "param", "output")  # fields that may become too long, or lack a parameter


def given(args: argparse.Namespace, option: str) -> object:
    """The value of an option; None if it is not given, or does not exist."""
    value: object = getattr(args, option.replace("-", "_"), None)
    return None if value is False or value == [] else value


class Request:
    """The part of the request that is the same for all jobs. `needs`: the new dependencies; None: unchanged."""

    def __init__(self, args: argparse.Namespace, context: Context) -> None:
        self.args = args
        self.context = context
        self.clear: Sequence[str] = args.clear
        self.values = _values(args, context)
        self.notes: dict[str, None] = {}
        self.script_name, self.script = self._script()
        self.slurm = self.script is not None and self._is_for_slurm(self.script_name, self.script)
        self.parameters = _parameters(args.param)
        self.waits_for = job_options.dependencies(args)
        self.needs: Needs | None = None

    @property
    def cleared(self) -> set[str]:
        """The options to clear. Raises `Refused` for an unknown one."""
        return {update_rules.option(word).name for word in self.clear}

    @property
    def options(self) -> set[str]:
        """The given options."""
        args = self.args
        more = {*RETRY, *LIMITS, *PATHS, *SERIES, "param"}
        found = set(self.values) | {option for option in more if given(args, option) is not None}
        found |= set() if self.waits_for is None else {"depends-on"}
        found |= {"auto-cancel"} if args.auto_cancel is not None else set()
        return found | ({"priority"} if args.nice else set())

    def _script(self) -> tuple[str, bytes | None]:
        """The name and content of what `--script` gives, or of a command that is one."""
        if self.args.script is not None:
            name = STDIN if self.args.script == "-" else self.args.script
            return name, _script(name)
        command = self.values.get("command")
        name = command[0] if isinstance(command, tuple) and command else ""
        return name, capture.script_content(name) if name and "\0" not in name else None

    def _is_for_slurm(self, name: str, content: bytes) -> bool:
        """Raises `Refused` for a head that would be refused at submission. Its options set nothing now."""
        from gflowd.core.request import script_head

        try:
            head = script_head.read(content, ignore_unknown=True)
        except Refused as error:
            raise Refused(f"{name}: {error}") from None
        if head.argv:
            self.notes[f"{name}: options in a script's head count only at submission; give them to update"] = None
        return head.slurm

    def look_up_needs(self, view: View) -> None:
        """Finds the jobs to wait for. Raises `Refused`."""
        if self.waits_for is not None:
            from gflowctl.view import dependency_request

            self.needs = dependency_request.asked(self.waits_for, view)

    def apply(self, view: View, job: Job, ids: Sequence[int]) -> Spec:
        """The new spec of `job`, or of its array; `ids`: the elements that are named. Raises `Refused`."""
        state = jobs.state(job)
        base = update_rules.apply(job.spec, state, {}, self.clear)
        values = self.values | self._own_values(base)
        values |= self._family(view, job, base.family, ids)
        found = update_rules.apply(job.spec, state, values, self.clear)
        if self.script is not None:
            found = found.replace(slurm=self.slurm)
        limits = validation.of_update(self.context.limits, waits=state in update_rules.WAITING)
        if self.needs is not None:
            from gflowctl.view import dependency_request

            dependency_request.check_elements(self.needs, found.family, view.records)
        if found.cluster is not None and state in update_rules.WAITING:
            from gflowctl.submit import cluster_choice

            found = cluster_choice.checked(found, self.context, limits)
        else:
            found = validation.checked(found, limits)
        if state in update_rules.WAITING and {*self.options, *self.cleared}.intersection(DEADLINE):
            from gflowd.core.request import deadlines

            deadlines.check(found, view.now)
        if self.options.intersection(RUN):
            self._check_what_is_run(job, found, limits)
        return found

    def _own_values(self, base: Spec) -> dict[str, object]:
        """The changes that depend on the old spec."""
        args, found = self.args, dict[str, object]()
        if args.priority is None and args.nice:
            found["priority"] = job_options.priority(args, base.priority)
        if self.script is not None:
            found["script"] = paths.content_name(self.script)
            found["command"] = (self.script_name, *self._arguments(base))
        for option in ("output", "error"):
            if (pattern := getattr(args, option)) is not None:
                found[option] = capture.output_pattern(pattern, base.cwd, f"--{option}")
        if args.input is not None:
            found["input"] = capture.input_file(args.input, base.cwd)
        found |= self._series(base)
        retry = job_options.retry(args, base.retry)
        found |= {option: retry for option in RETRY if given(args, option) is not None}
        kept = (base.needs or NOTHING).auto_cancel
        needs = base.needs if self.needs is None else self.needs.replace(auto_cancel=kept)
        if args.auto_cancel is not None and needs is not None:
            needs = found["auto-cancel"] = needs.replace(auto_cancel=args.auto_cancel)
        return found if self.needs is None else {**found, "depends-on": needs}

    def _series(self, base: Spec) -> dict[str, object]:
        """The rule of the series, with the time at which the run is due then. Raises `Refused`."""
        args, before = self.args, base.repeat
        if before is not None and not (self.options | self.cleared).isdisjoint(NEEDS):
            raise Refused(update_rules.WAITS_FOR_RUN)
        if before is not None and args.deadline is not None:
            raise Refused(update_rules.HAS_NO_DEADLINE)
        options = [option for option in SERIES if given(args, option) is not None]
        if not options:
            return {}
        if before is None:
            raise Refused(update_rules.NO_SERIES.format(option=options[0]))
        after, begin = before, dict[str, object]()
        if args.repeat is not None:
            from gflowctl.submit import series_options

            at = time.time() if args.begin is None else self.context.instant(args.begin, "--begin")
            after = series_options.repeat(args.repeat, self.context.timezone_given or before.zone, at)
            after = after.replace(series=before.series, overlap=before.overlap)
            begin = {"begin": after.due}
        after = after.replace(overlap=args.overlap or before.overlap)
        return begin | dict.fromkeys(options, after)

    def _arguments(self, base: Spec) -> tuple[str, ...]:
        """Of a new script: those of the new command, or those that the old one had."""
        command = self.values.get("command")
        if isinstance(command, tuple):
            return command if self.args.script is not None else command[1:]
        return base.command[1:] if base.script is not None else ()

    def _family(self, view: View, job: Job, family: Family | None, ids: Sequence[int]) -> dict[str, object]:
        """The limits and parameters of an array or sweep."""
        options = [option for option in (*LIMITS, "param") if given(self.args, option) is not None]
        if not options:
            return {}
        if family is None or job.array_id is None:
            raise Refused(f"--{options[0]} is for arrays and sweeps")
        from gflowd.core.job import arrays

        limits = {"max_concurrent": self.args.max_concurrent, "max_failures": self.args.max_failures}
        arrays.check_limits(**limits)
        family = family.replace(**{name: number for name, number in limits.items() if number is not None})
        if self.parameters:
            if not family.axes:
                raise Refused("--param is for sweeps")
            positions = (each - job.array_id for each in _waiting(view, job.array_id, ids))
            family = arrays.overridden(family, positions, self.parameters)
        return dict.fromkeys(options, family)

    def _check_what_is_run(self, job: Job, spec: Spec, limits: validation.Limits) -> None:
        try:
            variables = kept_submission.environment(self.context.state, spec).split(b"\0")
        except OSError:
            variables = []
        validation.check_size(spec.command, variables)
        if spec.script is None and "command" in self.values:
            may_come = job.wish.held or spec.begin_at is not None or spec.needs is not None
            note = capture.check_command(
                spec.command[0], spec.cwd, variables, alone=len(spec.command) == 1, may_come=may_come,
                conda=spec.conda_env is not None, many=spec.family is not None,
            )  # fmt: skip
            self.notes |= {} if note is None else {note: None}
        if spec.family is not None:
            from gflowd.core.request import element_checks

            element_checks.check(spec, limits, variables)


def _waiting(view: View, array_id: int, ids: Sequence[int]) -> Sequence[int]:
    """Those of `ids` that wait; unless the whole array is named, all of them must. Raises `Refused`."""
    found = [each for each in ids if jobs.is_waiting(view.job(each))]
    if len(found) < len(ids) < len(view.ids_of(array_id)) or not found:
        late = next(each for each in map(view.job, ids) if not jobs.is_waiting(each))
        raise Refused(f"--param cannot be changed: {jobs.label(late)} is {jobs.state(late)}")
    return found


def _values(args: argparse.Namespace, context: Context) -> dict[str, object]:
    """The values by option that are the same for every job."""
    found = {option: value for option in PLAIN if (value := given(args, option)) is not None}
    for option in ("memory", "gpu-memory", "time", "quiet-limit"):
        if (value := given(args, option)) is not None:
            found[option] = value or None
    if args.cluster == HERE:
        found["cluster"] = None
    if args.priority is not None:
        found["priority"] = job_options.priority(args)
    if args.begin is not None:
        found["begin"] = context.instant(args.begin, "--begin")
    if args.deadline is not None:
        found["deadline"] = context.instant(args.deadline, "--deadline")
    if args.notify:
        found["notify"] = tuple(dict.fromkeys(args.notify))
    if args.command is not None:
        found["command"] = _words(args.command)
    return found


def _words(text: str) -> tuple[str, ...]:
    import shlex

    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise BadUsage(f"--command: {str(error).lower()}") from None


def _script(path: str) -> bytes:
    try:
        content = capture.script_content(path) if "\0" not in path else None
    except Refused as error:
        raise Refused(f"--script: {error}") from None
    if content is None:
        why = "its first line does not begin with #!" if os.path.isfile(path) else "no such file"
        raise Refused(f"--script {path}: {why}")
    return content


def _parameters(texts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        validation.check_text(text)
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise Refused(f"--param: {text[:40]!r} is not a parameter with its value (e.g. lr=0.1)")
        if name in found:
            raise Refused(f"--param: {name} is given twice")
        found[name] = value
    return found
