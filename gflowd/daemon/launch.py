"""From a command line to a serving daemon: what `run`, `start`, `restart` and `reload` share.

The options that the daemon runs with are kept in the state directory, so that a reload or restart finds them.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import resource
import sys
from typing import TYPE_CHECKING, Any

import gflowd
from gflowd import paths
from gflowd.config import settings
from gflowd.config.start_options import StartOptions, keep, kept
from gflowd.core.errors import GflowError, Refused, SystemFailed
from gflowd.core.gpu import admin_state
from gflowd.core.job.records import HEADER, SETTING
from gflowd.core.syntax import plurals, ranges
from gflowd.daemon import daemonize, shared_places
from gflowd.daemon import instance as daemon_instance
from gflowd.effects.gpu import count
from gflowd.effects.kernel import cgroups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gflowd.config.loader import Config

LEAST_FILES, ENOUGH_FILES = 64, 1 << 16  # files that one process of the daemon may have open
# The option, its aliases, its setting, the metavar of its value, its help.
_OPTIONS = (
    ("--gpus", (), "gpu.allow", "LIST", "GPUs that jobs may use, e.g. 0,2 or 0-3 or all"),
    ("--gpu-allocation", ("--gpu-allocation-strategy",), "gpu.allocation", "HOW",
     "which free GPUs a job gets: sequential, random or topology"),
    ("--gpu-poll-interval", ("--gpu-poll-interval-secs",), "gpu.poll_interval", "SECONDS",
     "seconds between polls of the GPUs (at least 1)"),
    ("--simulate-gpus", (), "gpu.simulate", "N[xMEM]", "simulate GPUs instead of using real ones, e.g. 4x24G"),
)  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of run, start, restart and reload."""
    for name, aliases, setting, metavar, about in _OPTIONS:
        parser.add_argument(name, *aliases, dest=setting, metavar=metavar, type=_checked(setting), help=about)
    parser.add_argument("-v", "--verbose", action="store_true", help="log everything the daemon does")


def add_system(parser: argparse.ArgumentParser, about: str) -> None:
    """`--system`."""
    parser.add_argument("--system", action="store_true", help=about)


def add_adopt(parser: argparse.ArgumentParser) -> None:
    """The option of run and start that moves a state directory to this machine."""
    about = "take over a state directory last used on another machine"
    parser.add_argument("--adopt", action="store_true", help=about)


def _checked(setting: str) -> Callable[[str], str]:
    def check(word: str) -> str:
        try:
            settings.BY_NAME[setting].kind.read_word(word)
        except Refused as refusal:
            raise argparse.ArgumentTypeError(str(refusal)) from None
        return word

    return check


def chosen(args: argparse.Namespace) -> StartOptions:
    """The choices on the command line."""
    given = vars(args)
    options = {setting: given[setting] for _, _, setting, _, _ in _OPTIONS if given[setting] is not None}
    if args.verbose:
        options["daemon.log_level"] = "debug"
    return StartOptions(os.path.abspath(args.config) if args.config else None, options, is_of_many(args))


def is_of_many(args: argparse.Namespace) -> bool:
    """Whether the command line means the daemon for many users."""
    return bool(getattr(args, "system", False))


def words_of(choice: StartOptions) -> Iterator[str]:
    """The words of a command line by which `gflowd run` makes these choices."""
    if choice.config is not None:
        yield from ("--config", choice.config)
    for name, _, setting, _, _ in _OPTIONS:
        if setting in choice.options:
            yield f"{name}={choice.options[setting]}"
    if choice.options.get("daemon.log_level") == "debug":
        yield "--verbose"


def state_of(args: argparse.Namespace) -> paths.State:
    """The state directory that the command line names, or the default; another user's is refused."""
    default = paths.system_state_dir if is_of_many(args) else paths.default_state_dir
    state = paths.State(os.path.abspath(args.state_dir or default(os.environ)))
    if state.shared is not None or not is_of_many(args):
        state.check()
    return state


def of_all_users(args: argparse.Namespace, own: paths.State) -> paths.State | None:
    """The state directory of the daemon for all users, where the command line names none and there is one."""
    is_named = args.state_dir or is_of_many(args) or os.environ.get("GFLOW_STATE_DIR")
    if is_named or own.root == paths.SYSTEM_STATE:
        return None
    state = paths.State(paths.SYSTEM_STATE)
    return None if state.shared is None else state


def prepared(args: argparse.Namespace, *, detached: bool) -> paths.State:
    """The same for a new daemon: creates it if missing, refuses it if not private, and cleans our environment."""
    daemon_instance.cleanse(os.environ, detached=detached)
    state = state_of(args)
    if state.shared is not None:
        raise Refused(f"{state.root} is of all users of this machine; root starts its daemon: gflowd run --system")
    state.prepare()
    return state


def load_and_tell(state: paths.State, choice: StartOptions, given: StartOptions) -> Config:
    """The configuration; notes about it go to stderr. Raises `Refused` if options `given` now name GPUs that do not
    exist.
    """
    loaded = choice.load()
    if loaded.gpu_allow is not None and "gpu.allow" in given.options:
        _check_gpus(loaded, given.options["gpu.allow"])
    for note in (*loaded.notes, *_overruled(state, loaded)):
        print(f"gflowd: {note}", file=sys.stderr)
    return loaded


def _check_gpus(loaded: Config, said: str) -> None:
    known = count.real() if loaded.simulate is None else loaded.simulate[0]
    missing = [index for index in loaded.gpu_allow or () if known is not None and index >= known]
    if missing:
        has = plurals.count(known or 0, "GPU") + (f", 0 to {known - 1}" if known is not None and known > 1 else "")
        raise Refused(f"--gpus {said}: there is no GPU {ranges.fold(missing)}; this machine has {has}")


def _overruled(state: paths.State, loaded: Config) -> Iterator[str]:
    """Says that `gflowctl gpus allow` takes precedence over what the configuration says."""
    if loaded.gpu_allow_by is None:
        return
    from gflowd.storage.store import Store

    try:
        order = Store(state).read().of(SETTING).get(admin_state.ALLOW)
    except GflowError:  # which is reported by whoever needs the snapshot
        return
    if order is not None:
        may = "every GPU" if order["gpus"] is None else f"GPU {ranges.fold(order['gpus'])} only"
        yield (
            f"jobs may use {may}: gflowctl gpus allow takes precedence over {loaded.gpu_allow_by}; "
            "gflowctl gpus allow --default removes it"
        )


def serve(state: paths.State, choice: StartOptions, *, how: str, adopt: bool, ready: Callable[[], None]) -> int:
    """Runs the daemon until it is told to end; returns the exit status. Calls `ready` once all workers are up.

    Raises `Refused` if another daemon runs, or when the state belongs to another machine.
    """
    from gflowd import log

    take_descriptors()
    to_stderr = how != "detached"
    log.setup(state, "supervisor", "error", stderr=to_stderr)  # until the configuration is known
    logger = log.get("supervisor")
    try:
        load_all()
    except GflowError as error:
        logger.error("daemon ends", why=error)
        raise
    from gflowd.daemon import supervisor

    runtime = runtime_of(state)

    def reload() -> Config:
        found = kept(state).load()
        if state.shared is not None:
            shared_places.follow(state, found)
        return found

    with daemon_instance.single_instance(state, how) as instance:
        settled = choice.load()
        check_machine(state, settled.lock_timeout, adopt=adopt)
        runtime.prepare()
        keep(state, choice)
        log.setup(state, "supervisor", settled.log_level, stderr=to_stderr)

        def on_ready(pulse_fd: int) -> None:
            instance.sign(pulse_fd)
            ready()

        try:
            logger.info("daemon starts", version=gflowd.__version__, pid=os.getpid())
            try:
                return supervisor.serve(
                    state, runtime, settled, reload=reload, on_ready=on_ready, to_stderr=to_stderr,
                    known=None if state.shared is None else shared_places.Known(state),
                )  # fmt: skip
            finally:
                leave_groups(state, settled)
                if state.shared is None:  # else each job has a server of its own, which root must not call
                    leave_tmux(runtime)
        except GflowError as error:
            logger.error("daemon ends", why=error)
            raise
        except Exception:
            logger.exception("daemon fails")
            raise


def runtime_of(state: paths.State) -> paths.Runtime:
    """The runtime directory of a daemon on this state directory."""
    root = os.path.abspath(os.environ.get("GFLOW_RUNTIME_DIR") or state.default_run())
    return paths.Runtime(root, of_many=state.shared is not None)


def take_descriptors() -> None:
    """Lets the daemon, and the tmux server that it starts, open as many files as the hard limit allows: each session
    takes two. Jobs have the limits of their submitters. Raises `SystemFailed` if that is too few for the daemon.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, ENOUGH_FILES)
    if most < LEAST_FILES:
        raise SystemFailed(f"gflowd may open only {most} files and needs {LEAST_FILES}; raise ulimit -n")
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def load_all() -> None:
    """Imports the whole package before any fork: replacing it under the running daemon changes
    nothing until the daemon is started again, and import errors are reported now. Raises `SystemFailed`.
    """
    ours = (found.name for found in pkgutil.walk_packages(gflowd.__path__, "gflowd."))
    for name in ("filelock", *ours):  # which the short commands import only where they need it
        if not name.endswith(".__main__"):
            try:
                importlib.import_module(name)
            except Exception as error:  # whatever another package of that name does instead
                kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
                raise SystemFailed(f"{name} cannot be imported: {kind}{error} ({sys.executable})") from error


def leave_groups(state: paths.State, config: Config) -> None:
    """Removes the control groups that no job is in any more."""
    if state.shared is None:
        own = cgroups.find(state.root)
        if own is not None:
            own.leave(lambda key: os.path.join(state.attempt(*key), "job.sh"))
        return
    from gflowd.effects.shared_mode import job_groups, user_files

    of_jobs = job_groups.find(state.root, by_systemd=config.shared_launcher == "systemd")
    if of_jobs is not None:
        of_jobs.leave(lambda key: user_files.found(state.own_attempt(*key), "exit") is not None)


def leave_tmux(runtime: paths.Runtime) -> None:
    """Ends the tmux server now, or with its last job."""
    from gflowd import log
    from gflowd.effects.attempt.tmux import Tmux, TmuxFailed, is_installed

    try:
        if is_installed():
            Tmux(runtime.tmux_socket, runtime.root).stop_when_empty()
    except TmuxFailed as error:
        log.get("supervisor").warning("tmux server left", why=str(error))


def check_machine(state: paths.State, lock_timeout: float, *, adopt: bool) -> None:
    """Refuses a state directory that another machine used last, unless it is to be adopted."""
    from gflowd.storage.record_log import FORMAT
    from gflowd.storage.store import Store

    store = Store(state, lock_timeout)
    header: dict[str, Any] | None = store.read().of(HEADER).get(0)
    ours = paths.machine()
    theirs = header.get("machine") if header else None
    if theirs is None or theirs == ours:
        return
    if not adopt:
        raise Refused(
            f"{state.root} was last used on machine {theirs}, and this is {ours};"
            " if gflow no longer runs there: gflowd start --adopt"
        )
    with store.commit() as commit:
        commit.put(HEADER, 0, {"format": FORMAT, "machine": ours})


def start(state: paths.State, choice: StartOptions, *, adopt: bool) -> int:
    """Starts a detached daemon and reports it. Raises the error that kept it from starting."""
    holder = daemon_instance.when_known(state)
    if holder is not None:
        raise daemon_instance.already_running(holder)

    def be_daemon(ready: Callable[[], None]) -> int:
        return serve(state, choice, how="detached", adopt=adopt, ready=ready)

    print(f"gflowd started (pid {daemonize.detach(be_daemon, state.log)})")
    return 0
