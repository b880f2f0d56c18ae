"""Write a configuration file that shows and explains every setting, commented out, at its default.

On a terminal, ask first, unless --yes is given. An existing file is left alone, unless --force is given.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from gflowd.config.cluster_tables import KEYS
from gflowd.config.settings import OF_THE_SYSTEM, SETTINGS
from gflowd.core.errors import Refused, SystemFailed
from gflowd.paths import check_trusted, default_config_path, replace_file

if TYPE_CHECKING:
    import argparse

HEAD = """\
# The configuration of gflow; see gflow.toml(5).
#
# Every setting is shown at its default. To change one, remove the "#" before it, and run: gflowd reload
# A duration is a number of seconds, or text as on the command line ("90s", "1h30m", "2d", "1-12:00:00").
# An amount of memory is a number of MiB, or text with a unit ("800M", "24G").
# Environment variables (GFLOW_GPU__POLL_INTERVAL=3) take precedence over this file, options of gflowd over both.
"""
QUOTAS = """
[quota]
# Limits per user or project: jobs over the running limits wait, submissions over the queued limit are refused.
# default_user = { max_running_jobs = 8, max_running_gpus = 4, max_queued_jobs = 1000 }
# default_project = { max_running_gpus = 8 }
# [quota.users.alice]
# max_running_jobs = 16
# [quota.projects.vision]
# max_running_gpus = 2
"""
CLUSTER = "hpc"  # stands for a cluster's name


def template(*, system: bool = False) -> str:
    """The file's text; `system`: for the daemon of all users of the machine."""
    lines = [HEAD]
    section = ""
    for setting in SETTINGS:
        if setting.section == OF_THE_SYSTEM and not system:
            continue
        if setting.section != section:
            section = setting.section
            lines.append(f"\n[{section}]\n")
        lines.append(f"# {setting.about}\n# {setting.key} = {setting.written}\n")
    lines.append(QUOTAS)
    if not system:
        lines.append(f"\n# A cluster that jobs can be handed over to: gflowctl submit --cluster {CLUSTER}\n")
        lines.append(f"# [cluster.{CLUSTER}]\n")
        lines.extend(f"# # {key.about}\n# {name} = {key.written}\n" for name, key in KEYS.items())
    return "".join(lines)


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask")
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    parser.add_argument(
        "--system", action="store_true", help="that of the daemon for all users, /etc/gflow/gflow.toml, with [shared]"
    )
    parser.add_argument(
        "--print", action="store_true", dest="to_stdout", help="print the text instead of writing a file"
    )


def run(args: argparse.Namespace) -> int:
    """0 if the file was written (or printed), 1 if the user declined."""
    if args.to_stdout:
        print(template(system=args.system), end="")
        return 0
    path = os.path.abspath(args.config) if args.config else default_config_path(os.environ, system=args.system)
    if os.path.lexists(path) and not args.force:
        raise Refused(f"{path} exists; gflowd init --force replaces it")
    if os.path.exists(path) and not os.path.isfile(path):
        raise Refused(f"{path} is not a regular file")
    if not args.yes and sys.stdin.isatty() and not _agreed(path):
        print("nothing written")
        return 1
    try:
        _write(path, system=args.system)
    except OSError as error:
        raise SystemFailed(f"{path}: {error.strerror}") from error
    print(f"wrote {path}")
    return 0


def _write(path: str, *, system: bool) -> None:
    """All may read that of the system."""
    directory = os.path.dirname(path)
    if system:
        check_trusted(path)
    if not os.path.isdir(directory):
        os.makedirs(directory, mode=0o700, exist_ok=True)
        if system:
            os.chmod(directory, 0o755)  # noqa: S103 -- all may read it, as /etc
    replace_file(
        os.path.realpath(path), template(system=system).encode(), durable=True, mode=0o644 if system else 0o600
    )
    if system:
        os.chmod(path, 0o644)  # whatever the umask is


def _agreed(path: str) -> bool:
    try:
        answer = input(f"Write {path}? [y/N] ")
    except EOFError:
        print()
        return False
    return answer.strip().lower() in {"y", "yes"}
