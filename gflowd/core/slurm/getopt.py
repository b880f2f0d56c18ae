"""Command lines as getopt_long(3) reads them for Slurm's programs: `-n4`, `-n 4`, `-Hn4`, `--na=4`, `--name 4`."""

from __future__ import annotations

from gflowd.core.errors import Refused, meant
from gflowd.core.job.value_base import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Final

    Pair = tuple[str, str | None]  # the long name without dashes, and the value, if there is one


class Grammar(Value):
    """The options of a program. A short one may have a long name of its own, or only its letter for a name."""

    __slots__ = ("aliases", "flags", "may_have_value", "program", "short", "valued")

    def __init__(
        self,
        program: str,
        *,
        short: Mapping[str, str],
        flags: Iterable[str] = (),
        valued: Iterable[str] = (),
        may_have_value: Iterable[str] = (),
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.program: Final = program
        self.short: Final = short
        self.flags: Final = frozenset(flags)  # take no value
        self.valued: Final = frozenset(valued)  # must have one
        self.may_have_value: Final = frozenset(may_have_value)  # only in the same word
        self.aliases: Final[Mapping[str, str]] = aliases or {}

    def read(self, word: str, rest: Iterator[str]) -> list[Pair]:
        """The options in a word that begins with a dash; a value may be the next of `rest`. Raises `Refused`."""
        if word.startswith("--"):
            return [self._long(word, rest)]
        return self._letters(word, rest)

    def parse(self, words: Iterable[str], *, mixed: bool = True) -> tuple[list[Pair], list[str]]:
        """The options of a command line, and its operands. Options may also follow operands, unless not `mixed`: then
        the first operand ends them, as of sbatch, whose script has arguments. Raises `Refused` naming the word.
        """
        found: list[Pair] = []
        operands: list[str] = []
        rest = iter(words)
        for word in rest:
            if word == "--":
                break
            if len(word) < 2 or not word.startswith("-"):
                operands.append(word)
                if not mixed:
                    break
                continue
            try:
                found += self.read(word, rest)
            except Refused as error:
                raise Refused(f"{word}: {error}") from None
        return found, [*operands, *rest]

    def _long(self, word: str, rest: Iterator[str]) -> Pair:
        given, equals, value = word[2:].partition("=")
        name = self._full_name(given)
        if equals and name in self.flags:
            raise Refused("takes no value")
        if equals or name in self.flags or name in self.may_have_value:
            return name, value if equals else None
        return name, _next(rest)

    def _letters(self, word: str, rest: Iterator[str]) -> list[Pair]:
        """`-Hn4` is `-H -n 4`."""
        found: list[Pair] = []
        for place, letter in enumerate(word[1:], 2):
            if letter not in self.short:
                raise Refused(f"not an option of {self.program}")
            name = self.short[letter]
            if name in self.flags:
                found.append((name, None))
                continue
            value = word[place:] or None
            if value is None and name not in self.may_have_value:
                value = _next(rest)
            found.append((name, value))
            break
        return found

    def _full_name(self, given: str) -> str:
        """getopt_long(3) takes the beginning of a name that no other name has."""
        names = {*self.flags, *self.valued, *self.may_have_value, *self.aliases}
        if given in names:
            return self.aliases.get(given, given)
        full = {self.aliases.get(name, name) for name in names if name.startswith(given)}
        if not full:
            raise Refused(f"not an option of {self.program}{meant(given, sorted(names), '--')}")
        if len(full) > 1:
            raise Refused(f"may be any of {', '.join(f'--{name}' for name in sorted(full))}")
        return full.pop()


def _next(rest: Iterator[str]) -> str:
    for word in rest:
        return word
    raise Refused("its value is missing")
