"""Where gflow keeps its files, and the only code that opens them.

Everything is private to one Unix user: directories 0700, files 0600. What belongs to another user, is a link, or is
open to others is refused with the command that fixes it. A state directory of many users is root's; what tells of all
jobs may be read by all there.
"""

from __future__ import annotations

import errno
import os
import stat

from gflowd.core.errors import Refused, SystemFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET_PATH_LIMIT = 107  # bytes: sun_path of unix(7) less its closing zero
OWN = "u"  # the user's own part of a directory that root has made
LONGEST_NAME_IN_RUN = len("/manager.0000000000.sock")

SYSTEMD = "/run/systemd/system"  # exists if systemd runs the machine (sd_booted(3))

# Of the daemon for many users.
SYSTEM_STATE, SYSTEM_RUNTIME, SYSTEM_CONFIG = "/var/lib/gflow", "/run/gflow", "/etc/gflow/gflow.toml"
SYSTEM_GATE, SYSTEM_SPOOL = f"{SYSTEM_RUNTIME}/gate.sock", "/var/spool/gflow"
PRIVATE, PUBLIC = 0o600, 0o644  # modes of files
PASSABLE = 0o711  # of a directory of root's that others may pass through and not read


def default_state_dir(environ: Mapping[str, str]) -> str:
    """`GFLOW_STATE_DIR`, else `$XDG_STATE_HOME/gflow`, else `~/.local/state/gflow`."""
    if chosen := environ.get("GFLOW_STATE_DIR"):
        return os.path.abspath(chosen)
    base = environ.get("XDG_STATE_HOME", "")
    if not base.startswith("/"):  # the XDG specification: a relative path is to be ignored
        base = os.path.join(home(environ), ".local", "state")
    return os.path.join(base, "gflow")


def system_state_dir(environ: Mapping[str, str]) -> str:
    """That of the daemon for many users: `GFLOW_STATE_DIR`, else `SYSTEM_STATE`."""
    return os.path.abspath(environ.get("GFLOW_STATE_DIR") or SYSTEM_STATE)


def default_config_path(environ: Mapping[str, str], *, system: bool = False) -> str:
    """`GFLOW_CONFIG`, else `$XDG_CONFIG_HOME/gflow/gflow.toml`, else `~/.config/gflow/gflow.toml`; `system`: else that
    of the daemon for many users.
    """
    if chosen := environ.get("GFLOW_CONFIG"):
        return os.path.abspath(chosen)
    if system:
        return SYSTEM_CONFIG
    base = environ.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):
        base = os.path.join(home(environ), ".config")
    return os.path.join(base, "gflow", "gflow.toml")


def home(environ: Mapping[str, str]) -> str:
    """`HOME`, else what the user database says."""
    home = environ.get("HOME", "")
    if home.startswith("/"):
        return home
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        raise Refused(f"no home directory for user {os.getuid()}; set HOME") from None


class Shared:
    """What the file `shared` in the state directory of a daemon for many users says: the `gate`, a socket that takes
    the requests of users; the `spool`, below which is all that users own; whether users see each other's commands.
    """

    __slots__ = ("gate", "private_jobs", "spool")

    def __init__(self, gate: str = SYSTEM_GATE, spool: str = SYSTEM_SPOOL, *, private_jobs: bool = False) -> None:
        self.gate = gate
        self.spool = spool
        self.private_jobs = private_jobs


class State:
    """The paths of one state directory. Creates nothing before `prepare`.

    With the file `shared` in it, it is root's, many users' jobs are in it, and it holds nothing that a user could
    write: that is in the spool. There are two parts of a job's directory and of each attempt's: ours, where only root
    makes, renames and removes names (`job`, `attempt`), and the user's own, which root only reads (`own_job`,
    `own_attempt`). Else these are the same directories. What a user has for several jobs is in a directory per user.
    """

    __slots__ = ("_shared", "root")

    def __init__(self, root: str) -> None:
        self.root = root
        self._shared: Shared | bool | None = False  # False: not looked for yet

    @property
    def shared(self) -> Shared | None:
        """What is special about one of many users; None of a user's own."""
        if isinstance(self._shared, bool):
            self._shared = read_shared(self.path("shared"))
        return self._shared

    def share(self, shared: Shared | None) -> None:
        """For a daemon that is about to write that file."""
        self._shared = shared

    def prepare(self) -> None:
        """Creates the directory if it is missing; refuses one that others own or may enter. One of many users is there,
        and only root may write in it.
        """
        try:
            self.root.encode()
        except UnicodeEncodeError:
            raise Refused(f"{self.root!r} is not valid UTF-8; choose another state directory") from None
        self._check_link()
        if self.shared is None:
            private_directory(self.root)
        else:
            check_roots_directory(self.root)

    def _check_link(self) -> None:
        if os.path.islink(self.root) and os.path.isdir(self.root):
            place = os.path.realpath(self.root)
            raise Refused(f"{self.root} is a symbolic link; name the directory itself: GFLOW_STATE_DIR={place}")

    def check(self) -> None:
        """As `prepare`, but creates nothing: the directory may be missing."""
        self._check_link()
        if self.shared is None:
            check_private_directory(self.root)
        else:
            check_roots_directory(self.root)

    def has_snapshot(self) -> bool:
        """Whether anything has been submitted. Raises as `check`."""
        if os.path.lexists(self.snapshot):
            return True
        self.check()  # another user's must not be read either
        return False

    @property
    def told_mode(self) -> int:
        """The mode of a file that tells of the jobs of all."""
        return PUBLIC if self.shared is not None and not self.shared.private_jobs else PRIVATE

    @property
    def is_closed(self) -> bool:
        """Whether jobs are private and we are one of the users: the gateway tells us what we may know."""
        return self.shared is not None and self.shared.private_jobs and os.geteuid() != 0

    def open_told(self, path: str, flags: int) -> int:
        """A descriptor of such a file, made with O_CREAT. Raises as `open_private`; of many users it is root's, and
        others may at most read it.
        """
        if self.shared is None:
            return open_private(path, flags)
        return _open_roots(path, flags, self.told_mode)

    def replace_told(self, path: str, data: bytes, *, durable: bool, names_no_work: bool = False) -> None:
        """As `replace_file`, of such a file; of one that `names_no_work` all may know, also where jobs are private."""
        mode = PUBLIC if names_no_work and self.shared is not None else self.told_mode
        replace_file(path, data, durable=durable, mode=mode, is_exact=self.shared is not None)

    def path(self, *names: str) -> str:
        """A path below the state directory."""
        return os.path.join(self.root, *names)

    @property
    def snapshot(self) -> str:
        return self.path("snapshot.jsonl")

    @property
    def snapshot_lock(self) -> str:
        return self.path("snapshot.lock")

    @property
    def scheduler_lock(self) -> str:
        return self.path("scheduler.lock")

    @property
    def daemon_lock(self) -> str:
        return self.path("daemon.lock")

    @property
    def daemon_pid(self) -> str:
        return self.path("daemon.pid")

    @property
    def options(self) -> str:
        return self.path("options.json")

    @property
    def observed(self) -> str:
        return self.path("observed.json")

    @property
    def history(self) -> str:
        return self.path("history.db")

    @property
    def outbox(self) -> str:
        return self.path("outbox.db")

    @property
    def log(self) -> str:
        return self.path("log", "gflowd.log")

    def environment(self, name: str, uid: int | None = None) -> str:
        """The file of an environment; `uid` as in the spec that names it."""
        return os.path.join(self.kept("env", uid), name)

    def script(self, name: str, uid: int | None = None) -> str:
        """The file of a script; `uid` as in the spec that names it."""
        return os.path.join(self.kept("scripts", uid), name)

    def kept(self, place: str, uid: int | None = None) -> str:
        """The directory `place` (`env`, `scripts`, `outputs`, `relays`) of what is kept for several jobs; `uid` as in
        specs.
        """
        return self.path(place) if uid is None else os.path.join(self.users, str(uid), place)

    @property
    def users(self) -> str:
        """Where the directories of users are, if there are many."""
        return self._spooled("users")

    @property
    def jobs(self) -> str:
        return self._spooled("jobs")

    def _spooled(self, place: str) -> str:
        return os.path.join(self.root if self.shared is None else self.shared.spool, place)

    def job(self, job_id: int) -> str:
        return os.path.join(self.jobs, str(job_id))

    def own_job(self, job_id: int) -> str:
        return self._own(self.job(job_id))

    def attempt(self, job_id: int, attempt: int) -> str:
        return os.path.join(self.jobs, str(job_id), str(attempt))

    def own_attempt(self, job_id: int, attempt: int) -> str:
        return self._own(self.attempt(job_id, attempt))

    def job_log(self, job_id: int, attempt: int) -> str:
        return os.path.join(self.own_attempt(job_id, attempt), "log")

    def progress(self, job_id: int, attempt: int) -> str:
        return os.path.join(self.own_attempt(job_id, attempt), "progress")

    def _own(self, directory: str) -> str:
        return directory if self.shared is None else os.path.join(directory, OWN)

    def job_socket(self, job_id: int, attempt: int) -> str:
        """That of the tmux server of an attempt, where each has its own."""
        return os.path.join(self.own_attempt(job_id, attempt), "tmux.sock")

    def relays(self, uid: int | None = None) -> str:
        """The directory of those of a user; `uid` as in specs."""
        return self.kept("relays", uid)

    def relay(self, name: str, uid: int | None = None) -> str:
        return os.path.join(self.relays(uid), name)

    def default_run(self) -> str:
        return self.path("run") if self.shared is None else os.path.dirname(self.shared.gate)


class Runtime:
    """The paths of the runtime directory: sockets and the doorbell, nothing permanent. `of_many`: that of many users,
    who may pass through it.
    """

    __slots__ = ("of_many", "root")

    def __init__(self, root: str, *, of_many: bool = False) -> None:
        self.root = root
        self.of_many = of_many

    def prepare(self) -> None:
        """Makes the directory; refuses one whose socket paths would be too long for the kernel."""
        if len(os.fsencode(self.root)) + LONGEST_NAME_IN_RUN > SOCKET_PATH_LIMIT:
            raise Refused(f"{self.root}: too long for a socket; set GFLOW_RUNTIME_DIR to a shorter private directory")
        if self.of_many:
            passable_directory(self.root)
        else:
            private_directory(self.root)

    @property
    def gate(self) -> str:
        return os.path.join(self.root, "gate.sock")

    @property
    def bell(self) -> str:
        return os.path.join(self.root, "bell")

    @property
    def tmux_socket(self) -> str:
        return os.path.join(self.root, "tmux.sock")

    def manager_socket(self, number: int) -> str:
        return os.path.join(self.root, f"manager.{number}.sock")


def read_shared(path: str) -> Shared | None:
    """What the file `shared` at `path` says: root's, an object, in which what is missing is as by default; None where
    there is none. Raises `Refused` for another's, or one that others may write.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        if found.st_uid != 0 or found.st_mode & 0o022 or not stat.S_ISREG(found.st_mode):
            raise Refused(f"{path} is not root's alone to write: chown root {path}; chmod 644 {path}")
        text = os.read(fd, 4096).decode(errors="replace")
    finally:
        os.close(fd)
    from gflowd.core.syntax import fast_json

    try:
        said = (fast_json.loads(text) if text.strip() else {}).items()
        words = {name: value for name, value in said if name in Shared.__slots__}
    except (AttributeError, ValueError):
        raise Refused(f"{path} is not a JSON object") from None
    if not all(isinstance(value, bool if name == "private_jobs" else str) for name, value in words.items()):
        raise Refused(f"{path}: gate and spool are paths, private_jobs is true or false")
    return Shared(**words)


def check_trusted(path: str, links: int = 40) -> None:
    """Refuses a file or directory that another than root may write or replace: itself, a directory on the way, or what
    a link on the way leads to. It may be missing.
    """
    here = "/"
    for name in os.path.abspath(path).split("/"):
        here = os.path.join(here, name)
        try:
            found = os.lstat(here)
        except FileNotFoundError:
            return
        except OSError as error:
            raise Refused(f"{here}: {error.strerror}") from None
        if found.st_uid != 0:
            raise Refused(f"{here} belongs to user {found.st_uid}, not to root: chown root {here}")
        if stat.S_ISLNK(found.st_mode):
            if not links:
                raise Refused(f"{path}: {os.strerror(errno.ELOOP)}")
            check_trusted(os.path.join(os.path.dirname(here), os.readlink(here)), links - 1)
        # in a sticky directory nobody can replace what is root's
        elif found.st_mode & 0o022 and not (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
            raise Refused(f"{here} can be written by others than root: chmod go-w {here}")


def passable_directory(path: str) -> None:
    """Creates root's directory `path` (0711, with parents), which others may pass through and not read; one that exists
    gets that mode. Refuses what another than root may write or replace.
    """
    check_trusted(path)
    try:
        make_passable(path)
        if not os.path.isdir(path):
            raise Refused(f"{path} is not a directory; move it away")
        if stat.S_IMODE(os.stat(path).st_mode) & 0o777 != PASSABLE:
            os.chmod(path, PASSABLE)  # what others may read in it is up to each file
    except OSError as error:
        raise SystemFailed(f"{path}: {error.strerror}") from error


def make_passable(path: str) -> None:
    """Creates such a directory, with parents; leaves what is there. Raises OSError."""
    if os.path.lexists(path):
        return
    make_passable(os.path.dirname(path))
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:  # another process was as quick
        return
    os.chmod(path, PASSABLE)  # mkdir's mode is cut by the umask
    sync_directory(os.path.dirname(path))


def private_directory(path: str) -> None:
    """Creates `path` (0700, with parents) or checks that it is a directory that only we may enter."""
    if check_private_directory(path):
        return
    try:
        _make_directory(os.path.abspath(path))
    except OSError as error:
        raise SystemFailed(f"{path}: {error.strerror}") from error
    check_private_directory(path)


def check_private_directory(path: str) -> bool:
    """Refuses what is at `path` unless it is a directory that only we may enter; returns whether anything is there."""
    path = os.path.abspath(path)  # with a slash at its end a link would be followed
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SystemFailed(f"{path}: {error.strerror}") from error
    _check_private(path, found, stat.S_ISDIR(found.st_mode), "a directory", 0o700)
    return True


def check_roots_directory(path: str) -> None:
    """Refuses what is at `path` unless it is a directory that only root, or we, may write in."""
    try:
        found = os.lstat(path)
    except OSError as error:
        raise SystemFailed(f"{path}: {error.strerror}") from error
    _check_roots(path, found, stat.S_ISDIR(found.st_mode), "a directory")


def _open_roots(path: str, flags: int, mode: int) -> int:
    """A descriptor of a plain file that only root, or we, may write; made with O_CREAT, and `mode`, whatever the umask
    says. Raises OSError or `Refused`. Others may have given it further names: that harms nobody.
    """
    fd = _open_no_link(path, flags, mode)
    try:
        found = os.fstat(fd)
        _check_roots(path, found, stat.S_ISREG(found.st_mode), "a plain file")
        if flags & os.O_CREAT and stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(fd, mode)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check_roots(path: str, found: os.stat_result, is_kind: bool, kind: str) -> None:  # noqa: FBT001
    if not is_kind:
        raise Refused(f"{path} is not {kind} of gflow's own (a link?); move it away")
    if found.st_uid not in (0, os.geteuid()):
        raise Refused(f"{path} belongs to user {found.st_uid}, not to root")
    if found.st_mode & 0o022:
        raise Refused(f"{path} may be written by others; change that: chmod go-w {path}")


def _make_directory(path: str) -> None:
    """Like os.makedirs, but durable, and with the mode for all directories."""
    if os.path.lexists(path):
        return
    parent = os.path.dirname(path)
    _make_directory(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:  # another process was as quick
        return
    try:
        sync_directory(parent)
    except OSError:
        pass  # one that we may write but not read (home directories of some sites)


def open_lock(path: str) -> int:
    """A descriptor of the lock file `path`, created if missing. As `open_private`, but a file that is open to others is
    made private: `filelock` before release 3.20 opens its lock files to others.
    """
    try:
        return open_private(path, os.O_RDWR | os.O_CREAT)
    except Refused:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or not found.st_mode & 0o077:
            raise
    os.chmod(path, 0o600)
    return open_private(path, os.O_RDWR | os.O_CREAT)


def open_private(path: str, flags: int) -> int:
    """A descriptor of our own file `path` (made 0600 with O_CREAT). Raises OSError, or `Refused` for a file that is
    not private: another owner, a link, or open to others.
    """
    fd = _open_no_link(path, flags, PRIVATE)
    found = os.fstat(fd)
    try:
        _check_private(path, found, stat.S_ISREG(found.st_mode) and found.st_nlink <= 1, "a plain file", 0o600)
    except Refused:
        os.close(fd)
        raise
    return fd


def _open_no_link(path: str, flags: int, mode: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Refused(f"{path} is a symbolic link; remove it: rm {path}") from error
        raise


def _check_private(path: str, found: os.stat_result, is_kind: bool, kind: str, mode: int) -> None:  # noqa: FBT001
    if not is_kind:
        raise Refused(f"{path} is not {kind} of gflow's own (a link?); move it away")
    if found.st_uid != os.geteuid():
        raise Refused(f"{path} belongs to user {found.st_uid}, not to you ({os.geteuid()})")
    if found.st_mode & 0o077:
        raise Refused(f"{path} is open to others; close it: chmod {mode:o} {path}")


def identity(path: str) -> tuple[int, int] | None:
    """What distinguishes a file or directory from another of the same name; None if there is none. Links are not
    followed.
    """
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_at(fd: int, path: str) -> bool:
    """Whether the file open as `fd` is the one at `path` now."""
    found = os.fstat(fd)
    return identity(path) == (found.st_dev, found.st_ino)


def read_private(path: str) -> bytes:
    """The content of our own file. Raises OSError or `Refused` as `open_private`."""
    fd = open_private(path, os.O_RDONLY)
    return read_open(fd)


def read_range(fd: int, begin: int, end: int) -> bytes:
    """The bytes of an open file from `begin` up to `end`, or to its end. Raises OSError."""
    parts = []
    while begin < end and (part := os.pread(fd, end - begin, begin)):
        parts.append(part)
        begin += len(part)
    return b"".join(parts)


def read_open(fd: int) -> bytes:
    """The rest of an open file, which is closed then."""
    try:
        parts = []
        while part := os.read(fd, 1 << 20):
            parts.append(part)
    finally:
        os.close(fd)
    return b"".join(parts)


def replace_file(path: str, data: bytes, *, durable: bool, mode: int = PRIVATE, is_exact: bool = False) -> None:
    """Replaces the content of `path` by `data`, all or nothing, by a rename; `durable` syncs file and directory;
    `is_exact`: it has that mode whatever the umask says. Raises OSError.
    """
    fresh = f"{path}.new.{os.getpid()}"
    fd = _open_new(fresh, mode)
    try:
        try:
            if is_exact:
                os.fchmod(fd, mode)
            write_all(fd, data)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(fresh, path)
    except OSError:
        _discard(fresh)
        raise
    if durable:
        sync_directory(os.path.dirname(path) or ".")


def is_unfinished(name: str) -> bool:
    """Whether a file with this name was to replace another: by its writer, who may have been killed."""
    of, _, pid = name.rpartition(".new.")
    return bool(of) and pid.isascii() and pid.isdecimal()


def discard_unfinished(directory: str) -> None:
    """Removes what killed writers have left in a directory of which the caller is the only writer. Raises OSError."""
    for name in filter(is_unfinished, os.listdir(directory)):
        os.unlink(os.path.join(directory, name))


def replace_link(path: str, target: str) -> None:
    """Makes `path` a symbolic link to `target`, in place of whatever file it was, by a rename. Raises OSError."""
    fresh = f"{path}.new.{os.getpid()}"
    try:
        os.symlink(target, fresh)
    except FileExistsError:  # left by a killed process that had our pid
        os.unlink(fresh)
        os.symlink(target, fresh)
    os.rename(fresh, path)


def _open_new(path: str, mode: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, mode)
    except FileExistsError:  # left by a killed process that had our pid
        os.unlink(path)
        return os.open(path, flags, mode)


def _discard(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def write_all(fd: int, data: bytes) -> None:
    """Writes every byte; write(2) may take fewer. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_directory(path: str) -> None:
    """Makes the names in a directory durable; without it a power cut can lose a rename."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def content_name(content: bytes) -> str:
    """The name of an environment or script that is kept: BLAKE2b of 128 bits in hex. Importing hashlib for it would
    cost ten times as much.
    """
    try:
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b
    return blake2b(content, digest_size=16).hexdigest()


def machine() -> str:
    """A name for this machine that survives a reboot: the machine id if there is one, else the host name."""
    try:
        with open("/etc/machine-id", encoding="ascii", errors="replace") as file:
            name = file.read().strip()
    except OSError:
        name = ""
    return name or os.uname().nodename
