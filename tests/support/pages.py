"""What the documents tell their reader to type, and what they say comes out."""

from __future__ import annotations

import re
from typing import NamedTuple


def plain(roff: str) -> str:
    """The text of a page without roff's escapes and fonts."""
    text = re.sub(r"\\f.|\\,|\\/|\\&", "", roff)
    for escape, char in (("\\-", "-"), ("\\(ti", "~"), ("\\(ha", "^"), ("\\(aq", "'"), ("\\(dq", '"'), ("\\e", "\\")):
        text = text.replace(escape, char)
    return text


def section(page: str, title: str) -> str:
    """A section of a man page's source, from its heading to the next."""
    _, _, rest = page.partition(f"{title}\n")
    assert rest, title
    return re.split(r"(?m)^\.S[SH] ", rest)[0]


def examples(page: str) -> list[str]:
    """The examples of a man page's source, as they are shown."""
    return [plain(block) for block in re.findall(r"(?ms)^\.EX\n(.*?)^\.EE$", page)]


def steps(console: str) -> list[tuple[str, str]]:
    """Each command of a session (after `$ `; a line that ends in a backslash is continued) with the output under it.
    What has no `$ ` is a script, and one command.
    """
    if not console.startswith("$ "):
        return [(console, "")]
    found = []
    for step in console.removeprefix("$ ").split("\n$ "):
        command, output = re.fullmatch(r"((?:[^\n]*\\\n)*[^\n]*)\n?(.*)", step, re.DOTALL).groups()  # type: ignore[union-attr]
        found.append((command, output.rstrip("\n")))
    return found


class Block(NamedTuple):
    """One block of code of a Markdown page. `name` is the file that the text before it introduces, if any."""

    language: str
    text: str
    name: str | None


def tasks(page: str) -> dict[str, list[Block]]:
    """The blocks of each section of a Markdown page, by its heading."""
    found = {}
    for part in page.split("\n## ")[1:]:
        title, _, rest = part.partition("\n")
        blocks = re.findall(r"([^\n]*)\n\n```(\w+)\n(.*?)```", part, re.DOTALL)
        assert rest.count("```") == 2 * len(blocks), title
        found[title] = [Block(language, text, _introduced(before)) for before, language, text in blocks]
    return found


def _introduced(before: str) -> str | None:
    names: list[str] = re.findall(r"`([\w-]+\.(?:py|sh))`", before)
    return names[-1] if names and before.endswith(":") else None
