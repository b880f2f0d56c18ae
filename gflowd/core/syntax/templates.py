"""Names in braces replaced by their values, in names and commands. Knows nothing of sweeps."""

from __future__ import annotations

import re

from gflowd.core.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NAMED = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def expand_template(template: str, values: Mapping[str, str]) -> str:
    """`template` with each `{name}` replaced by its value; `{{` and `}}` are braces. Raises `Refused` for others."""

    def put(match: re.Match[str]) -> str:
        found, name = match[0], match[1]
        if found in ("{{", "}}"):
            return found[0]
        if name is None:
            raise Refused(f"the template {template!r} has a single {found}; write {found * 2} for a brace")
        if name not in values:
            known = f"known: {', '.join(values)}" if values else "there are no parameters"
            raise Refused(f"the template {template!r} uses {name!r}, which is not a parameter ({known})")
        return values[name]

    return _BRACES.sub(put, template)


def expand_command(words: Iterable[str], values: Mapping[str, str]) -> tuple[str, ...]:
    """`words` with each `{name}` of a parameter replaced by its value; everything else stays, e.g. awk's `{print}`."""
    return tuple(_NAMED.sub(lambda match: values.get(match[1], match[0]), word) for word in words)
