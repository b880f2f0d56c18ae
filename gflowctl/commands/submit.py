"""Queue a command, a script or a line of shell, and print the new job's id.

The job gets the submitter's environment, umask, soft resource limits (ulimit) and working directory. A COMMAND is
looked up when the job starts. A file that begins with #! is a script: the job runs a copy of its present content, so $0
names the copy, and GFLOW_SCRIPT and GFLOW_SCRIPT_DIR name the file and its directory. What follows -- is run as it
stands. The id is printed once the job is safely on disk; gflowd need not be running.

With - as the SCRIPT, or with nothing to run while standard input is a file or a pipe, the script is read from standard
input, to its end. A pipe or descriptor is read too, e.g. <(make_script). Such a script also begins with #! and may hold
options; GFLOW_SCRIPT_DIR is then the directory of submission, and there is no GFLOW_SCRIPT. A submission that names a
command, a file, --wrap or --from FILE leaves standard input alone.

Lines of a script that begin with # GFLOW or #SBATCH, before its first command, may also hold options; those on the
command line take precedence. With --from, each line of a file is a job: a JSON object with long options and "command".
See gflow(7) for both.

--array queues one job for each index, --param and --param-file one for each combination of values. {lr} in the command
is replaced by the value of the parameter lr; a script reads GFLOW_PARAM_lr, and the index from GFLOW_ARRAY_TASK_ID or
SLURM_ARRAY_TASK_ID. If 42 is the first id, 42 means all these jobs and 42_3 the one with index 3. See gflow(7).

A job may depend on others. A bare id (42) means that job must finish with exit status 0. Slurm's forms work too:
afterok:JOB, afterany:JOB, afternotok:JOB, after:JOB[+MINUTES] and singleton, joined by , (all of them) or ? (any of
them). If a dependency can no longer be satisfied, the job is cancelled, unless --no-auto-cancel is given.

With --repeat the job is the first run of a series, which has its id. Each run is a job of its own, like this one; the
next is queued as soon as one starts, with its begin time. Runs never overlap. See gflow(7).

Names of output files may contain %j (the job's id), %A (array id), %a (element), %x (name), %u (user) and %% (a percent
sign). With --output, --error or --input the job reads and writes files; otherwise it has a terminal, whose output is
logged. With --output it has no terminal and, without --input, nothing to read. A file is emptied once for a submission,
when the first of its jobs starts: the elements of an array, the jobs of --from and later attempts share it, and a
redone job appends. Output reaches a file through a pipe, so a job that opens /dev/stdout again does not cut it off.

With --cluster the job is for a cluster that gflow.toml names: once nothing here holds it back, it is handed over to the
Slurm there, which decides when and where it runs. GPUs, CPUs, memory and the time limit are asked for there. See
gflow(7).

With --wait or --follow the exit status is the job's own: its exit code, 128+N for signal N (137 also for too much
memory), 124 for its time limit, 130 if it was cancelled, else 1. Standard error says why a job did not finish, so that
cron mails it.

With --skip-if-queued nothing is submitted while an earlier job of yours with the same name is queued, held, running or
to be retried. The id of that job is printed, of an array its range, of a series its first; the exit status is 0, and
--wait does not wait. Two submissions at the same moment queue one job.
"""

from __future__ import annotations

from gflowctl.options import job_options
from gflowctl.output import render
from gflowctl.submit import capture, enqueue
from gflowctl.submit.drafting import Answer, Drafter
from gflowd.core.errors import BadUsage, Refused, SystemFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any

    from gflowctl.context import Context
    from gflowctl.submit.drafting import Batch, Draft
    from gflowctl.submit.enqueue import New
    from gflowd.core.syntax.clocks import Clock

NEW = "; missing directories are created then"
DRY = 20  # jobs that a dry run lists one by one


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    parser.usage = (
        "gflowctl submit [OPTIONS] [--] COMMAND [ARG ...]\n       gflowctl submit [OPTIONS] SCRIPT [ARG ...]\n"
        "       gflowctl submit [OPTIONS] [- [ARG ...]] < SCRIPT\n"
        "       gflowctl submit [OPTIONS] --wrap TEXT\n       gflowctl submit [OPTIONS] --from FILE"
    )
    job_options.add_all(parser)


def drafter_of(batch: Batch, context: Context) -> Drafter:
    """Drafts the job of a script that comes with sbatch's options, not with ours."""
    return Drafter(job_options.parser_of_all("sbatch").parse_args([]), context, batch)


def run(args: argparse.Namespace, context: Context) -> int:
    """Queues one job, an array or a sweep, or all the jobs of --from."""
    _check_usage(args)
    drafter = Drafter(args, context)
    drafts, answer = _drafts(args, drafter)
    if not answer.skip_if_queued:
        return _submit(drafts, answer, drafter, context)
    from gflowctl.submit import skipping

    try:
        return _submit(drafts, answer, drafter, context)
    except skipping.IsQueued as found:
        found.tell(answer)
        return 0


def _drafts(args: argparse.Namespace, drafter: Drafter) -> tuple[list[Draft], Answer]:
    if args.source is None:
        drafts = [drafter.draft()]
        answer = drafts[0].answer
        _check_answer(answer, many=drafts[0].spec.family is not None)
    else:
        answer = Answer.of(args)
        from gflowctl.submit import json_lines

        drafts = list(json_lines.drafts(drafter, args.source))
        if asking := next((draft for draft in drafts if draft.answer.skip_if_queued), None):
            raise Refused(f"{asking.where}--skip-if-queued is for a single submission, not for the jobs of --from")
        if not drafts:
            raise Refused(f"--from {args.source}: it contains no job")
    return drafts, answer


def _submit(drafts: list[Draft], answer: Answer, drafter: Drafter, context: Context) -> int:
    if answer.dry_run:
        capture.tell(drafter.notes, whoever_reads=answer.dry_run)
        rehearsed = enqueue.rehearse(drafts, context)
        _show(answer, context, rehearsed)
        job_options.note_vain_signals(new.spec for new in rehearsed)
        return 0
    made = enqueue.queue(drafts, drafter, context)
    capture.tell(drafter.notes, whoever_reads=answer.dry_run)
    context.ring(b"q")
    try:
        _show(answer, context, made)
        render.flush()
    except SystemFailed as error:
        ids = _span(made)
        queued = f"jobs {_words(ids)} are queued" if len(ids) > 1 else f"job {_words(ids)} is queued"
        raise SystemFailed(f"{queued}, but {error}") from None
    job_options.note_vain_signals(new.spec for new in made)
    if context.observed.has_repeating_reservations and any(new.spec.gpus for new in made):
        from gflowctl.machine import reservation_prospects

        reservation_prospects.note(context, [(_words(new.ids), new.spec) for new in made])
    return _stay(answer, context, _span(made))


def _check_usage(args: argparse.Namespace) -> None:
    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    if args.wrap is not None and words:
        raise BadUsage("give either --wrap or a command, not both")
    if args.source is not None and (words or args.wrap is not None):
        raise BadUsage("give either --from or a command, not both")
    if args.source is not None and args.skip_if_queued:
        raise BadUsage("give either --from or --skip-if-queued, not both")
    if args.wrap is None and args.source is None and args.command == ["--"]:
        from gflowctl.submit import streams

        raise BadUsage(streams.NOTHING)
    _check_answer(Answer.of(args), many=job_options.asks_for_many(args) or args.source is not None)


def _check_answer(answer: Answer, *, many: bool) -> None:
    if answer.parsable and answer.json:
        raise BadUsage("give either --parsable or --json, not both")
    if answer.follow and answer.json:
        raise BadUsage("give either --follow or --json, not both")
    if answer.follow and many:
        raise BadUsage("--follow shows one job; use --wait, and gflowctl log JOB_INDEX for the output of one element")


def _span(made: Sequence[New]) -> range:
    """All their ids, which are consecutive."""
    return range(made[0].first, made[-1].ids.stop)


def _words(ids: range) -> str:
    return f"{ids[0]}-{ids[-1]}" if len(ids) > 1 else str(ids[0])


def _show(answer: Answer, context: Context, made: Sequence[New]) -> None:
    ids = _span(made)
    if answer.json:
        render.write_json(_records(context, made))
    elif answer.dry_run:
        _rehearse(made, context.clock)
    elif answer.parsable:
        render.write(f"{_words(ids)}\n")
    else:
        render.write(f"Submitted batch job{'s' if len(ids) > 1 else ''} {_words(ids)}\n")


def _records(context: Context, made: Sequence[New]) -> list[dict[str, Any]]:
    from gflowctl.output import json_records
    from gflowctl.view import views
    from gflowd.storage.record_log import Fold

    view = views.View(context, Fold())
    found = []
    for new in made:
        unknown: dict[str, Any] = {} if new.first else {"id": None, "array_id": None, "group": None}
        found += [json_records.record(view, job) | unknown for job in new.jobs]
    return found


def _rehearse(made: Sequence[New], clock: Clock) -> None:
    """A line for each job that would be queued, up to a number; then how many more."""
    from gflowctl.output.descriptions import command_line, resources
    from gflowctl.view import jobs

    number = 0
    for new in made:
        for job in new.jobs:
            number += 1
            if number <= DRY:
                which = "" if job.array_id is None else f" [{jobs.index(job)}]"
                said = f"{jobs.name(job)}{which}: {resources(new.spec)}; {command_line(jobs.command(job))}"
                render.write(f"Would submit {render.escape(said)}\n")
    if number > DRY:
        render.write(f"... and {number - DRY} more\n")
    for new in made:
        if new.spec.repeat is not None:
            from gflowctl.output import recurring_series

            dates = recurring_series.dates(next(iter(new.jobs)), clock)
            render.write(f"Repeats {recurring_series.rule(new.spec.repeat)}\nRuns at {dates}\n")
    _tell_files(made, number)


def _tell_files(made: Sequence[New], number: int) -> None:
    """Tells what happens to the output files of the `number` jobs."""
    import os

    from gflowctl.view import jobs
    from gflowd.core.syntax import filename_patterns

    first = f"the first of the {number} jobs" if number > 1 else "the job first"
    told: dict[str, None] = {}
    for new in made:
        spec = new.spec
        for pattern in filter(None, (spec.output, spec.error)):
            if number > 1 and filename_patterns.is_of_one_job(pattern, elements=len(made) == 1):
                path, what = pattern, "a file for each job, emptied when its job first starts"
            else:
                path = pattern if new.spec.family is not None else jobs.file_name(next(iter(new.jobs)), pattern) or ""
                what = f"emptied when {first} starts; later starts append to it"
            path = os.path.join(spec.cwd, path)
            known, rest = filename_patterns.known(os.path.join(filename_patterns.literal(spec.cwd), pattern))
            is_there = "/" not in rest and os.path.isdir(known if rest else os.path.dirname(known))
            told[f"Output goes to {path}, {'appended to' if spec.append else what}{'' if is_there else NEW}"] = None
    for line in told:
        render.write(f"{render.escape(line)}\n")


def _stay(answer: Answer, context: Context, ids: range) -> int:
    """What remains once the jobs are queued: note a missing daemon, wait, follow."""
    if render.notes_are_read() and not context.daemon_runs:
        render.note("note: gflowd is not running; the job will start when it does")
    if not (answer.wait or answer.follow):
        return 0
    from gflowctl.output import follow
    from gflowctl.view import jobs

    status = jobs.exit_status(follow.follow(context, ids[0])) if answer.follow else follow.wait(context, ids) or 0
    if status:
        from gflowctl.submit import wait_report

        wait_report.tell(context, ids)
    return status
