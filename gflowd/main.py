"""The table of gflowd's verbs, and what is the same for all of them: global options, errors, the exit status."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from gflowd import command_line
from gflowd.core.errors import BadUsage, GflowError, brief

if TYPE_CHECKING:
    from collections.abc import Sequence

# name: (module, aliases, summary); only the module of the verb asked for is imported
COMMANDS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "run": ("gflowd.commands.run", (), "run the daemon in the foreground"),
    "start": ("gflowd.commands.start", ("up",), "start the daemon in the background"),
    "stop": ("gflowd.commands.stop", ("down",), "stop the daemon; jobs go on"),
    "restart": ("gflowd.commands.restart", (), "stop and start the daemon; jobs go on"),
    "reload": ("gflowd.commands.reload", (), "read the configuration again"),
    "status": ("gflowd.commands.status", (), "show the daemon, its workers and the GPUs"),
    "service": ("gflowd.commands.service", (), "let systemd run the daemon"),
    "gateway": ("gflowd.commands.gateway", (), "take the requests of users, as a service of its own"),
    "init": ("gflowd.commands.init", (), "write a commented configuration file"),
    "completion": ("gflowd.commands.completion", (), "print the completion script for a shell"),
}
INTERRUPTED = 130  # 128 + SIGINT


def parser(name: str) -> command_line.Parser:
    """The whole parser of one verb, named by its full name."""
    module = import_module(COMMANDS[name][0])
    built = command_line.Parser(prog=f"gflowd {name}", description=(module.__doc__ or "").strip())
    module.configure(built)
    command_line.add_globals(built)
    return built


def main(argv: Sequence[str] | None = None) -> int:
    """Runs gflowd with `argv`, by default the process's own; returns the exit status."""
    _reopen_closed_streams()
    try:
        status = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except GflowError as error:
        status = _fail(str(error), error.status)
    except BrokenPipeError:
        _abandon(1)
        status = 0
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Exception as error:  # the one place that turns an internal error into one line
        if isinstance(error, OSError):
            _abandon(1)
        status = _fail(command_line.unexpected(error, "standard output"), 3)
    return status


def _dispatch(argv: list[str]) -> int:
    common, rest = command_line.split_globals("gflowd", argv)
    if common.help:
        print(overview())
        return 0
    if not rest:
        raise BadUsage(f"no command given: one of {', '.join(COMMANDS)} (see gflowd --help)")
    if rest[0] == command_line.HELP:
        return _help(rest[1:])
    name = command_line.full_name("gflowd", rest[0], COMMANDS)
    args = parser(name).parse_args(rest[1:])
    args.color = args.color or common.color or "auto"
    args.config = args.config or common.config
    args.state_dir = args.state_dir or common.state_dir
    status: int = import_module(COMMANDS[name][0]).run(args)
    return status


def _help(words: Sequence[str]) -> int:
    """Shows the help of the command that `words` name; of all without."""
    if not words or words[0] == command_line.HELP:
        print(overview())
        return 0
    asked = parser(command_line.full_name("gflowd", words[0], COMMANDS))
    asked.parse_args(command_line.help_words(asked, words[1:]))
    return 0


def overview() -> str:
    """What `gflowd --help` prints."""
    verbs = (f"  {', '.join((name, *aliases)):<14}{about}" for name, (_, aliases, about) in COMMANDS.items())
    return "\n".join(
        (
            "Usage: gflowd [OPTIONS] COMMAND ...",
            "",
            "Run the daemon of gflow, which starts queued jobs when their GPUs, CPUs and memory are free.",
            "",
            "Commands:",
            *verbs,
            "",
            "Options, before or after the command:",
            "  --config FILE     the configuration file",
            "  --state-dir DIR   where gflow keeps its state",
            "  --color WHEN      never, auto (on a terminal) or always",
            "  --version         print the version and exit",
            "  --help            this text; gflowd help COMMAND for one command",
        )
    )


def _reopen_closed_streams() -> None:
    """Opens closed standard descriptors as /dev/null, so that none of our files gets their numbers."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    if sys.stdout is not None:
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    else:
        stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 -- it lives as long as we do
        sys.stdout = sys.__stdout__ = stdout  # type: ignore[misc]  # libtmux 0.15 asks the latter for its encoding


def _abandon(stream: int) -> None:
    """Discards what is still buffered, so that the interpreter's final flush cannot fail."""
    fd = os.open(os.devnull, os.O_WRONLY)
    os.dup2(fd, stream)
    os.close(fd)


def _fail(message: str, status: int) -> int:
    text = message if message.isprintable() else message.encode("unicode_escape", "surrogatepass").decode()
    try:
        print(f"gflowd: {brief(text)}", file=sys.stderr, flush=True)
    except OSError:  # the message cannot be delivered; keep our exit status
        _abandon(2)
    return status


if __name__ == "__main__":
    sys.exit(main())
