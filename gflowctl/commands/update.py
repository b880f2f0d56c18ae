"""Changes queued jobs; of a running job only its time limit, which counts from its start, and its comment.

An array is changed as a whole. Options not given stay as they are; --clear puts them back to what they are without.
--command is split into words as a shell does, nothing in it is expanded; --script keeps the content of a file as
submit does, the arguments stay. The project, the directory and the environment of a job are fixed when it is
submitted: gflowctl redo makes another job.
"""

from __future__ import annotations

import os

from gflowctl import job_options, jobs, options, render, submission, wishes
from gflowd.core import changes, codec, requests
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.model import EXECUTORS, Spec, Wish
from gflowd.snapshot import Fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from gflowctl.context import Context
    from gflowd.core.model import Job

QUEUED_RECORD = {"is": "queued"}
PLAIN = ("gpus", "cpus", "grace", "name", "comment", "executor")  # options taken as they are


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    parser.usage = "gflowctl update [OPTIONS] JOBS ..."
    options.add_jobs(parser)
    job_options.add_resources(parser)
    group = parser.add_argument_group("identity and order")
    group.add_argument("-n", "--name", "-J", "--job-name", metavar="NAME", help="what it is called")
    group.add_argument("--comment", metavar="TEXT", help="shown by gflowctl show")
    job_options.add_priority(group)
    group.add_argument("--begin", metavar="INSTANT", help="not before, such as 18:30, tomorrow 9:00 or now+2h")
    group = parser.add_argument_group("what is run")
    group.add_argument("--command", metavar="TEXT", help="another command with its arguments")
    group.add_argument("--script", metavar="FILE", help="another script")
    group.add_argument("-o", "--output", metavar="PATTERN", help="write standard output there instead of the log")
    group.add_argument("-e", "--error", metavar="PATTERN", help="write standard error there")
    group.add_argument("-i", "--input", metavar="FILE", help="read standard input from there")
    group.add_argument("--append", action="store_true", default=None,
                       help="append to the output files instead of emptying them")  # fmt: skip
    group.add_argument("--executor", choices=EXECUTORS, help="run in a tmux session or as a detached process")
    parser.add_argument("--clear", action="extend", type=options.words, default=[], metavar="OPTION,...",
                        help="options to undo, such as time,begin")  # fmt: skip


def run(args: argparse.Namespace, context: Context) -> int:
    """Rewrites the specs: of all jobs, or of none."""
    common = _common(args, context)
    content = None if args.script is None else _script(args.script)
    if (
        not common
        and not args.clear
        and args.nice == 0
        and all(each is None for each in (args.script, args.output, args.error, args.input))
    ):
        raise BadUsage("nothing to change: give an option (see gflowctl update --help)")
    if not os.path.lexists(context.state.snapshot):
        jobs.View(context, Fold()).select(args.jobs)
    if content is not None:
        submission.keep_script(context.state, content)
    changed: list[Job] = []
    same = []
    with context.writable_store.commit() as commit:
        view = jobs.View(context, commit.fold())
        refused = []
        for spec_id, ids in jobs.by_spec(view, view.select(args.jobs)).items():
            job = _foremost(view, ids)
            try:
                _check_whole(view, spec_id, ids)
                view.check_changeable(spec_id)
                spec = _changed(args, context, job, common, content)
            except Refused as error:
                refused.append(f"job {spec_id if spec_id in view.families else job.id}: {error}")
                continue
            moves = spec.begin_at != job.spec.begin_at or _moves(args)
            moved = [each for each in ids if moves and "begin_at" in (view.fold.of("wish").get(each) or ())]
            if spec == job.spec and not moved:
                same.append(spec_id)
                continue
            changed += map(view.job, ids)
            commit.put("spec", spec_id, codec.encode(spec))
            for each in moved:
                wish = view.job(each).wish.replace(begin_at=None)
                commit.put("wish", each, None if wish == Wish() else codec.encode(wish))
        if refused:
            raise Refused("; ".join(refused))
    if changed:
        context.ring(b"w")
    wishes.tell("Updated", changed)
    for spec_id in same:
        render.note(f"job {spec_id} is so already")
    return 0


def _check_whole(view: jobs.View, spec_id: int, ids: Sequence[int]) -> None:
    if len(ids) < len(view.ids_of(spec_id)):
        raise Refused(f"the elements of an array are changed together; give {spec_id}")


def _foremost(view: jobs.View, ids: Sequence[int]) -> Job:
    """Of an array the first element that waits, or else runs: while some wait, they may all be changed."""
    found = view.job(ids[0])
    if len(ids) > 1:
        left = [job_id for job_id in ids if not view.has_ended(job_id)]
        waiting = (job_id for job_id in left if view.fold.of("phase").get(job_id, QUEUED_RECORD)["is"] == "queued")
        found = view.job(next(waiting, left[0] if left else ids[0]))
    return found


def _moves(args: argparse.Namespace) -> bool:
    """Whether the begin time of `release --at` is to be forgotten for another."""
    return args.begin is not None or "begin" in {word.removeprefix("--") for word in args.clear}


def _common(args: argparse.Namespace, context: Context) -> dict[str, object]:
    """The values by option that are the same for every job."""
    found: dict[str, object] = {name: value for name in PLAIN if (value := getattr(args, name)) is not None}
    if args.memory is not None:
        found["memory"] = args.memory or None
    if args.time is not None:
        found["time"] = args.time or None
    if args.priority is not None:
        found["priority"] = job_options.priority(args)
    if args.begin is not None:
        found["begin"] = context.instant(args.begin, "--begin")
    if args.append:
        found["append"] = True
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
    content = submission.script_content((path,)) if "\0" not in path else None
    if content is None:
        why = "its first line does not begin with #!" if os.path.isfile(path) else "no such file"
        raise Refused(f"--script {path}: {why}")
    return content


def _changed(
    args: argparse.Namespace, context: Context, job: Job, common: dict[str, object], content: bytes | None
) -> Spec:
    """The new spec of one job. Raises `Refused`."""
    spec, state = job.spec, jobs.state(job)
    given = dict(common)
    if args.priority is None and args.nice:
        given["priority"] = job_options.priority(args, spec.priority)
    if content is not None:
        given["script"] = submission.digest(content)
        arguments = given.get("command", spec.command[1:] if spec.script is not None else ())
        assert isinstance(arguments, tuple)
        given["command"] = (args.script, *arguments)
    for option, find in (("output", submission.output_pattern), ("error", submission.output_pattern)):
        if (pattern := getattr(args, option)) is not None:
            given[option] = find(pattern, spec.cwd, f"--{option}")
    if args.input is not None:
        given["input"] = submission.input_file(args.input, spec.cwd)
    found = changes.apply(spec, state, given, args.clear)
    limits = context.limits if state in changes.WAITING else requests.Limits()
    return requests.checked(found, limits.replace(known_projects=(), require_project=False))
