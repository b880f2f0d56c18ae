"""The options of a job as text to be edited, one `option = value` each, and as options of `update` what was edited.

A value of several lines goes on in lines that begin with spaces. Knows neither files nor editors.
"""

from __future__ import annotations

import textwrap

from gflowctl.output import descriptions
from gflowctl.view import jobs
from gflowd.core.errors import Refused
from gflowd.core.job import dependencies
from gflowd.core.job.dependencies import NOTHING, SINGLETON
from gflowd.core.request import update_rules
from gflowd.core.syntax import durations, memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping

    from gflowctl.view.views import View
    from gflowd.command_line import Parser
    from gflowd.core.job.dependencies import Dependency, Needs
    from gflowd.core.job.model import EarlySignal, Job
    from gflowd.core.job.retry_policy import Retry

INDENT = "    "
WIDE = 77  # columns, without the sign of a comment
YES, NO = "yes", "no"
FLAGS = ("shared", "append", "requeue", "singleton")  # set or not; auto-cancel is set either way
LONGEST_SHOWN = 40  # characters of a wrong line


def values(view: View, job: Job) -> dict[str, str]:
    """The options that are set, in the words in which `update` reads them."""
    spec, clock = job.spec, view.clock
    found: dict[str, str | None] = {
        "gpus": str(spec.gpus),
        "gpu-type": spec.gpu_type,
        "gpu-prefer": ",".join(spec.gpu_prefer),
        "gpu-memory": _amount(spec.gpu_memory_mb),
        "shared": YES if spec.shared else None,
        "cpus": str(spec.cpus),
        "memory": _amount(spec.memory_mb),
        "time": _duration(spec.time_limit),
        "signal": _signal(spec.early_signal),
        "grace": _duration(spec.grace),
        "quiet-limit": _duration(spec.quiet_limit),
        "priority": str(spec.priority),
        "begin": None if job.asked_begin is None else clock.stamp(job.asked_begin),
        "deadline": None if spec.deadline is None else clock.stamp(spec.deadline),
        "repeat": None if spec.repeat is None else spec.repeat.rule,
        "overlap": None if spec.repeat is None else spec.repeat.overlap,
        "name": spec.name,
        "comment": spec.comment,
        "command": descriptions.command_line(spec.command),
        "output": spec.output,
        "error": spec.error,
        "input": spec.input,
        "append": YES if spec.append else None,
        "executor": spec.executor,
        "cluster": spec.cluster,
        "conda-env": spec.conda_env,
        "notify-email": spec.notify_email,
        "notify-on": ",".join(spec.notify_on),
        "notify": " ".join(spec.notify),
        **_needs(view, spec.needs),
        **_retry(spec.retry),
        **_limits(view, job),
    }
    return {name: value for name in update_rules.names() if (value := found.get(name))}


def _amount(mib: int | None) -> str | None:
    return None if mib is None else memory.show(mib)


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return durations.clock(seconds) if seconds == int(seconds) and seconds >= durations.UNITS["m"] else _exact(seconds)


def _exact(seconds: float) -> str:
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"


def _signal(early: EarlySignal | None) -> str | None:
    if early is None:
        return None
    from gflowd.core.syntax import signal_names

    whom = "B:" if early.command_only else ""
    before = str(int(early.before)) if early.before == int(early.before) else _exact(early.before)
    return f"{whom}{signal_names.name(early.number).removeprefix('SIG')}@{before}"


def _needs(view: View, needs: Needs | None) -> dict[str, str]:
    """Apart from other dependencies `singleton` is an option of its own, where all of them are needed."""
    if needs is None:
        return {}

    def label(each: Dependency) -> str:
        assert each.id is not None
        known = view.knows(each.id) and view.array_of(each.id) is not None
        whole = each.id in view.families and not each.element
        return jobs.label(view.job(each.id)) if known and not whole else str(each.id)

    alone = needs.mode == dependencies.ALL and any(each.kind == SINGLETON for each in needs.dependencies)
    others = tuple(each for each in needs.dependencies if not alone or each.kind != SINGLETON)
    found = {"depends-on": dependencies.show(needs.replace(dependencies=others), label)} if others else {}
    found |= {"singleton": YES} if alone else {}
    return {**found, "auto-cancel": YES if needs.auto_cancel else NO} if needs != NOTHING else {}


def _retry(retry: Retry | None) -> dict[str, str]:
    """`requeue` is never set: it only adds a cause to `retry-on`."""
    if retry is None:
        return {}
    found = {"max-retries": str(retry.max_retries), "retry-on": ",".join(map(str, retry.on))}
    if retry.delay:
        found["retry-delay"] = _exact(retry.delay) + (f"x{retry.factor:g}" if retry.factor != 1 else "")
    return found


def _limits(view: View, job: Job) -> dict[str, str]:
    """Of an array or sweep; its parameters are never set, since each element has its own."""
    family = job.spec.family
    if family is None:
        return {}
    found = {"max-concurrent": view.max_concurrent(job), "max-failures": family.max_failures}
    return {name: str(number) for name, number in found.items() if number is not None}


def written(head: Iterable[str], found: Mapping[str, str], parser: Parser) -> str:
    """The text: `head` as comments, the options that are set, and all others with the help of `parser`."""
    lines = [*_comments(head), ""]
    lines += (f"{name} = {_indented(value)}" for name, value in found.items())
    lines += ["", *_comments(["Not set:"])]
    for name in update_rules.names():
        if name not in found:
            lines += ["", *_comments([_hint(name, parser)]), f"#{name} ="]
    return "".join(f"{line}\n" for line in lines)


def _indented(value: str) -> str:
    return value.replace("\n", f"\n{INDENT}")


def _comments(paragraphs: Iterable[str]) -> list[str]:
    return [f"# {line}" for text in paragraphs for line in textwrap.wrap(text, WIDE, break_on_hyphens=False)]


def _hint(name: str, parser: Parser) -> str:
    action = next(each for each in parser.actions if f"--{name}" in each.option_strings)
    return f"{_form(action)}: {action.help}"


def _form(action: argparse.Action) -> str:
    if action.nargs == 0:
        return YES
    return str(action.metavar or "|".join(map(str, action.choices or ())))


def read(text: str) -> dict[str, str]:
    """The options that an edited text sets, by their first names. Raises `Refused`."""
    found: dict[str, list[str]] = {}
    value: list[str] | None = None
    blank = 0
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.removesuffix("\r")
        if not line.strip():
            blank += 1
            continue
        if line[0] in " \t":
            if value is None:
                raise Refused(f"line {number} begins with a space, as if it continued an option, but there is none")
            value += [*[""] * blank, line.removeprefix(INDENT) if line.startswith(INDENT) else line.lstrip()]
        elif line[0] == "#":
            value = None
        else:
            name, first = _parted(line, number)
            if name in found:
                raise Refused(f"line {number}: {name} is given twice")
            value = found[name] = [first]
        blank = 0
    return {name: text for name, lines in found.items() if (text := "\n".join(lines).strip())}


def _parted(line: str, number: int) -> tuple[str, str]:
    name, equals, value = line.partition("=")
    if not equals:
        raise Refused(f"line {number}: {line[:LONGEST_SHOWN]!r} is not of the form option = value")
    try:
        return update_rules.option(name.strip()).name, value.strip()
    except Refused as error:
        raise Refused(f"line {number}: {error}") from None


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The options of `update` that make of one what the other says; none if they say the same. Raises `Refused`."""
    old, new = _meant(before), _meant(after)
    changed = [name for name in update_rules.names() if _trimmed(old.get(name)) != _trimmed(new.get(name))]
    if "script" in changed and "command" in changed:
        raise Refused("change either script or command: a command may be a script with its arguments")
    words: list[str] = []
    cleared: list[str] = []
    needs = [name for name in ("depends-on", "singleton") if name in changed]
    if needs and ("depends-on" in needs or "singleton" in new) and ("depends-on" in new or "singleton" in new):
        words += [f"--{name}" + ("" if name in FLAGS else f"={new[name]}") for name in ("depends-on", "singleton")
                  if name in new]  # fmt: skip
    else:
        cleared += needs
    for name in changed:
        if name in needs:
            continue
        if name not in new:
            cleared.append(name)
        elif name == "auto-cancel":
            words.append("--auto-cancel" if new[name] == YES else "--no-auto-cancel")
        elif name == "param":
            words += (f"--param={line}" for line in new[name].split("\n") if line)
        else:
            words.append(f"--{name}" if name in FLAGS else f"--{name}={new[name]}")
    return [*words, *([f"--clear={','.join(cleared)}"] if cleared else [])]


def _meant(found: Mapping[str, str]) -> dict[str, str]:
    """With `yes` for flags that are set, and nothing for those that are not. Raises `Refused`."""
    meant = dict(found)
    for name in (*FLAGS, "auto-cancel"):
        if name not in found:
            continue
        word = found[name].lower()
        if word not in (YES, NO):
            raise Refused(f"{name}: {found[name][:LONGEST_SHOWN]!r} is neither yes nor no")
        meant[name] = word
        if word == NO and name in FLAGS:
            del meant[name]
    return meant


def _trimmed(value: str | None) -> str | None:
    """Without spaces at the ends of lines, which editors remove."""
    return None if value is None else "\n".join(line.rstrip() for line in value.strip().split("\n"))
