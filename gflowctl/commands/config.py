"""Show the settings: each with its value and where that comes from.

A value comes from an option of gflowd (those it was last started with), an environment variable, the configuration file
or the default, in this order. The environment is that of this command; gflowd may have been started with another. See
gflow.toml(5) for the meaning of each setting; gflowd init writes a file that explains them.
"""

from __future__ import annotations

import os

from gflowctl.output import render
from gflowd import command_line
from gflowd.config import loader, start_options
from gflowd.core.errors import BadUsage, meant

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any

    from gflowctl.context import Context
    from gflowd.config.loader import Config, Source

COLORS = {"option": render.MAGENTA, "environment": render.CYAN, "file": render.GREEN, "default": render.DIM}


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the actions."""
    command_line.add_actions(
        parser, {"show": ("show every setting with its value and where it comes from", _configure_show)}
    )


def _configure_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="SETTING", help="only these settings or sections, e.g. gpu.allow")
    command_line.add_json(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Prints them."""
    system = context.state.shared is not None
    before = start_options.kept(context.state)
    named = context.config_given or before.config
    loaded, sources = loader.explain(named, context.environ, before.options, system=system)
    shown = _named(sources(), args.names)
    if args.json:
        render.write_json(_document(context, before.config, loaded, shown))
        return 0
    if not args.names:
        for title, (path, origin) in _places(context, before.config, loaded).items():
            there = "" if os.path.exists(path) else ", missing"
            render.write(f"{title + ':':<20}{render.escape(path)} ({origin}{there})\n")
        render.write("\n")
    columns = [render.Column("SETTING"), render.Column("VALUE", flexible=True), render.Column("FROM", color=_color)]
    rows = [(source, [source.name, source.given, _origin(source)]) for source in shown]
    wide = render.terminal_columns() if render.is_terminal() else 0
    render.write(render.table(columns, rows, color=render.use_color(args.color), columns_wide=wide))
    for note in [*loaded.notes, *_outdated(context, loaded)]:
        render.note(note)
    return 0


def _named(sources: Sequence[Source], names: Sequence[str]) -> list[Source]:
    """The settings that `names` mean, in their own order; all without. Raises `BadUsage`."""
    for name in names:
        if not any(f"{source.name}.".startswith(f"{name}.") for source in sources):
            sections = (source.name.rpartition(".")[0] for source in sources)
            hint = meant(name, dict.fromkeys([*(source.name for source in sources), *sections]))
            raise BadUsage(f"no setting {name!r}{hint}; gflowctl config show lists them")
    return [
        source for source in sources if not names or any(f"{source.name}.".startswith(f"{name}.") for name in names)
    ]


def _origin(source: Source) -> str:
    if source.kind == "option":
        return "option of gflowd"
    return source.kind if source.where is None else f"{source.kind}, {source.where}"


def _color(source: Source) -> str:
    return COLORS[source.kind]


def _places(context: Context, kept: str | None, loaded: Config) -> dict[str, tuple[str, str]]:
    """Where the file, the state and what lives in memory are, each with what says so."""
    environ = context.environ
    if context.config_given:
        config = "option --config"
    elif kept is not None:
        config = "option of gflowd"
    else:
        config = next((name for name in ("GFLOW_CONFIG", *_of_user(context, "XDG_CONFIG_HOME")) if environ.get(name)),
                      "default")  # fmt: skip
    state = next((name for name in ("GFLOW_STATE_DIR", *_of_user(context, "XDG_STATE_HOME")) if environ.get(name)),
                 "default")  # fmt: skip
    runtime = "GFLOW_RUNTIME_DIR" if environ.get("GFLOW_RUNTIME_DIR") else "default"
    return {
        "Configuration file": (loaded.path, config),
        "State directory": (context.state.root, "option --state-dir" if context.state_given else state),
        "Runtime directory": (context.runtime.root, "gflowd" if context.observed.runtime_dir else runtime),
    }


def _of_user(context: Context, name: str) -> tuple[str, ...]:
    """A variable that says where a user's own things are."""
    return (name,) if context.state.shared is None else ()


def _document(context: Context, kept: str | None, loaded: Config, shown: Sequence[Source]) -> dict[str, Any]:
    places = _places(context, kept, loaded)
    return {
        **{
            key: {"path": path, "from": origin, "exists": os.path.exists(path)}
            for key, (path, origin) in zip(("config", "state_dir", "runtime_dir"), places.values(), strict=True)
        },
        "settings": [
            {
                "name": source.name,
                "value": source.value,
                "from": source.kind,
                "where": source.where,
                "given": source.given,
            }
            for source in shown
        ],
    }


def _outdated(context: Context, loaded: Config) -> list[str]:
    """Whether the running daemon has read another file, or this one before it was changed."""
    told = context.observed.config
    if told is None or not context.daemon_runs:
        return []
    if told.get("path") != loaded.path:
        return [f"note: gflowd runs with the configuration file {told.get('path')}"]
    if told.get("mtime_ns") != loaded.mtime_ns:
        return ["note: the file has changed since gflowd read it; gflowd reload applies it"]
    return []
