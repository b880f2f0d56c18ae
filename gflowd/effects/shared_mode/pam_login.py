"""Becomes a user, with all that PAM has to say about that, and runs one command: how a job starts without systemd.

Run as a program by `python3 -I -S`, as root; imports nothing of gflow. It asks PAM for the account, opens a session,
and forks: the child enters the job's control group, takes the user's groups and ids for good, and becomes the command.
This process stays outside of that group until every process of the job has ended, then it closes the session. Why a
command could not be started is written to the file `BARRED`, which only root may write. Where the user, or the machine,
may have no more processes, it waits up to PATIENCE seconds for others to end.

    python3 -I -S pam_login.py SERVICE NAME UID GID BARRED GROUP NO_NEW_PRIVS PATIENCE COMMAND...
    python3 -I -S pam_login.py SERVICE NAME UID GID BARRED                  (only whether the account may be used)
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal
import sys
import time
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PAM_SUCCESS = 0
PAM_BUF_ERR, PAM_CONV_ERR = 5, 19
PAM_TTY = 3
PAM_TEXT_INFO, PAM_ERROR_MSG = 4, 3
PAM_SILENT = 0x8000
PAM_ESTABLISH_CRED, PAM_DELETE_CRED = 0x2, 0x4
PAM_DATA_SILENT = 0x40000000
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
OPEN_FILES = 1024  # the usual soft limit, where gflowd has raised its own
CANNOT_START = 125
FULL = (errno.EAGAIN, errno.ENOMEM)  # fork(2) for want of room
REST = 0.5  # seconds until the next look whether there is some


class Failed(Exception):
    """It cannot be started; `str()` is the reason."""


class Job(NamedTuple):
    """What is to run, as whom, and the control group that it lives in."""

    user: str
    uid: int
    gid: int
    group: str
    command: tuple[str, ...]
    no_new_privs: bool
    patience: float  # seconds
    barred: str


class _Message(ctypes.Structure):
    _fields_ = (("style", ctypes.c_int), ("text", ctypes.c_char_p))


class _Response(ctypes.Structure):
    _fields_ = (("text", ctypes.c_void_p), ("code", ctypes.c_int))


_ASK = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(_Message)),
    ctypes.POINTER(ctypes.POINTER(_Response)),
    ctypes.c_void_p,
)


class _Conversation(ctypes.Structure):
    _fields_ = (("ask", _ASK), ("data", ctypes.c_void_p))


class Session:
    """A PAM transaction for `user`; there is nobody to talk to, so a module that asks fails."""

    def __init__(self, service: str, user: str) -> None:
        try:
            self._pam = ctypes.CDLL("libpam.so.0", use_errno=True)
        except OSError:
            raise Failed("there is no PAM on this machine (libpam.so.0)") from None
        self._pam.pam_strerror.restype = ctypes.c_char_p
        self._libc = ctypes.CDLL(None)
        self._libc.calloc.restype = ctypes.c_void_p
        self._said: list[str] = []
        self._conversation = _Conversation(_ASK(self._answer), None)
        self._handle = ctypes.c_void_p()
        self._last = PAM_SUCCESS
        self._service, self._user = service, user
        code = self._pam.pam_start(
            service.encode(), user.encode(), ctypes.byref(self._conversation), ctypes.byref(self._handle)
        )
        if code != PAM_SUCCESS:
            raise Failed(f"PAM (service {service}) does not start: error {code}")

    def _answer(self, count: int, messages: object, responses: object, _data: object) -> int:
        """Notes what modules say, answers no question."""
        try:
            for place in range(count):
                message = messages[place].contents  # type: ignore[index]
                if message.style not in (PAM_TEXT_INFO, PAM_ERROR_MSG):
                    return PAM_CONV_ERR
                if message.style == PAM_ERROR_MSG and message.text:
                    self._said.append(message.text.decode(errors="replace").strip())
            memory = self._libc.calloc(max(count, 1), ctypes.sizeof(_Response))  # PAM frees it
            if not memory:
                return PAM_BUF_ERR
            responses[0] = ctypes.cast(memory, ctypes.POINTER(_Response))  # type: ignore[index]
        except Exception:  # nothing may be raised through C
            return PAM_CONV_ERR
        return PAM_SUCCESS

    def check(self) -> None:
        """Whether the account may be used now. Raises `Failed`."""
        self._call("refuses", "pam_acct_mgmt", 0)

    def open(self) -> None:
        """Gives this process what the session has: login uid, limits, credentials. Raises `Failed`."""
        self._call("gives no credentials to", "pam_setcred", PAM_ESTABLISH_CRED | PAM_SILENT)
        self._call("opens no session for", "pam_open_session", 0)

    def close(self) -> None:
        """The session, and the transaction."""
        self._pam.pam_close_session(self._handle, PAM_SILENT)
        self._last = self._pam.pam_setcred(self._handle, PAM_DELETE_CRED | PAM_SILENT)
        self.end()

    def end(self) -> None:
        """The transaction alone."""
        self._pam.pam_end(self._handle, self._last)

    def forget(self) -> None:
        """In a child, which is not to close what its parent has open."""
        self._pam.pam_end(self._handle, self._last | PAM_DATA_SILENT)

    def _call(self, what: str, name: str, flags: int) -> None:
        self._last = getattr(self._pam, name)(self._handle, flags)
        if self._last == PAM_SUCCESS:
            return
        why = self._pam.pam_strerror(self._handle, self._last)
        words = "; ".join(dict.fromkeys([(why or b"?").decode(errors="replace"), *self._said]))
        raise Failed(f"PAM (service {self._service}) {what} {self._user}: {words}")


def main(words: list[str]) -> int:
    """0 when the command was started and all of it has ended, or the account may be used."""
    service, name, uid, gid, barred, *rest = words
    try:
        session = Session(service, name)
        if not rest:
            with _ending(session):
                session.check()
            return 0
        group, no_new_privs, patience, *command = rest
        who = name, int(uid), int(gid)
        _run(session, Job(*who, group, tuple(command), no_new_privs == "1", float(patience), barred))
        return 0
    except (Failed, OSError) as error:
        _bar(barred, _told(error))
        return CANNOT_START


@contextlib.contextmanager
def _ending(session: Session) -> Iterator[None]:
    try:
        yield
    finally:
        session.end()


def _run(session: Session, job: Job) -> None:
    ready, tell = os.pipe2(os.O_CLOEXEC)
    try:
        session.check()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        soft = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.initgroups(job.user, job.gid)
        session.open()
    except Failed:
        session.end()
        raise
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        child = _forked(job)
    except (Failed, OSError):
        session.close()
        raise
    if not child:
        _become(session, job, tell)
    os.close(tell)
    _stand_by()
    with os.fdopen(ready, "rb") as said:
        why = said.read().decode(errors="replace")
    status = _wait_for_all(child)
    session.close()
    if why or status:
        raise Failed(why or f"{job.command[-1]} ended with status {status}")


def _forked(job: Job) -> int:
    """As fork(2), once the user and the machine have room for it. Raises OSError, or `Failed` where there is none for
    long, or the job is not to begin any more.
    """
    deadline = time.monotonic() + job.patience
    while True:
        why = _crowded(job)
        try:
            if why is None:
                return os.fork()
        except OSError as error:
            if error.errno not in FULL:
                raise
            why = f"no more processes can be had on this machine: {error.strerror}"
        if time.monotonic() >= deadline or os.path.lexists(job.barred):
            raise Failed(why)
        time.sleep(REST)


def _crowded(job: Job) -> str | None:
    """Why the user may have no more processes, by the limit that PAM has set for this one (setrlimit(2))."""
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if not job.uid or limit == resource.RLIM_INFINITY:
        return None
    count = sum(map(_threads, (name for name in os.listdir("/proc") if name.isdigit() and _is_of(name, job.uid))))
    return None if count < limit else f"{job.user} has {count} processes and may have at most {limit} (ulimit -u)"


def _is_of(pid: str, uid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}").st_uid == uid
    except OSError:
        return False


def _threads(pid: str) -> int:
    """Each counts."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0


def _become(session: Session, job: Job, tell: int) -> None:
    """In the child: ends as the command; else what went wrong is told."""
    try:
        os.setsid()
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _write(os.path.join(job.group, "cgroup.procs"), "0")
        _write("/proc/self/oom_score_adj", "0")
        session.forget()
        if job.no_new_privs:
            _forgo_privileges()
        os.setresgid(job.gid, job.gid, job.gid)
        os.setresuid(job.uid, job.uid, job.uid)
        if job.uid:
            _check_for_good()
        os.chdir("/")
        os.umask(0o077)
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
        os.execve(job.command[0], job.command, environment)  # noqa: S606 -- no shell is wanted
    except BaseException as error:  # the child must never return
        with contextlib.suppress(OSError):
            os.write(tell, _told(error).encode(errors="replace"))
    os._exit(CANNOT_START)


def _forgo_privileges() -> None:
    if ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise Failed("the kernel does not know no_new_privs")


def _check_for_good() -> None:
    """That there is no way back to root."""
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise Failed("the kernel lets a job become root again")


def _stand_by() -> None:
    """Nothing but KILL ends this process before the job has ended; it keeps nothing open, and stands in no way."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)


def _wait_for_all(child: int) -> int:
    """Until every process that descends from this one has ended: orphans become its children. Returns the status of
    `child`, negative if a signal ended it.
    """
    found = 0
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return found
        if pid == child:
            found = os.waitstatus_to_exitcode(status)


def _told(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _bar(path: str, why: str) -> None:
    """Writes the reason where it is looked for, once; all or nothing."""
    fresh = f"{path}.{os.getpid()}"
    with contextlib.suppress(OSError):
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, " ".join(why.split()).encode(errors="replace")[:1000] + b"\n")
        finally:
            os.close(fd)
        try:
            os.link(fresh, path)
        finally:
            os.unlink(fresh)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
