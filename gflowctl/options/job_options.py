"""The options that describe a job: submit has all of them, redo and update some. Defines and reads them."""

from __future__ import annotations

import argparse

from gflowctl.output import render
from gflowd import command_line
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job.model import EXECUTORS, OVERLAPS
from gflowd.core.request import validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeVar

    from gflowctl.view.dependency_request import DependencyRequest
    from gflowd.core.job.model import EarlySignal, Spec
    from gflowd.core.job.retry_policy import Retry

    Read = TypeVar("Read")

DEFAULT_PRIORITY = 10
LARGEST_PRIORITY = 255
LARGEST_NICE = 2147483645  # sbatch(1)


ALL_MEMORY = -1  # of --memory
GRES = ("gpu", "gres:", "gres/", "none")  # how values of --gres begin


def add_resources(parser: argparse.ArgumentParser, *, new: bool = False) -> None:
    """Resources and limits, each None if not given. `new`: for a new job, which has none yet."""
    group = parser.add_argument_group("resources and limits")
    group.add_argument("-g", "--gpus", "-G", "--gpus-per-node", "--gres", action=Gpus, metavar="N",
                       help=f"number of GPUs{' (default 0; with other GPU options 1)' if new else ''}; "
                            "also as for sbatch, e.g. a100:2 or gpu:a100:2")  # fmt: skip
    group.add_argument("--gpu-type", metavar="NAME", help="only GPUs whose model name contains NAME (ignoring case)")
    if new:
        group.add_argument("-C", "--constraint", metavar="LIST",
                           help="as for sbatch: the GPU type, where a GPU of the machine is so called; else no effect"
                           )  # fmt: skip
    group.add_argument("--gpu-prefer", type=_gpu_prefer, metavar="LIST",
                       help="choose among free GPUs by index or type, best first, e.g. 2,3 or h100,a100; no start is "
                            "delayed by it")  # fmt: skip
    group.add_argument("--gpu-memory", "--max-gpu-mem", "--max-gpu-memory", type=command_line.amount, metavar="MEM",
                       help="only GPUs with at least this much memory; with --shared, the amount to use")  # fmt: skip
    group.add_argument(
        "--shared", action="store_true", help="with --gpu-memory: share GPUs with other jobs that use --shared"
    )
    group.add_argument("-c", "--cpus", "--cpus-per-task", type=command_line.count, metavar="N",
                       help=f"number of CPU slots {'for each task (default 1; ' if new else 'in all ('}0: none)"
                       )  # fmt: skip
    group.add_argument("-m", "--memory", "--mem", "--max-mem", "--max-memory",
                       type=_memory if new else command_line.amount, metavar="MEM",
                       help=f"host memory, e.g. 512 (MiB), 24G or 1.5T{'; all: that of the machine' if new else ''}"
                       )  # fmt: skip
    group.add_argument("-t", "--time", "--time-limit", "--timelimit", type=command_line.duration, metavar="DUR",
                       help="end the job after this long, e.g. 90s, 2h or 1-12:00:00; a bare number is minutes, "
                            "0 means no limit")  # fmt: skip
    if new:
        group.add_argument("--exclusive", action="store_true",
                           help="all CPU slots of the machine and, unless --memory is given, all its memory; of GPUs "
                                "only those asked for")  # fmt: skip
    group.add_argument("--signal", type=_early_signal, metavar="[B:]SIG[@SECONDS]",
                       help="send SIG to the job's processes SECONDS (default 60) before its time limit; with B:, "
                            "only to its command")  # fmt: skip
    group.add_argument("--quiet-limit", type=command_line.duration, metavar="DUR",
                       help="end the job when it has written no output for this long and then for its grace; 0 means "
                            "no limit")  # fmt: skip
    group.add_argument("--grace", type=command_line.duration, metavar="DUR",
                       help="time between the first signal to end the job and SIGKILL")  # fmt: skip


def add_tasks(parser: argparse.ArgumentParser) -> None:
    """How many times --cpus, as sbatch(1) counts. The job's command is started once, whatever is said here."""
    group = parser.add_argument_group("tasks, as for sbatch")
    group.add_argument("--ntasks", type=_task_count, metavar="N",
                       help="--cpus for each of N tasks; the command runs once")  # fmt: skip
    group.add_argument("--ntasks-per-node", type=_task_count, metavar="N",
                       help="the same, since there is one machine; --ntasks takes precedence")  # fmt: skip
    group.add_argument("--mincpus", type=_task_count, metavar="N", help="give the job at least N CPU slots in all")
    group.add_argument("--overcommit", action="store_true", help="give the job 1 CPU slot for all its tasks")


def _task_count(text: str) -> int:
    found = command_line.count(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: the least is 1")
    return found


def amounts(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of a new job's spec that say how many CPUs, tasks and how much memory it has."""
    per_task = 1 if args.cpus is None else args.cpus
    number = args.ntasks or args.ntasks_per_node or 1
    whole = args.memory == ALL_MEMORY
    found: dict[str, Any] = {
        "cpus": max(1 if args.overcommit else number * per_task, args.mincpus or 0),
        "memory_mb": None if whole else args.memory or None,
        "exclusive": args.exclusive,
        "all_memory": whole or (args.exclusive and args.memory is None),
    }
    if args.ntasks is None and args.ntasks_per_node is None and args.cpus is None:
        return found
    from gflowd.core.job.model import Tasks

    count = args.ntasks or args.ntasks_per_node
    return {**found, "tasks": Tasks(count=count, per_node=args.ntasks_per_node, cpus=args.cpus or None)}


def _memory(text: str) -> int:
    return ALL_MEMORY if text == "all" else command_line.amount(text)


class Gpus(argparse.Action):
    """Sets the number of GPUs, and their type where the value names one."""

    def __call__(
        self, _parser: object, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        try:
            found = self.fields(values, option_string)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentError(self, str(error)) from None
        for name, value in found.items():
            setattr(namespace, name, value)

    @staticmethod
    def fields(text: str, option: str | None) -> dict[str, Any]:
        """What it sets: `2`, or as sbatch(1) has it: `a100:2`, `gpu`, `gpu:2`, `gpu:a100:2`. Raises
        `ArgumentTypeError`.
        """
        if ":" not in text and text not in ("gpu", "none"):
            return {"gpus": command_line.count(text)}
        from gflowd.core.slurm import sbatch_semantics

        name = "gres" if option == "--gres" or text.startswith(GRES) else "gpus"
        try:
            number, kind = sbatch_semantics.gpu_request(name, text)
        except Refused as error:
            raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
        return {"gpus": number} if kind is None else {"gpus": number, "gpu_type": kind}


def _gpu_prefer(text: str) -> tuple[str, ...]:
    """A type for argparse: `0,2-3` or `h100,a100`; a range of indices stands for each of them."""
    from gflowd.core.request import gpu_match

    found: list[str] = []
    for word in command_line.words(text):
        first, dash, last = word.partition("-")
        if dash and gpu_match.is_index(first) and gpu_match.is_index(last):
            if int(first) > int(last):
                raise argparse.ArgumentTypeError(f"{word!r} is not a range of indices")
            found += map(str, range(int(first), int(last) + 1))
        else:
            found.append(word)
    if not found:
        raise argparse.ArgumentTypeError("no GPU is named")
    return tuple(dict.fromkeys(found))


def gpus(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of a new job's spec that say which GPUs it wants."""
    return validation.gpu_request(
        args.gpus, args.gpu_type, args.gpu_memory, shared=args.shared, prefer=args.gpu_prefer or ()
    )


def add_identity(parser: argparse.ArgumentParser, *, new: bool = False) -> None:
    """Its name, and what it is accounted to."""
    group = parser.add_argument_group("identity")
    group.add_argument("-n", "--name", "-J", "--job-name", metavar="NAME",
                       help=f"name of the job{' (default: base name of the command)' if new else ''}")  # fmt: skip
    group.add_argument(
        "-P", "--project", "-A", "--account", metavar="CODE", help="project that the job is accounted to"
    )
    group.add_argument("--comment", metavar="TEXT", help="text that gflowctl show shows")


def add_order(parser: argparse.ArgumentParser, *, new: bool = False) -> None:
    """When it may start, and what it waits for."""
    group = parser.add_argument_group("order")
    add_priority(group, new=new)
    add_dependencies(group)
    group.add_argument("--no-auto-cancel", action="store_true",
                       help="stay queued if a dependency can no longer be satisfied")  # fmt: skip
    group.add_argument(
        "--begin", metavar="INSTANT", help="do not start before this time, e.g. 18:30, tomorrow 9:00 or now+2h"
    )
    add_deadline(group)
    command_line.add_timezone(group, command_line.READS)
    group.add_argument("-H", "--hold", action="store_true", help="queue the job held, until gflowctl release")
    if new:
        add_repeat(group)


def add_repeat(group: command_line.Options) -> None:
    """Whether it comes again."""
    group.add_argument("--repeat", metavar="RULE",
                       help='run the job again and again: "daily 02:00", "weekly mon,fri 18:30", "every 6h", or the '
                            'five words of cron, such as "0 2 * * 1-5"')  # fmt: skip
    group.add_argument("--overlap", choices=OVERLAPS,
                       help="what happens to a run that is due while the one before goes on: skip it (the default), "
                            "or queue it until then")  # fmt: skip


def add_deadline(group: command_line.Options) -> None:
    """By when it must have ended."""
    group.add_argument("--deadline", metavar="INSTANT",
                       help="cancel the job, if it is queued, once it can no longer end by this time")  # fmt: skip


def add_dependencies(group: command_line.Options) -> None:
    """What it waits for."""
    group.add_argument("-d", "--depends-on", "--dependency", metavar="SPEC",
                       help="wait for other jobs, e.g. 42, @ or afterok:1:2,afterany:3; see gflow(7)")  # fmt: skip
    group.add_argument(
        "--depends-on-all", metavar="LIST", help="wait until all of these jobs have finished with exit status 0"
    )
    group.add_argument(
        "--depends-on-any", metavar="LIST", help="wait until one of these jobs has finished with exit status 0"
    )
    group.add_argument("--singleton", action="store_true", help="wait for your earlier jobs with the same name")


def add_cluster(group: command_line.Options) -> None:
    """Which machines run it."""
    group.add_argument("--cluster", metavar="NAME",
                       help="hand the job over to this cluster of gflow.toml; auto: to one that can have it, where it "
                            "does not start here in time; none: run it on this machine")  # fmt: skip


def add_directory(group: command_line.Options) -> None:
    """Where it runs."""
    group.add_argument("-D", "--chdir", metavar="DIR", help="the job's working directory (default: the current one)")


def add_export(group: command_line.Options) -> None:
    """Which variables it has."""
    group.add_argument("--export", default="ALL", metavar="ALL|NONE|NAME[=VALUE],...",
                       help="the variables that the job gets (default ALL; NONE: those of a login; names add to them)"
                       )  # fmt: skip
    group.add_argument("--get-user-env", action="store_true", help="add the variables of a login to those of --export")


def add_environment(group: command_line.Options) -> None:
    """Where it finds its programs."""
    group.add_argument("--conda-env", type=_conda_env, metavar="NAME",
                       help="activate this conda environment before the command")  # fmt: skip


def _conda_env(text: str) -> str:
    """A name or a path that conda does not mistake for an option."""
    if text.strip() and not text.startswith("-") and text.isprintable():
        return text
    raise argparse.ArgumentTypeError(f"{text!r} cannot be the name of an environment")


def add_priority(group: command_line.Options, *, new: bool = False) -> None:
    """Its place in the queue."""
    group.add_argument("-p", "--priority", type=_priority, metavar="0-255",
                       help=f"higher starts first{f' (default {DEFAULT_PRIORITY})' if new else ''}")  # fmt: skip
    group.add_argument("--nice", type=_nice, default=0, metavar="N", help="lower the priority by N")


def add_many(parser: argparse.ArgumentParser) -> None:
    """Whether it is many jobs."""
    group = parser.add_argument_group("many jobs")
    group.add_argument("-a", "--array", metavar="SPEC[%N]",
                       help="one job for each index, e.g. 1-10, 0-20:5 or 1,4,9; at most N at a time")  # fmt: skip
    group.add_argument("--param", action="append", default=[], metavar="NAME=VALUES",
                       help="one job for each value, e.g. lr=0.1,0.01 or seed=1:10 (start:stop[:step]); "
                            "if repeated, one for each combination")  # fmt: skip
    group.add_argument("--param-file", metavar="CSV", help="one job for each row; the header row names the parameters")
    group.add_argument(
        "--name-template", metavar="T", help="template for job names, with {name}, {index} and parameters, e.g. {lr}"
    )
    group.add_argument(
        "--max-concurrent", type=command_line.count, metavar="N", help="run at most N of the jobs at a time"
    )
    group.add_argument("--max-failures", type=command_line.count, metavar="N",
                       help="once N jobs have failed, cancel those that have not started")  # fmt: skip


def asks_for_many(args: argparse.Namespace) -> bool:
    """Whether an option of an array or sweep is given."""
    return bool(args.param) or any(
        given is not None
        for given in (args.array, args.param_file, args.name_template, args.max_concurrent, args.max_failures)
    )


def add_retries(parser: argparse.ArgumentParser) -> None:
    """Whether it is tried again."""
    group = parser.add_argument_group("retries")
    group.add_argument("--max-retries", type=command_line.count, metavar="N", help="retry a failed job up to N times")
    group.add_argument("--retry-on", type=_causes, metavar="LIST",
                       help="kinds of failure to retry: failure, timeout, oom, zombie or exit codes "
                            "(default failure,zombie)")  # fmt: skip
    group.add_argument("--retry-delay", type=_delay, metavar="DUR[xFACTOR]",
                       help="delay before a retry, e.g. 30s, or 30sx2 to double it each time")  # fmt: skip
    group.add_argument("--requeue", action="store_true", help="retry the job once if it vanishes, e.g. in a reboot")


def add_notification(parser: argparse.ArgumentParser) -> None:
    """Whom to notify, and of what."""
    group = parser.add_argument_group("notification")
    group.add_argument("--notify-email", "--mail-user", type=_addresses, metavar="ADDR,...",
                       help="send mail to these addresses or users (default with --notify-on: you)")  # fmt: skip
    group.add_argument("--notify", action="extend", type=_urls, metavar="URL",
                       help="send notifications to this webhook, or to a chat by a URL of apprise's; repeatable"
                       )  # fmt: skip
    group.add_argument("--notify-on", "--mail-type", type=_events, metavar="EVENT,...",
                       help="events to notify about: begin, end (the default), fail, all, none, or another of "
                            "gflow(7)'s")  # fmt: skip


def _events(text: str) -> tuple[str, ...]:
    from gflowd.core.notify import event_names

    return _checked(lambda: event_names.parse(command_line.words(text) or [text], event_names.FOR_A_JOB))


def _addresses(text: str) -> str:
    from gflowd.core.syntax import addresses

    return ",".join(_checked(lambda: addresses.addresses(text)))


def _urls(text: str) -> list[str]:
    """URLs, with spaces between."""
    return _checked(lambda: [checked_url(url) for url in text.split() or [text]])


def checked_url(url: str) -> str:
    """A URL that notifications can go to. Raises `Refused` for any other."""
    from gflowd.core.syntax import addresses

    if addresses.scheme(addresses.url(url)) not in addresses.HTTP:
        from gflowd.effects.delivery import services

        services.check(url)
    return url


def _checked(read: Callable[[], Read]) -> Read:
    """What `read` returns; what it refuses is a wrong argument."""
    try:
        return read()
    except Refused as refusal:
        raise argparse.ArgumentTypeError(str(refusal)) from None


def _priority(text: str) -> int:
    """A type for argparse: 0 to 255."""
    if text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_PRIORITY)) and int(text) <= LARGEST_PRIORITY:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a priority (0 to {LARGEST_PRIORITY}, higher first)")


def _nice(text: str) -> int:
    if text.removeprefix("-").isdigit() and text.isascii() and len(text) <= len(str(-LARGEST_NICE)):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")


def _early_signal(text: str) -> EarlySignal:
    from gflowctl.options import signals

    try:
        return signals.parse_early(text)
    except Refused as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _causes(text: str) -> tuple[str | int, ...]:
    from gflowd.core.job import retries

    try:
        return retries.parse_on(text)
    except Refused as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _delay(text: str) -> tuple[float, float]:
    from gflowd.core.job import retries

    try:
        return retries.parse_delay(text)
    except Refused as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def vain_signal(specs: Iterable[Spec]) -> str | None:
    """A note where a warning will never be sent."""
    if any(spec.early_signal is not None and spec.time_limit is None for spec in specs):
        return "--signal is sent before a time limit, but the job has none (--time)"
    return None


def note_vain_signals(specs: Iterable[Spec]) -> None:
    """Says so where a warning will never be sent."""
    if (said := vain_signal(specs)) is not None:
        render.note(f"note: {said}")


def priority(args: argparse.Namespace, before: int = DEFAULT_PRIORITY) -> int:
    """The requested priority of a job that had `before`; `--nice` stays within the range."""
    asked: int = (before if args.priority is None else args.priority) - args.nice
    return max(0, min(LARGEST_PRIORITY, asked))


def retry(args: argparse.Namespace, before: Retry | None = None) -> Retry | None:
    """The retry policy of a job that had `before`. Raises `BadUsage`."""
    if args.max_retries is None and args.retry_on is None and args.retry_delay is None and not args.requeue:
        return before
    from gflowd.core.job.retry_policy import ZOMBIE, Retry

    most = args.max_retries if args.max_retries is not None else before.max_retries if before is not None else 0
    if args.requeue:
        most = max(most, 1)
    elif not most and args.max_retries is None:
        raise BadUsage("--retry-on and --retry-delay need --max-retries N, the number of retries")
    if not most:
        return None
    only_requeue = args.requeue and before is None and args.max_retries is None
    found = Retry(max_retries=most, on=()) if only_requeue else (before or Retry()).replace(max_retries=most)
    if args.retry_on is not None:
        found = found.replace(on=args.retry_on)
    if args.requeue and ZOMBIE not in found.on:
        found = found.replace(on=(*found.on, ZOMBIE))
    if args.retry_delay is not None:
        found = found.replace(delay=args.retry_delay[0], factor=args.retry_delay[1])
    return found


def dependencies(args: argparse.Namespace) -> DependencyRequest | None:
    """The requested dependencies; None if there are none."""
    texts = (args.depends_on, args.depends_on_all, args.depends_on_any)
    if not args.singleton and texts == (None, None, None):
        return None
    from gflowctl.view.dependency_request import DependencyRequest

    stays = getattr(args, "no_auto_cancel", False)  # update has another option for it
    spec, all_of, any_of = texts
    return DependencyRequest(
        spec=spec, all_of=all_of, any_of=any_of, singleton=bool(args.singleton), auto_cancel=not stays
    )


def add_all(parser: argparse.ArgumentParser) -> None:
    """All options of submit, and its command."""
    parser.set_defaults(parser=parser)  # it reads the heads of scripts and the lines of --from too
    add_resources(parser, new=True)
    add_tasks(parser)
    add_identity(parser, new=True)
    add_order(parser, new=True)
    add_many(parser)
    add_retries(parser)
    _add_files(parser)
    add_notification(parser)
    group = parser.add_argument_group("running")
    group.add_argument("--wait", action="store_true", help="wait for the job to end; exit with its status")
    group.add_argument("--follow", action="store_true", help="like --wait, and show the job's output")
    group.add_argument(
        "--dry-run", action="store_true", help="check everything and show what would be queued, but queue nothing"
    )
    group.add_argument("--skip-if-queued", action="store_true",
                       help="print the id of your job with the same name if one has not ended; submit nothing then"
                       )  # fmt: skip
    group.add_argument("--executor", choices=EXECUTORS, help="run in a tmux session or as a detached process")
    add_cluster(group)
    group.add_argument("--partition", metavar="NAME", help="no effect: there is one machine; accepted as by sbatch")
    group.add_argument("--auto-close", action="store_true", help="no effect: a session always ends with its job")
    group.add_argument("--ignore-unknown-directives", action="store_true",
                       help="ignore options in the head of a script that gflow does not support")  # fmt: skip
    group.add_argument("--parsable", action="store_true", help="print only the job's id")
    command_line.add_json(group, "print the new jobs as a JSON list")
    parser.add_argument("--wrap", metavar="TEXT", help="run TEXT with sh -c")
    parser.add_argument("--from", dest="source", metavar="FILE",
                        help="queue a job for each line of FILE (-: standard input), all or none")  # fmt: skip
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND",
                        help="the command or script, and its arguments")  # fmt: skip


def _add_files(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("files and environment")
    add_directory(group)
    group.add_argument(
        "-o", "--output", metavar="PATTERN", help="write standard output to this file instead of the log"
    )
    group.add_argument("-e", "--error", metavar="PATTERN", help="write standard error to this file")
    group.add_argument("-i", "--input", metavar="FILE", help="read standard input from this file")
    group.add_argument("--append", action="store_true", help="append to the output files instead of overwriting them")
    group.add_argument("--open-mode", dest="append", type=_appends, default=argparse.SUPPRESS, metavar="MODE",
                       help="append or truncate, as for sbatch: with append as --append")  # fmt: skip
    add_export(group)
    add_environment(group)


def _appends(text: str) -> bool:
    """A type for argparse: whether a mode of sbatch(1) is to append."""
    from gflowd.core.slurm import sbatch_semantics

    try:
        return sbatch_semantics.appends(text)
    except Refused as error:
        raise argparse.ArgumentTypeError(f"{text!r} is {error}") from None


def parser_of_all(prog: str) -> command_line.Parser:
    """A parser of these options alone, for what is no command line of `gflowctl submit`."""
    made = command_line.Parser(prog=prog, write=render.write)
    add_all(made)
    return made
