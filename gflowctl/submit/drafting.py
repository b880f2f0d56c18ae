"""Turns the options of a submission into specs of jobs. Writes nothing.

The submitter's surroundings (environment, umask, directories, scripts) are read once for all jobs.
"""

from __future__ import annotations

import os
from argparse import Namespace
from functools import cache

from gflowctl.options import job_options
from gflowctl.submit import capture
from gflowd import paths
from gflowd.core.errors import GflowError, Refused
from gflowd.core.job.model import HERE, OPEN_FILES, STDIN, Spec
from gflowd.core.job.value_base import Value
from gflowd.core.request import validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final, Self

    from gflowctl.context import Context
    from gflowctl.submit.script_options import Head
    from gflowctl.view.dependency_request import DependencyRequest
    from gflowd.command_line import Parser
    from gflowd.core.job.model import Repeat
    from gflowd.core.slurm.sbatch_options import Option

Words = tuple[str, ...]
ANSWERS = frozenset(("follow", "json", "parsable"))  # options that do not fit together


class Answer(Value):
    """What a submission prints, and what it waits for."""

    __slots__ = ("dry_run", "follow", "json", "parsable", "skip_if_queued", "wait")

    def __init__(
        self, *, dry_run: bool, follow: bool, json: bool, parsable: bool, skip_if_queued: bool, wait: bool
    ) -> None:
        self.dry_run: Final = dry_run
        self.follow: Final = follow
        self.json: Final = json
        self.parsable: Final = parsable
        self.skip_if_queued: Final = skip_if_queued
        self.wait: Final = wait

    @classmethod
    def of(cls, args: Namespace) -> Self:
        """As the options have it."""
        return cls(**{name: getattr(args, name) for name in cls.__slots__})


class Draft(Value):
    """A job to be: its spec, all but `needs`, what that is to be read from, and whether it is to be held. The options
    that made it, wherever they are from, end here; the head of a script may say how it is answered, too.
    """

    __slots__ = ("answer", "held", "spec", "waits_for", "where")

    def __init__(
        self, spec: Spec, waits_for: DependencyRequest | None, answer: Answer, *, held: bool, where: str = ""
    ) -> None:
        self.spec: Final = spec
        self.waits_for: Final = waits_for
        self.answer: Final = answer
        self.held: Final = held
        self.where: Final = where  # prefix of messages about it


class Environment(Value):
    """The variables of jobs, their size, and the conda environment that is active in them."""

    __slots__ = ("conda_env", "name", "size", "variables")

    def __init__(self, name: str, variables: list[bytes]) -> None:
        self.name: Final = name
        self.variables: Final = variables
        self.size: Final = validation.check_size((), variables)
        self.conda_env: Final = capture.active_conda_env(variables)


class Batch(Value):
    """A script as sbatch(1) is given it, its content read: `content` is None where `wrap` is the text of a shell.
    `options` are those of the command line, `name` is the job's if nothing else gives it one.
    """

    __slots__ = ("command", "content", "name", "options", "wrap")

    def __init__(
        self, command: Words, content: bytes | None, options: Sequence[Option], *, name: str, wrap: str | None = None
    ) -> None:
        self.command: Final = command
        self.content: Final = content
        self.options: Final = options
        self.name: Final = name
        self.wrap: Final = wrap


class Drafter:
    """Makes drafts. Gathers the `environments` and `scripts` that they need, by name, and `notes` for the user.

    Results are cached by their arguments: most lines of `--from` have the same ones.
    """

    def __init__(
        self,
        args: Namespace,
        context: Context,
        batch: Batch | None = None,
        *,
        given: Mapping[str, Any] | None = None,
        environment: Mapping[bytes, bytes] | None = None,
    ) -> None:
        """`args`: all options, with the `parser` that knows them; `given`: those of them that were given, where that
        parser did not read them; `environment`: the submitter's, if it is not that of this process.
        """
        self.environments: dict[str, list[bytes]] = {}
        self.scripts: dict[str, bytes] = {}
        self.notes: dict[str, None] = {}
        self._batch = batch
        self._common = args
        self._words = self.parser.words if given is None else ()
        self._context = context
        self._user, self._uid = context.user, context.uid
        self._limits = context.limits
        self._around = capture.Surroundings(embedded=context.embedded, environment=environment)
        self._given = None if given is None else dict(given)
        self._defaults: dict[str, Any] | None = None
        self._head = cache(self._read_head)
        self._environment = cache(self._take_environment)
        self._trouble = cache(self._check_command)
        self._digest = cache(paths.content_name)
        self._script_content = cache(capture.script_content)
        self._login = cache(lambda: capture.login(self._around.environment))
        self._directory = cache(self._find_directory)
        self._git_state = cache(capture.git_state)
        self._output_pattern = cache(capture.output_pattern)
        self._input_file = cache(capture.input_file)
        self._instant = cache(context.instant)

    @property
    def parser(self) -> Parser:
        """That of the options."""
        found: Parser = self._common.parser
        return found

    def draft(self, own: dict[str, Any] | None = None, where: str = "") -> Draft:
        """The job of the command line; its `own` options take precedence. Raises `Refused`, `BadUsage`."""
        args = self._common if own is None else _namespace(vars(self._common) | own)
        command, content = self._command(args)
        if self._batch is None and not _may_have_head(content):
            return self._made(args, command, content, None, where)
        if self._given is None:
            self._given = self.parser.given(self._words)[0]
        if self._defaults is None:
            self._defaults = vars(self.parser.parse_args([]))
        given = self._given | (own or {})
        if self._batch is not None:
            self._defaults |= {"name": self._batch.name, "wrap": self._batch.wrap}
        tasks = given.get("ntasks") or given.get("ntasks_per_node")
        head = self._head(command[0], content or b"", given.get("cpus"), given.get("gpus"), tasks)
        answered = ANSWERS.intersection(given)  # as the command line has it, whatever the head says
        of_head = {name: value for name, value in head.options.items() if not (answered and name in ANSWERS)}
        args = _namespace({**self._defaults, **of_head, **given})
        self.notes.update(dict.fromkeys(head.notes))
        try:
            return self._made(args, command, content, head, where)
        except GflowError as error:
            raise head.blame(error, self.parser, given) from None

    def _made(self, args: Namespace, command: Words, content: bytes | None, head: Head | None, where: str) -> Draft:
        waits_for = job_options.dependencies(args)
        may_come = args.hold or args.begin is not None or waits_for is not None
        spec = self._spec(args, command, content, head, may_come=may_come)
        return Draft(spec, waits_for, Answer.of(args), held=args.hold, where=where)

    def _read_head(self, name: str, content: bytes, cpus: int | None, gpus: int | None, tasks: int | None) -> Head:
        from gflowctl.submit import script_options

        ignore = self._common.ignore_unknown_directives
        return script_options.read(
            self.parser,
            name,
            content,
            cpus=cpus,
            gpus=gpus,
            tasks=tasks,
            ignore_unknown=ignore,
            over=None if self._batch is None else self._batch.options,
        )

    def _command(self, args: Namespace) -> tuple[Words, bytes | None]:
        """The command, and the content of the script that it is, if it is one."""
        if self._batch is not None:
            return self._batch.command, self._batch.content
        if args.wrap is not None:
            if not args.wrap.strip():
                raise Refused("--wrap: the text is empty")
            return ("sh", "-c", args.wrap), None
        words = tuple(args.command)
        if not words:
            from gflowctl.submit import streams

            return (STDIN,), streams.unasked()
        if words[0] == "--" or "\0" in words[0]:
            return words[words[0] == "--" :], None
        if words[0] == "-":
            words = (STDIN, *words[1:])
        if args.source is not None and words[0].startswith(OPEN_FILES):
            raise Refused("a job of --from cannot have its script on standard input or another descriptor")
        return words, self._script_content(words[0])

    def _spec(
        self, args: Namespace, command: Words, content: bytes | None, head: Head | None, *, may_come: bool
    ) -> Spec:
        slurm = head is not None and head.slurm
        env = self._environment(args.export, args.get_user_env)
        validation.check_size(command, (), env.size)
        cwd = self._directory(args.chdir)
        family = self._family(args)
        if args.partition is not None:
            self.notes[f"--partition={args.partition} has no effect"] = None
        begin_at = self._moment(args.begin, "--begin", args.timezone)
        repeat = self._repeat(args, begin_at)
        spec = Spec(
            command=command,
            name=_default_name(args, command) if args.name is None else args.name,
            user=self._user,
            uid=self._uid,
            cwd=cwd,
            env=env.name,
            submitted_at=self._around.now,
            umask=self._around.umask,
            limits=self._around.limits,
            script=None if content is None else self._script(content),
            project=args.project,
            comment=args.comment,
            priority=job_options.priority(args),
            time_limit=args.time or None,
            grace=args.grace,
            quiet_limit=args.quiet_limit or None,
            early_signal=args.signal,
            conda_env=args.conda_env or env.conda_env,
            begin_at=begin_at if repeat is None else repeat.due,
            deadline=self._moment(args.deadline, "--deadline", args.timezone),
            output=self._output(args, cwd, slurm=slurm),
            error=self._output_pattern(args.error, cwd, "--error"),
            input=self._input_file(args.input, cwd),
            append=args.append,
            executor=args.executor,
            cluster=None if args.cluster == HERE else args.cluster,
            retry=job_options.retry(args),
            family=family,
            name_template=args.name_template,
            submit_dir=None if args.chdir is None else self._around.directory,
            slurm=slurm,
            asked=() if head is None else head.asked,
            notify_email=args.notify_email,
            notify_on=args.notify_on or (),
            notify=tuple(dict.fromkeys(args.notify or ())),
            git=self._git_state(cwd),
            repeat=repeat,
            **self._gpus(args),
            **job_options.amounts(args),
        )
        if spec.cluster is None:
            if spec.exclusive or spec.all_memory:
                spec = capture.on_this_machine(spec, self._limits)
            spec = validation.checked(spec, self._limits)
        else:
            from gflowctl.submit import cluster_choice

            spec = cluster_choice.checked(spec, self._context, self._limits)
        if spec.deadline is not None:
            from gflowd.core.request import deadlines

            deadlines.check(spec, self._around.now)
        if spec.notify_on:
            from gflowctl.submit import notification

            self.notes |= dict.fromkeys(notification.notes(spec, self._context.observed.config or {}))
        if content is not None:
            if (note := capture.check_interpreter(command[0], content, cwd)) is not None:
                self.notes[note] = None
        elif args.wrap is None:
            self._note_trouble(args, command, cwd, env, may_come=may_come)
        if family is not None:
            from gflowd.core.request import element_checks

            element_checks.check(spec, self._limits, env.variables)
        return spec

    def _moment(self, given: str | float | None, option: str, zone: str | None) -> float | None:
        """A time, which a program may have given as a number."""
        return self._instant(given, option, zone) if isinstance(given, str) else given

    def _gpus(self, args: Namespace) -> dict[str, Any]:
        found = job_options.gpus(args)
        if args.constraint is not None:
            from gflowctl.submit import constraints

            kind, note = constraints.gpu_type(args.constraint, found, self._limits.gpu_models)
            found["gpu_type"] = kind
            self.notes |= {} if note is None else {note: None}
        return found

    def _take_environment(self, export: str, login_too: bool) -> Environment:  # noqa: FBT001 -- it is cached by both
        login, pages = None, getattr(self._common, "pty", False)
        if login_too or capture.is_of_login(export):
            login, note = self._login()
            self.notes |= {} if note is None else {note: None}
        variables = capture.environment(export, self._around.environment, login, pages=pages)
        for name in capture.unset(export, self._around.environment):
            self.notes[f"--export: {name} is not set"] = None
        name = paths.content_name(b"".join(b"%b\0" % variable for variable in variables))
        self.environments[name] = variables
        return Environment(name, variables)

    def _find_directory(self, chdir: str | None) -> str:
        return capture.working_directory(chdir, self._around)

    def _check_command(self, name: str, cwd: str, env: str, **how: bool) -> str | None:
        return capture.check_command(name, cwd, self.environments[env], **how)

    def _note_trouble(self, args: Namespace, command: Words, cwd: str, env: Environment, *, may_come: bool) -> None:
        conda, many = bool(args.conda_env), job_options.asks_for_many(args)
        note = self._trouble(
            command[0], cwd, env.name, alone=len(command) == 1, may_come=may_come, conda=conda, many=many
        )
        for said in (note, capture.check_shell(command, cwd)):
            if said is not None:
                self.notes[said] = None

    def _script(self, content: bytes) -> str:
        name = self._digest(content)
        self.scripts[name] = content
        return name

    def _output(self, args: Namespace, cwd: str, *, slurm: bool) -> str | None:
        pattern = args.output
        for option, each in (("--output", pattern), ("--error", args.error)):
            if each is not None and (each.startswith("~") or "$" in each):
                self.notes[f"{option} {each}{capture.LITERAL}"] = None
        if slurm and pattern is None:
            from gflowd.core.slurm import sbatch_semantics

            pattern = sbatch_semantics.output_pattern(array=job_options.asks_for_many(args))
        return self._output_pattern(pattern, cwd, "--output")

    def _repeat(self, args: Namespace, begin_at: float | None) -> Repeat | None:
        if args.repeat is None and args.overlap is None:
            return None
        from gflowctl.submit import series_options

        return series_options.asked(args, self._context, self._around.now if begin_at is None else begin_at)

    def _family(self, args: Namespace) -> Any:
        if not job_options.asks_for_many(args):
            return None
        from gflowctl.submit import sweeps

        return sweeps.asked(args)


def _may_have_head(content: bytes | None) -> bool:
    return content is not None and any(word in content for word in (b"GFLOW", b"SBATCH", b"\r", b"#PBS", b"#BSUB"))


def _namespace(fields: Mapping[str, Any]) -> Namespace:
    """As `Namespace(**fields)`, which takes ten times as long."""
    made = Namespace()
    vars(made).update(fields)
    return made


def _default_name(args: Namespace, command: Words) -> str:
    if args.wrap is not None:
        return "wrap"
    if not command:
        return ""  # refused with a reason where everything is checked
    if command[0].startswith(OPEN_FILES) and command[0] != STDIN:
        return "script"  # rather than a number
    return os.path.basename(command[0].rstrip("/")) or command[0]
