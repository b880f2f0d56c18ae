"""The options of sbatch(1) as getopt_long(3) reads them, and those that gflow ignores or cannot follow."""

from __future__ import annotations

from gflowd.core.errors import Refused
from gflowd.core.job.value_base import Value
from gflowd.core.slurm.getopt import Grammar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final

SHORT = {
    "a": "array", "A": "account", "b": "begin", "B": "extra-node-info", "c": "cpus-per-task", "C": "constraint",
    "d": "dependency", "D": "chdir", "e": "error", "F": "nodefile", "G": "gpus", "h": "help", "H": "hold",
    "i": "input", "I": "immediate", "J": "job-name", "k": "no-kill", "L": "licenses", "m": "distribution",
    "M": "clusters", "n": "ntasks", "N": "nodes", "o": "output", "O": "overcommit", "p": "partition", "q": "qos",
    "Q": "quiet", "s": "oversubscribe", "S": "core-spec", "t": "time", "v": "verbose", "V": "version",
    "w": "nodelist", "W": "wait", "x": "exclude",
}  # fmt: skip
ALIASES = {"share": "oversubscribe", "tasks": "ntasks", "tasks-per-node": "ntasks-per-node", "workdir": "chdir"}
FLAGS = frozenset(
    {
    "contiguous", "help", "hold", "ignore-pbs", "no-requeue", "overcommit", "oversubscribe", "parsable", "quiet",
    "reboot", "requeue", "spread-job", "stepmgr", "test-only", "usage", "use-min-nodes", "verbose", "version", "wait",
    }
)  # fmt: skip
MAY_HAVE_VALUE = frozenset({"exclusive", "get-user-env", "immediate", "nice", "no-kill", "propagate", "resv-ports"})

# Options that choose among machines, or only hint at the best use of one.
WITHOUT_EFFECT = frozenset(
    {
    "acctg-freq", "batch", "cluster-constraint", "clusters", "contiguous", "core-spec",
    "cores-per-socket", "cpu-freq", "delay-boot", "distribution", "exclude", "extra", "extra-node-info", "gpu-bind",
    "gpu-freq", "gres-flags", "hint", "ignore-pbs", "licenses", "mcs-label", "mem-bind", "network", "no-kill",
    "nodefile", "nodelist", "ntasks-per-core", "ntasks-per-socket", "oom-kill-step", "oversubscribe",
    "partition", "power", "prefer", "priority", "profile", "propagate", "qos", "quiet", "reservation", "resv-ports",
    "segment", "sockets-per-node", "spread-job", "stepmgr", "switches", "thread-spec", "threads-per-core", "time-min",
    "tmp", "use-min-nodes", "verbose", "wait-all-nodes", "wckey",
    }
)  # fmt: skip
REFUSED = {
    "bb": "gflow has no burst buffers",
    "bbf": "gflow has no burst buffers",
    "container": "gflow starts no containers",
    "container-id": "gflow starts no containers",
    "export-file": "gflow takes variables only from the submitter",
    "gid": "a job runs as its submitter",
    "gpus-per-socket": "gflow does not know sockets; give --gpus",
    "help": "not an option for a script",
    "immediate": "gflow queues every job",
    "reboot": "gflow does not reboot the machine",
    "tres-bind": "gflow does not bind resources to tasks",
    "tres-per-task": "give --gpus and --cpus-per-task",
    "uid": "a job runs as its submitter",
    "usage": "not an option for a script",
    "version": "not an option for a script",
    "wrap": "not an option for a script",
}
MEANINGFUL = frozenset(
    {
    "account", "array", "begin", "chdir", "comment", "constraint", "cpus-per-gpu", "cpus-per-task", "deadline",
    "dependency", "error", "exclusive", "export", "get-user-env", "gpus", "gpus-per-node", "gpus-per-task", "gres",
    "hold", "input", "job-name", "kill-on-invalid-dep", "mail-type", "mail-user", "mem", "mem-per-cpu", "mem-per-gpu",
    "mincpus", "nice", "no-requeue", "nodes", "ntasks", "ntasks-per-gpu", "ntasks-per-node", "open-mode", "output",
    "overcommit", "parsable", "requeue", "signal", "test-only", "time", "wait",
    }
)  # fmt: skip
GRAMMAR = Grammar(
    "sbatch",
    short=SHORT,
    flags=FLAGS,
    valued=(MEANINGFUL | WITHOUT_EFFECT | REFUSED.keys()) - FLAGS - MAY_HAVE_VALUE,
    may_have_value=MAY_HAVE_VALUE,
    aliases=ALIASES,
)


ONE_OF = (("requeue", "no-requeue"), ("mem", "mem-per-cpu", "mem-per-gpu"),
          ("gpus", "gpus-per-node", "gpus-per-task", "gres"))  # fmt: skip  # the later replaces the others
_SPACE = " \t\n\v\f\r"  # isspace(3), which knows no others
COMMAND_LINE = 0  # the line of an option that is in no script


class Option(Value):
    """One option as sbatch(1) reads it: its long name without dashes."""

    __slots__ = ("line", "name", "value")

    def __init__(self, line: int, name: str, value: str | None) -> None:
        self.line: Final = line
        self.name: Final = name
        self.value: Final = value

    def __str__(self) -> str:
        return f"--{self.name}" if self.value is None else f"--{self.name}={self.value}"

    @property
    def told(self) -> str:
        """As it is named in an error."""
        return str(self) if self.line == COMMAND_LINE else f"#SBATCH {self}"


def split(text: str) -> list[str]:
    """The words of an `#SBATCH` line as sbatch(1) splits them: a backslash takes the meaning of any character, also in
    quotes, but a space outside of them ends the word all the same; a `#` that is not in quotes begins a comment; and a
    word with nothing in it, such as empty quotes, ends the line. Raises ValueError with what the line has that sbatch
    refuses.
    """
    words: list[str] = []
    rest = text
    while rest := rest.lstrip(_SPACE):
        word, rest = _first(rest)
        if not word:
            break
        words.append(word)
    return words


def _first(text: str) -> tuple[str, str]:
    """The first word of a text that begins with one, and what follows: after a comment, nothing."""
    if text.startswith(":"):
        raise ValueError("has a word that begins with ':'")
    word: list[str] = []
    quote, is_escaped = "", False
    for place, character in enumerate(text):
        if not quote and character in _SPACE:
            return "".join(word), text[place:]
        if is_escaped:
            word.append(character)
            is_escaped = False
        elif character == "\\":
            is_escaped = True
        elif character == quote:
            quote = ""
        elif not quote and character in "\"'":
            quote = character
        elif not quote and character == "#":
            return "".join(word), ""
        else:
            word.append(character)
    if quote:
        raise ValueError("has an unclosed quote")
    return "".join(word), ""


def parse(line: int, words: Iterable[str]) -> tuple[list[Option], list[str]]:
    """The options in a line's words, read as by getopt_long(3), and the errors in the others."""
    found: list[Option] = []
    wrong: list[str] = []
    rest = iter(words)
    for word in rest:
        try:
            if word.startswith("-") and word.strip("-"):
                found += [Option(line, *pair) for pair in GRAMMAR.read(word, rest)]
            else:
                wrong.append(f"#SBATCH {word}: {_no_option(word)}")
        except Refused as error:
            wrong.append(f"#SBATCH {word}: {error}")
    return found, wrong


def overridden(below: Iterable[Option], above: Sequence[Option]) -> list[Option]:
    """`below` without what `above` says otherwise, then `above`."""
    groups = {name: group for group in ONE_OF for name in group}
    said = {option.name for option in above}
    said.update(name for option in above for name in groups.get(option.name, ()))
    return [*(option for option in below if option.name not in said), *above]


def _no_option(word: str) -> str:
    if word in ("hetjob", "packjob"):
        return "gflow has no heterogeneous jobs"
    return "not an option"
