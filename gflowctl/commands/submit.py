"""Queues a command, a script or a line of shell, and prints the new job's id.

The job gets the submitter's environment, umask and working directory. A COMMAND is looked up when the job starts; a
file that begins with #! is a script, and its content is kept with the job as it is now. After -- the command is taken
as it stands. The id is printed once the job is safely on disk; gflowd need not be running.

A job may wait for others: for 42 alone, which has to finish well, or as in Slurm for
afterok:JOB, afterany:JOB, afternotok:JOB, after:JOB[+MINUTES], singleton, joined by , (all of them) or ? (any).
When that can no longer come, the job is cancelled, unless --no-auto-cancel is given.

Names of output files may contain %j (the job's id), %A (array id), %a (element), %x (name), %u (user) and %% (a
percent sign). With --output, --error or --input the job's own descriptors go to files; otherwise its output is a
terminal's, and is logged.

With --wait or --follow the exit status is the job's own: its exit code, 128+N for signal N, 124 for its time limit,
130 when it was cancelled.
"""

from __future__ import annotations

import argparse
import os
import time

from gflowctl import job_options, options, render, submission
from gflowd.core import codec, requests
from gflowd.core.errors import BadUsage, Refused, SystemFailed
from gflowd.core.model import EXECUTORS, Job, Queued, Spec, Wish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from gflowctl.context import Context
    from gflowd.core.arrays import Family
    from gflowd.snapshot import Fold
    from gflowd.store import Commit

DRY = 20  # jobs of which a dry run tells one by one


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    parser.usage = "gflowctl submit [OPTIONS] [--] COMMAND [ARG ...]\n       gflowctl submit [OPTIONS] --wrap TEXT"
    job_options.add_resources(parser, new=True)
    job_options.add_identity(parser, new=True)
    job_options.add_order(parser, new=True)
    job_options.add_many(parser)
    job_options.add_retries(parser)
    _configure_files(parser)
    group = parser.add_argument_group("running")
    group.add_argument("--wait", action="store_true", help="wait for the job to end; exit with its status")
    group.add_argument("--follow", action="store_true", help="as --wait, and show the job's output")
    group.add_argument("--dry-run", action="store_true", help="check all, say what would be queued, queue nothing")
    group.add_argument("--executor", choices=EXECUTORS, help="run in a tmux session or as a detached process")
    group.add_argument("--auto-close", action="store_true", help="accepted; a session ends with its job anyway")
    group.add_argument("--parsable", action="store_true", help="print only the job's id")
    options.add_json(group, "print the new jobs as a JSON list")
    parser.add_argument("--wrap", metavar="TEXT", help="run TEXT with sh -c")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND",
                        help="the command, or a script, and its arguments")  # fmt: skip


def _configure_files(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("files and environment")
    group.add_argument("-D", "--chdir", metavar="DIR", help="the job's working directory (default: this one)")
    group.add_argument("-o", "--output", metavar="PATTERN", help="write standard output there instead of the log")
    group.add_argument("-e", "--error", metavar="PATTERN", help="write standard error there")
    group.add_argument("-i", "--input", metavar="FILE", help="read standard input from there")
    group.add_argument("--append", action="store_true", help="append to the output files instead of emptying them")
    group.add_argument("--export", default="ALL", metavar="ALL|NONE|NAME[=VALUE],...",
                       help="the variables that the job gets (default ALL; NONE: only what a login needs)")  # fmt: skip


def run(args: argparse.Namespace, context: Context) -> int:
    """Queues one job, an array or a sweep."""
    _check_usage(args)
    command, content = _command(args)
    variables = submission.environment(args.export, submission.given_environment())
    requests.check_size(command, variables)
    spec = requests.checked(_spec(args, context, command), context.limits)
    if content is not None:
        spec = spec.replace(script=submission.digest(content))
    spec = spec.replace(env=submission.digest(b"".join(b"%b\0" % variable for variable in variables)))
    if spec.family is not None:
        from gflowctl import sweeping

        sweeping.check(spec, context.limits, variables)
    if args.dry_run:
        if job_options.names_dependencies(args):
            spec = _with_needs(args, context, spec, context.store.read())
        _show(args, context, None, spec)
        return 0
    store = context.writable_store
    submission.keep_environment(context.state, variables)
    if content is not None:
        submission.keep_script(context.state, content)
    with store.commit() as commit:
        if job_options.names_dependencies(args):
            spec = _with_needs(args, context, spec, commit.fold())
        ids = _allocated(commit, spec)
        commit.put("spec", ids[0], codec.encode(spec))
        if args.hold:
            held = codec.encode(Wish(held=True))
            for job_id in ids:
                commit.put("wish", job_id, held)
    context.ring(b"q")
    _announce(args, context, ids, spec)
    return _stay(args, context, ids)


def _allocated(commit: Commit, spec: Spec) -> range:
    """The new ids: one, or one for each element."""
    if spec.family is None:
        count = 1
    else:
        from gflowd.core import arrays

        count = arrays.size(spec.family)
    first = commit.allocate(count)
    return range(first, first + count)


def _with_needs(args: argparse.Namespace, context: Context, spec: Spec, fold: Fold) -> Spec:
    from gflowctl import needs

    return spec.replace(needs=needs.asked(args, fold, context))


def _check_usage(args: argparse.Namespace) -> None:
    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    if args.wrap is not None and words:
        raise BadUsage("give either --wrap or a command, not both")
    if args.wrap is None and not words:
        raise BadUsage("nothing to run: give a command, a script or --wrap TEXT (see gflowctl submit --help)")
    if args.parsable and args.json:
        raise BadUsage("give either --parsable or --json, not both")
    if args.follow and args.json:
        raise BadUsage("give either --follow or --json, not both")
    if args.follow and job_options.asks_for_many(args):
        raise BadUsage("--follow shows one job; use --wait, and gflowctl log JOB_INDEX for the output of one element")


def _command(args: argparse.Namespace) -> tuple[tuple[str, ...], bytes | None]:
    """The command, and the content of the script that it is, if it is one."""
    if args.wrap is not None:
        if not args.wrap.strip():
            raise Refused("--wrap: the text is empty")
        return ("sh", "-c", args.wrap), None
    if args.command[0] == "--":
        return tuple(args.command[1:]), None
    words = tuple(args.command)
    return words, submission.script_content(words) if "\0" not in words[0] else None


def _spec(args: argparse.Namespace, context: Context, command: tuple[str, ...]) -> Spec:
    cwd = submission.working_directory(args.chdir)
    umask = os.umask(0o077)
    return Spec(
        command=command,
        name=_default_name(args, command) if args.name is None else args.name,
        user=context.user,
        cwd=cwd,
        env="",
        submitted_at=time.time(),
        umask=umask,
        project=args.project,
        comment=args.comment,
        priority=job_options.priority(args),
        gpus=args.gpus,
        cpus=args.cpus,
        memory_mb=args.memory or None,
        time_limit=args.time or None,
        grace=args.grace,
        begin_at=None if args.begin is None else context.instant(args.begin, "--begin"),
        output=submission.output_pattern(args.output, cwd, "--output"),
        error=submission.output_pattern(args.error, cwd, "--error"),
        input=submission.input_file(args.input, cwd),
        append=args.append,
        executor=args.executor,
        retry=job_options.retry(args),
        family=_family(args),
        name_template=args.name_template,
        submit_dir=None if args.chdir is None else submission.present_directory(),
    )


def _family(args: argparse.Namespace) -> Family | None:
    if not job_options.asks_for_many(args):
        return None
    from gflowctl import sweeping

    return sweeping.asked(args)


def _default_name(args: argparse.Namespace, command: tuple[str, ...]) -> str:
    if args.wrap is not None:
        return "wrap"
    return os.path.basename(command[0].rstrip("/")) or command[0]


def _announce(args: argparse.Namespace, context: Context, ids: range, spec: Spec) -> None:
    try:
        _show(args, context, ids, spec)
        render.flush()
    except SystemFailed as error:
        queued = "are queued" if len(ids) > 1 else "is queued"
        raise SystemFailed(f"job{'s' if len(ids) > 1 else ''} {_span(ids)} {queued}, but {error}") from None


def _span(ids: range) -> str:
    return f"{ids[0]}-{ids[-1]}" if len(ids) > 1 else str(ids[0])


def _show(args: argparse.Namespace, context: Context, ids: range | None, spec: Spec) -> None:
    if args.json:
        render.write_json(_records(args, context, ids, spec))
    elif ids is None:
        _rehearse(spec)
    elif args.parsable:
        render.write(f"{_span(ids)}\n")
    else:
        render.write(f"Submitted batch job{'s' if len(ids) > 1 else ''} {_span(ids)}\n")


def _records(args: argparse.Namespace, context: Context, ids: range | None, spec: Spec) -> list[dict[str, Any]]:
    from gflowctl import jobs, records
    from gflowd.snapshot import Fold

    view = jobs.View(context, Fold())
    made = []
    for job in _new_jobs(spec, ids[0] if ids is not None else 0, Wish(held=args.hold)):
        record = records.record(view, job)
        if ids is None:
            record |= {"id": None, "array_id": None, "group": None}
        made.append(record)
    return made


def _new_jobs(spec: Spec, first_id: int, wish: Wish) -> Iterable[Job]:
    if spec.family is None:
        return (Job(first_id, spec, wish, Queued()),)
    from gflowctl import sweeping

    return sweeping.jobs(spec, first_id, wish)


def _rehearse(spec: Spec) -> None:
    """A line for each job that would be; beyond some, how many more."""
    from gflowctl import jobs
    from gflowctl.wording import command_line, resources

    number = 0
    for number, job in enumerate(_new_jobs(spec, 0, Wish()), 1):
        if number <= DRY:
            which = "" if spec.family is None else f" [{jobs.index(job)}]"
            said = f"{jobs.name(job)}{which}: {resources(spec)}; {command_line(jobs.command(job))}"
            render.write(f"Would submit {render.escape(said)}\n")
    if number > DRY:
        render.write(f"... and {number - DRY} more\n")


def _stay(args: argparse.Namespace, context: Context, ids: range) -> int:
    """What is left to do once the jobs are queued: note a missing daemon, wait, follow."""
    if render.notes_are_read() and not context.daemon_runs:
        render.note("note: gflowd is not running; the job will start when it does")
    if not (args.wait or args.follow):
        return 0
    from gflowctl import follow, jobs

    if args.follow:
        return jobs.exit_status(follow.follow(context, ids[0]))
    return follow.wait(context, ids) or 0
