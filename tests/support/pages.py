"""What the documents tell their reader to type, and what they say comes out."""

from __future__ import annotations

import re


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
