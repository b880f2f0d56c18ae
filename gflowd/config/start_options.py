"""What a daemon was started with: a named configuration file and options, kept in the state directory."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd import paths
from gflowd.config import loader, settings
from gflowd.core.errors import SystemFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gflowd.config.loader import Config


@dataclass(frozen=True)
class StartOptions:
    """A named configuration file (or None: the usual one) and options as words by the name of their setting. `system`:
    of the daemon for many users.
    """

    config: str | None
    options: Mapping[str, str]
    system: bool = False

    def over(self, before: StartOptions) -> StartOptions:
        """These, and for what they leave open, those `before`."""
        options = {**before.options, **self.options}
        return StartOptions(self.config or before.config, options, self.system or before.system)

    def load(self) -> Config:
        """The configuration as it is now. Raises `Refused`."""
        return loader.load(self.config, os.environ, self.options, system=self.system)


def kept(state: paths.State) -> StartOptions:
    """What the daemon was last started with; nothing where that is unknown."""
    system = state.shared is not None
    try:
        record = json.loads(paths.read_private(state.options))
        options = {name: str(word) for name, word in record["options"].items() if name in settings.BY_NAME}
        return StartOptions(record["config"], options, system)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return StartOptions(None, {}, system)


def keep(state: paths.State, choice: StartOptions) -> None:
    """Keeps `choice` for later reloads and restarts. Raises `SystemFailed`."""
    record = {"config": choice.config, "options": dict(choice.options)}
    try:
        paths.replace_file(state.options, json.dumps(record).encode() + b"\n", durable=False)
    except OSError as error:
        raise SystemFailed(f"{state.options}: {error.strerror}") from error
