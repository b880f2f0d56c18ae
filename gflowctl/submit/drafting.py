"""What the options of a submission ask for, as specs of jobs. Writes nothing.

The submitter's world (environment, umask, directories, scripts) is looked at once, however many jobs there are.
"""

from __future__ import annotations

import os
import time
from argparse import Namespace

from gflowctl.options import job_options
from gflowctl.submit import capture
from gflowd.core.errors import GflowError, Refused
from gflowd.core.job.model import Spec
from gflowd.core.job.value import Value
from gflowd.core.request import validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from typing import Any, Final, TypeVar

    from gflowctl.context import Context
    from gflowctl.submit.script_options import Head
    from gflowd.command_line import Parser

    Found = TypeVar("Found")

Words = tuple[str, ...]


class Draft(Value):
    """A job to be: its options, from wherever they are, and the spec that they make, all but what it waits for."""

    __slots__ = ("args", "spec", "where")

    def __init__(self, args: Namespace, spec: Spec, where: str = "") -> None:
        self.args: Final = args
        self.spec: Final = spec
        self.where: Final = where  # in front of what is said of it


class Drafter:
    """Makes drafts. Gathers the `environments` and `scripts` that they need, by name, and `notes` for the user."""

    def __init__(self, args: Namespace, context: Context) -> None:
        self.parser: Parser = args.parser
        self.environments: dict[str, list[bytes]] = {}
        self.scripts: dict[str, bytes] = {}
        self.notes: dict[str, None] = {}
        self._common = args
        self._words = self.parser.words
        self._context = context
        self._user = context.user
        self._limits = context.limits
        self._now = time.time()
        self._umask = os.umask(0o077)
        self._known: dict[Hashable, Any] = {}

    def draft(self, own: dict[str, Any] | None = None, where: str = "") -> Draft:
        """The job of the command line, with options of its `own` that win over those. Raises `Refused`, `BadUsage`."""
        args = self._common if own is None else _namespace(vars(self._common) | own)
        command, content = self._command(args)
        if content is None or (b"GFLOW" not in content and b"SBATCH" not in content and b"\r" not in content):
            return Draft(args, self._spec(args, command, content, None), where)
        given = self._given() | (own or {})
        head = self._head(command[0], content, given)
        args = _namespace({**self._defaults(), **head.options, **given})
        self.notes.update(dict.fromkeys(head.notes))
        try:
            return Draft(args, self._spec(args, command, content, head), where)
        except GflowError as error:
            raise head.blame(error, self.parser, given) from None

    def _head(self, name: str, content: bytes, given: Mapping[str, Any]) -> Head:
        from gflowctl.submit import script_options

        ignore = self._common.ignore_unknown_directives
        key = ("head", name, given.get("cpus"), given.get("gpus"))
        return self._once(key, lambda: script_options.read(self.parser, name, content, given, ignore_unknown=ignore))

    def _given(self) -> dict[str, Any]:
        return self._once("given", lambda: self.parser.given(self._words)[0])

    def _defaults(self) -> dict[str, Any]:
        return self._once("defaults", lambda: vars(self.parser.parse_args([])))

    def _once(self, key: Hashable, find: Callable[[], Found]) -> Found:
        if key not in self._known:
            self._known[key] = find()
        found: Found = self._known[key]
        return found

    def _command(self, args: Namespace) -> tuple[Words, bytes | None]:
        """The command, and the content of the script that it is, if it is one."""
        if args.wrap is not None:
            if not args.wrap.strip():
                raise Refused("--wrap: the text is empty")
            return ("sh", "-c", args.wrap), None
        words = tuple(args.command)
        if words[0] == "--" or "\0" in words[0]:
            return words[words[0] == "--" :], None
        return words, self._once(("script", words[0]), lambda: capture.script_content(words))

    def _spec(self, args: Namespace, command: Words, content: bytes | None, head: Head | None) -> Spec:
        slurm = head is not None and head.slurm
        env, variables, taken = self._environment(args.export, () if head is None else head.variables)
        validation.check_size(command, (), taken)
        cwd = self._once(("cwd", args.chdir), lambda: capture.working_directory(args.chdir))
        family = self._family(args)
        spec = Spec(
            command=command,
            name=_default_name(args, command) if args.name is None else args.name,
            user=self._user,
            cwd=cwd,
            env=env,
            submitted_at=self._now,
            umask=self._umask,
            script=None if content is None else self._script(content),
            project=args.project,
            comment=args.comment,
            priority=job_options.priority(args),
            cpus=1 if args.cpus is None else args.cpus,
            memory_mb=args.memory or None,
            time_limit=args.time or None,
            grace=args.grace,
            early_signal=args.signal,
            conda_env=args.conda_env or self._once(("conda", env), lambda: capture.active_conda_env(variables)),
            begin_at=self._begin_at(args.begin),
            output=self._output(args, cwd, slurm=slurm),
            error=self._file(capture.output_pattern, args.error, cwd, "--error"),
            input=self._file(capture.input_file, args.input, cwd),
            append=args.append,
            executor=args.executor,
            retry=job_options.retry(args),
            family=family,
            name_template=args.name_template,
            submit_dir=None if args.chdir is None else self._once("here", capture.present_directory),
            slurm=slurm,
            notify_email=args.notify_email,
            notify_on=args.notify_on or (),
            **job_options.gpus(args),
        )
        spec = validation.checked(spec, self._limits)
        if content is None and args.wrap is None:
            self._check_command(args, command, cwd, env)
        if family is not None:
            from gflowctl.submit import sweeps

            sweeps.check(spec, self._limits, variables)
        return spec

    def _environment(self, export: str, extra: Words) -> tuple[str, list[bytes], int]:
        """An environment's name, its variables and how much room they take."""

        def find() -> tuple[str, list[bytes], int]:
            found = capture.given_environment()
            variables = capture.environment(export, found)
            for name in capture.unset(export, found):
                self.notes[f"--export: {name} is not set"] = None
            variables += (variable.encode() for variable in extra)
            name = capture.digest(b"".join(b"%b\0" % variable for variable in variables))
            self.environments[name] = variables
            return name, variables, validation.check_size((), variables)

        return self._once(("export", export, extra), find)

    def _check_command(self, args: Namespace, command: Words, cwd: str, env: str) -> None:
        """A name with parameters of a sweep in it is not known yet, nor what an environment of conda brings."""
        name = command[0]
        if job_options.asks_for_many(args) and "{" in name:
            return
        may_come = args.hold or args.begin is not None or job_options.names_dependencies(args)
        variables = self.environments[env]

        def find() -> str | None:
            return capture.check_command(command, cwd, variables, may_come=may_come)

        trouble = self._once(("command", name, len(command) == 1, cwd, env, may_come), find)
        if trouble is not None and not (args.conda_env and "/" not in name):
            self.notes[f"{trouble}; it will be looked for when the job starts"] = None

    def _script(self, content: bytes) -> str:
        name = self._once(("digest", content), lambda: capture.digest(content))
        self.scripts[name] = content
        return name

    def _begin_at(self, begin: str | None) -> float | None:
        return None if begin is None else self._once(("begin", begin), lambda: self._context.instant(begin, "--begin"))

    def _output(self, args: Namespace, cwd: str, *, slurm: bool) -> str | None:
        pattern = args.output
        if slurm and pattern is None:
            from gflowd.core.slurm import script_head

            pattern = script_head.slurm_output(array=job_options.asks_for_many(args))
        return self._file(capture.output_pattern, pattern, cwd, "--output")

    def _file(self, find: Callable[..., str | None], *given: str | None) -> str | None:
        return self._once((find, *given), lambda: find(*given))

    def _family(self, args: Namespace) -> Any:
        if not job_options.asks_for_many(args):
            return None
        from gflowctl.submit import sweeps

        return sweeps.asked(args)


def _namespace(fields: Mapping[str, Any]) -> Namespace:
    """As `Namespace(**fields)`, which takes ten times as long."""
    made = Namespace()
    vars(made).update(fields)
    return made


def _default_name(args: Namespace, command: Words) -> str:
    if args.wrap is not None:
        return "wrap"
    if not command:
        return ""  # which is refused with a reason where all is checked
    return os.path.basename(command[0].rstrip("/")) or command[0]
