"""The head of a script as options of its submission; options on the command line take precedence."""

from __future__ import annotations

import itertools
import os

from gflowd.core.errors import BadUsage, GflowError, Refused
from gflowd.core.job.value_base import Value
from gflowd.core.request import script_head
from gflowd.core.slurm.sbatch_options import COMMAND_LINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

    from gflowd.command_line import Parser
    from gflowd.core.slurm.sbatch_options import Option


class Head(Value):
    """The options in the head of the script `name`: values by option, and the line of each."""

    __slots__ = ("asked", "lines", "name", "notes", "options", "slurm")

    def __init__(
        self,
        *,
        name: str,
        options: Mapping[str, Any],
        lines: Mapping[str, int],
        notes: tuple[str, ...],
        slurm: bool,
        asked: tuple[str, ...],
    ) -> None:
        self.name: Final = name
        self.options: Final = options
        self.lines: Final = lines
        self.notes: Final = notes
        self.slurm: Final = slurm
        self.asked: Final = asked

    def blame(self, error: GflowError, parser: Parser, given: Mapping[str, Any]) -> GflowError:
        """`error` with the script's name and, where known, the line; unchanged if it begins with a `given` option."""
        word = str(error).partition(" ")[0].rstrip(":")
        dest = next((action.dest for action in parser.actions if word in action.option_strings), "")
        if dest in given or not self.options or self.lines.get(dest) == COMMAND_LINE:
            return error
        line = f" line {self.lines[dest]}:" if dest in self.lines else ""
        return Refused(f"{self.name}:{line} {error}")


def read(
    parser: Parser,
    name: str,
    content: bytes,
    *,
    cpus: int | None,
    gpus: int | None,
    tasks: int | None,
    ignore_unknown: bool,
    over: Sequence[Option] | None = None,
) -> Head:
    """The head of a script; `cpus`, `gpus` and `tasks` of the command line take precedence. `over`: see
    `script_head.read`.

    Raises `Refused` naming the line.
    """
    try:
        head = script_head.read(
            content,
            cpus=cpus,
            gpus=gpus,
            tasks=tasks,
            host=os.uname().nodename.partition(".")[0],
            ignore_unknown=ignore_unknown,
            over=over,
        )
    except script_head.WrongLine as error:
        raise Refused(f"{name}: {error}") from None
    options: dict[str, Any] = {}
    lines: dict[str, int] = {}
    notes = [f"{name}: {note}" if note.startswith("line ") else note for note in head.notes]
    for line, pairs in itertools.groupby(zip(head.lines, head.argv, strict=True), key=lambda pair: pair[0]):
        words = [word for _, word in pairs]
        where = "" if line == COMMAND_LINE else f"{name}: line {line}: "
        try:
            found, stray = parser.given(words)
        except BadUsage as error:
            said = str(error) if where else str(error).removesuffix(f" (see {parser.prog} --help)")
            raise Refused(f"{where}{said}") from None
        if stray := [*stray, *found.pop("command", ())]:
            trouble = f"{stray[0]}: not an option of gflowctl submit"
            if not ignore_unknown:
                hint = parser.meant(stray[:1], script_head.ELSEWHERE)
                raise Refused(f"{where}{trouble}{hint}; {script_head.REMEDY}")
            notes.append(f"{where}ignored: {' '.join(words)}: {trouble}")
            continue
        if "param" in found:
            found["param"] = [*options.get("param", ()), *found["param"]]
        options |= found
        lines |= dict.fromkeys(found, line)
    return Head(name=name, options=options, lines=lines, notes=tuple(notes), slurm=head.slurm, asked=head.asked)
