"""What `gflowctl doctor` looks at. Each check is one function of the context, and changes nothing."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

from gflowctl.machine import gpus as gpu_records
from gflowd import __version__
from gflowd.core.errors import GflowError
from gflowd.core.gpu import device_access
from gflowd.core.gpu.states import CLAIMED
from gflowd.core.job.records import SPEC
from gflowd.core.syntax.plurals import count
from gflowd.effects import daemon, installer, proc
from gflowd.paths import LONGEST_NAME_IN_RUN, SOCKET_PATH_LIMIT
from gflowd.workers import board

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gflowctl.context import Context
    from gflowd.storage.record_log import Fold

    Check = Callable[[Context], Iterator["Finding"]]

OK, WARN, FAIL = "ok", "WARN", "FAIL"
OLDEST_TMUX = (3, 0)
NEEDED = ("filelock", "libtmux", "orjson", "psutil")
DOUBTFUL_FILESYSTEMS = ("nfs", "cifs", "smb", "fuse", "9p", "lustre", "gpfs", "beegfs", "ceph", "afs")
LAST_WORDS = 64 << 10  # bytes of the log
LITTLE_SPACE = 100 << 20  # bytes
NO_START = "free some space; nothing starts on a full disk"
RESTORE = "gflowctl restore FILE restores a backup"
NOT_ISOLATED = "the installed programs ignore it, python -m does not: unset PYTHONPATH, or python -I -m gflowctl"
OPEN_GPUS = "see enforce_gpus in gflow.toml(5); off accepts it"
TRUST = "name the user in gpu.trust_claims_of, or keep jobs away: gflowctl gpus drain"
OFTEN = 3  # restarts of one worker
MOST_NAMED = 100  # records that make no sense
LATELY = 600.0  # seconds
SILENT = 30.0  # seconds without a heartbeat after which the supervisor kills a worker


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    level: str
    text: str
    remedy: str = ""


def guarded(check: Check, context: Context) -> list[Finding]:
    """What `check` finds; an error in it is a finding too."""
    try:
        return list(check(context))
    except GflowError as error:
        return [Finding(FAIL, str(error))]
    except OSError as error:
        return [Finding(FAIL, f"{error.filename or check.__name__}: {error.strerror}")]
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # a record that only looks intact
        return [Finding(FAIL, f"the check {check.__name__} cannot read a record: {error!r}", RESTORE)]


def is_of_others(context: Context) -> bool:
    """Whether this is one of many users, who does not see what is root's alone."""
    return context.state.shared is not None and os.geteuid() != 0


def python(_context: Context) -> Iterator[Finding]:
    """Which gflow and which Python this is."""
    yield Finding(OK, f"gflow {__version__} on Python {sys.version.split()[0]} ({sys.executable})")


def configuration(context: Context) -> Iterator[Finding]:
    """The configuration can be read."""
    loaded = context.configuration()
    there = os.path.exists(context.config_path)
    for note in loaded.notes:
        yield Finding(WARN, note, "take it out")
    yield Finding(OK, f"configuration {context.config_path}" + ("" if there else " (none; the defaults apply)"))


def packages(context: Context) -> Iterator[Finding]:
    """The packages that gflow needs are installed and can be imported."""
    from importlib import import_module
    from importlib.util import find_spec

    specs = {name: find_spec(name) for name in NEEDED}
    missing = [name for name, spec in specs.items() if spec is None]
    if missing:
        remedy = installer.command(*missing)
        yield Finding(FAIL, f"Python packages are missing: {', '.join(missing)}", remedy)
    paths = "" if sys.flags.ignore_environment else context.environ.get("PYTHONPATH", "")
    others = {os.path.abspath(place) for place in paths.split(os.pathsep) if place}
    for name, spec in specs.items():
        if spec is None:
            continue
        origin = os.path.abspath(spec.origin or "")
        place = os.path.dirname(origin)
        is_other = (place if spec.submodule_search_locations is None else os.path.dirname(place)) in others
        remedy = NOT_ISOLATED if is_other else installer.command(name, again=True)
        try:
            import_module(name)
        except Exception as error:  # whatever another package of that name does instead
            yield Finding(FAIL, f"{origin} cannot be imported: {type(error).__name__}: {error}", remedy)
        else:
            if is_other:
                yield Finding(WARN, f"the package {name} comes from PYTHONPATH: {origin}", remedy)


def tmux(_context: Context) -> Iterator[Finding]:
    """That tmux is installed and not too old."""
    remedy = "install tmux for gflowctl attach; until then jobs run as plain processes"
    path = shutil.which("tmux")
    if path is None:
        yield Finding(WARN, "tmux is not installed", remedy)
        return
    try:
        said = subprocess.run([path, "-V"], capture_output=True, text=True, timeout=5, check=False).stdout.strip()
    except subprocess.TimeoutExpired:
        yield Finding(WARN, f"{path} does not answer", remedy)
        return
    digits = "".join(letter if letter.isdigit() else " " for letter in said).split()
    if tuple(map(int, digits[:2])) < OLDEST_TMUX:
        yield Finding(WARN, f"{said} is old", 'install tmux 3.0 or newer, or set [executor] type = "process"')
    else:
        yield Finding(OK, f"{said} ({path})")


def state_directory(context: Context) -> Iterator[Finding]:
    """The state directory is private, writable, on a file system with locks, and has space."""
    root = context.state.root
    if not os.path.lexists(root):
        yield _can_be_made(root)
        return
    context.state.prepare()
    shared = context.state.shared is not None
    if not shared and not os.access(root, os.W_OK | os.X_OK):
        yield Finding(FAIL, f"state directory {root} is not writable", "mount it read-write, or set GFLOW_STATE_DIR")
        return
    kind = filesystem(root)
    if kind.startswith(DOUBTFUL_FILESYSTEMS):
        remedy = "locks may not work there; set XDG_STATE_HOME or GFLOW_STATE_DIR to a local disk"
        yield Finding(WARN, f"state directory {root} is on {kind}", remedy)
    else:
        whose = "of all users" if shared else "private"
        yield Finding(OK, f"state directory {root} ({whose}, {kind or 'unknown file system'})")
    if os.statvfs(root).f_flag & os.ST_NOEXEC:
        told = f"files on {root} cannot be executed (mounted noexec)"
        yield Finding(
            WARN, told, "scripts run through their interpreters; if a program needs more, set GFLOW_STATE_DIR"
        )
    yield from _space(root, "the state")
    jobs = context.state.jobs
    if os.path.isdir(jobs) and os.stat(jobs).st_dev != os.stat(root).st_dev:
        yield from _space(jobs, f"the directories of jobs ({jobs})")


def _space(root: str, what: str) -> Iterator[Finding]:
    free = shutil.disk_usage(root).free
    inodes = os.statvfs(root)
    if free < LITTLE_SPACE:
        yield Finding(WARN, f"only {free / (1 << 30):.1f}G free for {what}", NO_START)
    elif inodes.f_files and not inodes.f_favail:
        yield Finding(WARN, f"no inode is free for {what}", NO_START)
    else:
        yield Finding(OK, f"{free / (1 << 30):.1f}G of disk free for {what}")


def filesystem(path: str) -> str:
    """The type of the file system that holds `path`, from proc(5); empty if that is not known."""
    real = os.path.realpath(path)
    best, kind = "", ""
    try:
        with open("/proc/mounts", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                _device, place, found, *_ = line.split(" ")
                place = place.replace("\\040", " ")
                inside = real == place or real.startswith(place.rstrip("/") + "/")
                if inside and len(place) >= len(best):
                    best, kind = place, found
    except OSError:
        return ""
    return kind


def snapshot(context: Context) -> Iterator[Finding]:
    """The snapshot is undamaged."""
    path = context.state.snapshot
    if not os.path.lexists(path):
        yield Finding(OK, "no snapshot yet: nothing has been submitted")
        return
    begun = time.monotonic()
    fold = context.store.read()
    took = time.monotonic() - begun
    held = count(len(fold.of(SPEC)), "submission")  # an array is one
    yield Finding(OK, f"snapshot {path}: {held}, read in {took * 1000:.0f} ms")
    for dropped in fold.dropped:
        yield Finding(WARN, f"the snapshot is damaged: {dropped}", "the next change repairs it and keeps a copy")
    yield from _aside(fold)
    for kept in sorted(glob.glob(glob.escape(path) + ".corrupt-*")):
        yield Finding(WARN, f"a damaged snapshot was kept as {kept}", "look at its content, then remove it")


def _aside(fold: Fold) -> Iterator[Finding]:
    remedy = "it has no effect and is kept, for a gflow that understands it"
    for (kind, record_id), (_, why) in sorted(fold.aside.items(), key=str)[:MOST_NAMED]:
        yield Finding(WARN, f"the record {kind} {record_id} makes no sense: {why}", remedy)
    if len(fold.aside) > MOST_NAMED:
        yield Finding(WARN, f"{len(fold.aside) - MOST_NAMED} more records make no sense", remedy)


def history(context: Context) -> Iterator[Finding]:
    """The history is undamaged."""
    path = context.state.history
    for kept in sorted(glob.glob(glob.escape(path) + ".corrupt-*")):
        if not kept.endswith(("-wal", "-shm")):
            yield Finding(WARN, f"a damaged history was kept as {kept}", "look at its content, then remove it")
    if not os.path.lexists(path):
        yield Finding(OK, "no history yet: no job has left the queue")
        return
    if is_of_others(context):
        return
    from gflowd.storage import history_access

    yield Finding(OK, f"history {path}: {count(history_access.of(context.state).count(), 'job')}")


def _can_be_made(root: str) -> Finding:
    above = os.path.dirname(root)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if os.access(above, os.W_OK | os.X_OK):
        return Finding(OK, f"state directory {root}: does not exist yet; the first submission creates it")
    return Finding(FAIL, f"state directory {root} cannot be created: {above} is not writable", "set GFLOW_STATE_DIR")


def runtime_directory(context: Context) -> Iterator[Finding]:
    """The directory of the sockets is private and its name short enough."""
    root = context.runtime.root
    if len(os.fsencode(root)) + LONGEST_NAME_IN_RUN > SOCKET_PATH_LIMIT:
        yield Finding(FAIL, f"{root}: too long for a socket", "set GFLOW_RUNTIME_DIR to a shorter private directory")
    elif os.path.lexists(root):
        if context.state.shared is None:
            context.runtime.prepare()
        yield Finding(OK, f"runtime directory {root}")
    elif (found := daemon.running(context.state)) is not None:
        yield Finding(FAIL, f"runtime directory {root} is gone while gflowd runs", found.restart)
    else:
        yield Finding(OK, f"runtime directory {root}: does not exist yet; gflowd creates it")


def daemon_and_workers(context: Context) -> Iterator[Finding]:
    """Whether gflowd runs here and its workers beat."""
    found = daemon.running(context.state)
    if found is None:
        yield Finding(WARN, "gflowd is not running", f"{context.start_command}; until then jobs are only queued")
        yield from _last_end(context)
        return
    if found.elsewhere:
        yield Finding(FAIL, f"gflowd runs on another machine ({found})", "a state directory is for one machine only")
        return
    if found.version not in {None, __version__}:
        remedy = f"{found.restart} completes the upgrade; jobs go on"
        yield Finding(WARN, f"gflowd {found.version} is running, but {__version__} is installed", remedy)
    yield Finding(OK, f"gflowd is running ({found}, {found.hosting or 'hosting unknown'})")
    if found.pulse_fd is None:
        yield Finding(WARN, "gflowd is still starting its workers", "check again in a moment")
        return
    if proc.is_stopped(found.pid):
        yield Finding(FAIL, f"gflowd is stopped (pid {found.pid})", f"kill -CONT {found.pid}")
    if is_of_others(context):
        return
    for pulse in board.read_pulses(found.pid, found.pulse_fd):
        yield _worker(context, found, pulse, time.monotonic())


def _last_end(context: Context) -> Iterator[Finding]:
    """Why the daemon ended, if that is the last thing that it said."""
    try:
        with open(context.state.log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LAST_WORDS))
            words = file.read().decode(errors="replace").rstrip("\n").rpartition("\n")[2]
    except OSError:  # it has never run
        return
    when, _, rest = words.partition(" ")
    _, ends, why = rest.partition('error supervisor "daemon ends" why=')
    if ends:
        why = json.loads(why) if why.startswith('"') else why
        yield Finding(WARN, f"gflowd ended at {when}: {why}", f"the log is {context.state.log}")


def _worker(context: Context, found: daemon.Daemon, pulse: board.Pulse, now: float) -> Finding:
    who = f"worker {pulse.name} (pid {pulse.pid or 'none'})"
    restarts = f", {count(pulse.restarts, 'restart')}" if pulse.restarts else ""
    last = max(pulse.beat, pulse.started)  # one that was just started has not beaten yet, one to be started has neither
    if last and now - last > SILENT:
        return Finding(WARN, f"{who} has not responded for {now - last:.0f} s", found.restart)
    if pulse.restarts >= OFTEN and now - pulse.started < LATELY:
        return Finding(WARN, f"{who} keeps dying{restarts}", f"see {context.state.log}")
    return Finding(OK, f"{who}{restarts}")


def gpus(context: Context) -> Iterator[Finding]:
    """The GPUs as the daemon saw them."""
    seen = context.observed
    if not seen.is_known:
        yield Finding(OK, "GPUs: not known yet; gflowd has not polled them")
        return
    found = seen.gpus
    if seen.gpu_trouble:
        yield Finding(WARN, f"no job gets a GPU: {seen.gpu_trouble}")
    faulty = [gpu for gpu in found if gpu.state == "faulty"]
    for gpu in found:
        if (gpu.cause or "").startswith(CLAIMED):
            yield Finding(WARN, f"GPU {gpu.index} is {gpu.cause}", TRUST)
    simulated = sum(1 for gpu in found if gpu.simulated)
    for gpu in faulty:
        again = f"gflowctl gpus resume {gpu.index}" if gpu.answers else "see the kernel's log"
        yield Finding(WARN, f"GPU {gpu.index} is faulty: {gpu.cause}", again)
    yield Finding(OK, f"{count(len(found), 'GPU')}{f', {simulated} of them simulated' if simulated else ''}")
    allowed = gpu_records.Allowed(context)
    if allowed.over is not None:
        yield Finding(WARN, allowed.words(), "gflowctl gpus allow --default removes it")
    elif allowed.by is not None:
        yield Finding(OK, allowed.words())
    if seen.trouble:
        yield Finding(WARN, f"no job is started now: {seen.trouble}")
    for worker, trouble in sorted(seen.service_troubles.items()):
        if trouble is not None:
            yield Finding(WARN, f"{worker}: {trouble}")


def memory_limits(context: Context) -> Iterator[Finding]:
    """How the memory limits of jobs are enforced."""
    who = context.observed.memory_limits
    if who == "cgroup":
        yield Finding(OK, "memory limits are enforced by the kernel (cgroups)")
    elif who == "watch":
        yield Finding(OK, "memory limits are checked about once a second (no delegated cgroup)")


def gpu_access(context: Context) -> Iterator[Finding]:
    """Whether the GPUs of a daemon for many users are closed to whom they were not given."""
    if not context.observed.is_known or context.observed.enforce_gpus is None:
        return
    enforced, trouble = context.observed.enforce_gpus, context.observed.open_gpus
    if trouble is not None:
        yield Finding(WARN, f"GPUs are open to others: {trouble}", OPEN_GPUS)
    elif enforced == device_access.OFF:
        yield Finding(OK, "GPUs are open to every process (shared.enforce_gpus is off)")
    elif enforced == device_access.JOBS:
        yield Finding(OK, "jobs can open only the GPUs that they were given; logins can open all")
    else:
        yield Finding(OK, "jobs can open only the GPUs that they were given, logins none")


CHECKS: tuple[Check, ...] = (
    python, packages, configuration, tmux, state_directory, snapshot, history, runtime_directory,
    daemon_and_workers, gpus, gpu_access, memory_limits,
)  # fmt: skip
