"""Gives commands the state directory, the snapshot and what the daemon last saw. Reads only on demand."""

from __future__ import annotations

import os
import time

from gflowd import paths
from gflowd.core.errors import BadUsage, GflowError, Refused
from gflowd.core.job.records import QUOTA
from gflowd.paths import Runtime, State, default_config_path
from gflowd.storage import observed_reader
from gflowd.storage.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import tzinfo
    from typing import Any, TypeVar

    from gflowd.config.loader import Config
    from gflowd.core.gateway.asking import File
    from gflowd.core.job.model import Spec
    from gflowd.core.request.validation import Limits
    from gflowd.core.syntax.clocks import Clock
    from gflowd.storage.observed_reader import Observed
    from gflowd.storage.store import Commit

    T = TypeVar("T")

USER, SYSTEM = "user", "system"  # whose daemon
LOCALTIME = "/etc/localtime"
LARGEST_UNREAD = 1 << 16  # bytes
_DEFAULTS: dict[str, Any] = {
    "lock_timeout": 10.0,
    "timezone": None,
    "known_projects": (),
    "require_project": False,
    "quotas": {},
    "clusters": (),
}
_OF_CONCERN = (b"lock_timeout", b"timezone", b"projects", b"quota", b"cluster")  # what stands in the file for it
_SET_BY_ENVIRONMENT = ("GFLOW_STORE__", "GFLOW_PROJECTS__", "GFLOW_QUOTA__", "GFLOW_TIMEZONE")


class Context:
    """One run of gflowctl. `config`, `state_dir`, `daemon` and `timezone` are the options, None if not given.
    `embedded`: in a program of the user's own, whose signals, umask and threads are not ours.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        config: str | None = None,
        state_dir: str | None = None,
        timezone: str | None = None,
        *,
        daemon: str | None = None,
        embedded: bool = False,
    ) -> None:
        self.environ = environ
        self.embedded = embedded
        self.timezone_given = timezone
        self.config_given = config
        self.state_given = state_dir
        self.daemon_given = daemon
        self.state = State(chosen_state_dir(environ, state_dir, daemon))
        self._observed: Observed | None = None
        self._settings: dict[str, Any] | None = None
        self._store: Store | None = None
        self._clock: Clock | None = None
        self._is_operator: bool | None = None
        self._read_of: object = None

    @property
    def observed(self) -> Observed:
        """What the daemon last wrote of the live world; read once. Raises as `observed_reader.read`."""
        if self._observed is None:
            self._observed = observed_reader.read(self.state)
        return self._observed

    @property
    def runtime(self) -> Runtime:
        """The runtime directory that the daemon uses, or would use."""
        root = self.observed.runtime_dir or self.environ.get("GFLOW_RUNTIME_DIR")
        return Runtime(root or self.state.default_run(), of_many=self.state.shared is not None)

    @property
    def settings(self) -> dict[str, Any]:
        """`lock_timeout`, `timezone`, `known_projects`, `require_project`, `quotas`, `clusters` (their names): from the
        daemon, unless the file is newer.
        """
        if self._settings is None:
            told = self.observed.config
            self._settings = told if told is not None and self._is_current(told) else self._load()
        return self._settings

    @property
    def limits(self) -> Limits:
        """What requests are checked against: the capacity that the daemon last saw, and the projects."""
        from gflowd.core.request.validation import Limits

        seen = self.observed
        return Limits(
            gpus=seen.gpu_count,
            gpu_models=seen.gpu_models or None,
            cpus=seen.cpus,
            memory_mb=seen.memory_mb,
            known_projects=tuple(self.settings["known_projects"]),
            require_project=self.settings["require_project"],
        )

    def may_have_queue_quota(self, commit: Commit) -> bool:
        """Whether queued jobs of any user may be limited; reads no job."""
        configured = (self.settings.get("quotas") or {}).values()
        return any(quota.get("max_queued_jobs") is not None for quota in configured) or commit.may_have(QUOTA)

    def check_config(self) -> None:
        """Raises `Refused` where a configuration file is named and missing, as gflowd does."""
        if named := self.config_given or self.environ.get("GFLOW_CONFIG"):
            try:
                os.stat(named)
            except OSError as error:
                raise Refused(f"{os.path.abspath(named)}: {error.strerror}") from None

    @property
    def config_path(self) -> str:
        """The configuration file, whether or not it exists."""
        return (
            os.path.abspath(self.config_given)
            if self.config_given
            else default_config_path(self.environ, system=self.state.shared is not None)
        )

    def _is_current(self, told: dict[str, Any]) -> bool:
        if self._overridden():
            return False
        return told.get("path") == self.config_path and told.get("mtime_ns") == mtime_ns(self.config_path)

    def _overridden(self) -> bool:
        return any(name.startswith(_SET_BY_ENVIRONMENT) for name in self.environ)

    def _load(self) -> dict[str, Any]:
        named = self.config_given or self.environ.get("GFLOW_CONFIG")
        if not named and not self._overridden() and mtime_ns(self.config_path) is None:
            return _DEFAULTS
        if not self._overridden() and not _is_of_concern(self.config_path):
            return _DEFAULTS
        loaded = self.configuration()
        return {
            "lock_timeout": loaded.lock_timeout,
            "timezone": loaded.timezone,
            "known_projects": loaded.known_projects,
            "require_project": loaded.require_project,
            "quotas": loaded.quotas,
            "clusters": tuple(loaded.clusters),
        }

    def configuration(self) -> Config:
        """All that is configured, as it is now: of the user, or of all users. Raises `Refused`."""
        from gflowd.config import loader

        return loader.load(self.config_given, self.environ, system=self.state.shared is not None)

    @property
    def store(self) -> Store:
        """The snapshot, for reading; refuses a state directory that others may enter."""
        if self._store is None:
            if os.path.lexists(self.state.root):
                self.state.prepare()
            self._store = Store(self.state, polls=self.embedded)
        return self._store

    @property
    def writable_store(self) -> Store:
        """The snapshot, for changes."""
        self.state.prepare()
        self.store.lock_timeout = float(self.settings["lock_timeout"])
        return self.store

    def change(
        self,
        decide: Callable[[Commit], T],
        *,
        files: Sequence[File] = (),
        renumbered: Callable[[T, int], T] | None = None,
    ) -> T:
        """Changes the queue: what `decide` puts is written, all of it, or nothing if it raises. Returns its result.

        `decide` looks only at what the commit shows it, and may be called again, from the beginning, where the queue
        changed in between. Of many users, the gateway writes it, and the `files` that new jobs need; `renumbered` adds
        a number to the provisional ids in the result.
        """
        store = self.writable_store
        if self.state.shared is None:
            with store.commit() as commit:
                return decide(commit)
        from gflowd.storage import remote_store

        result, by = remote_store.change(store, self.state.shared.gate, decide, files)
        return result if renumbered is None else renumbered(result, by)

    @property
    def user(self) -> str:
        """The user: the name of the real user id, whatever the environment says."""
        import pwd

        uid = os.getuid()
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return str(uid)

    @property
    def uid(self) -> int | None:
        """What specs of this user's jobs have as `uid`."""
        return None if self.state.shared is None else os.getuid()

    def check_own(self, spec: Spec, label: str) -> None:
        """Raises `Refused` for what only the owner of a job, named by its label, and root may read or do."""
        if self.uid not in (None, 0, spec.uid):
            raise Refused(f"job {label} belongs to {spec.user}")

    @property
    def is_operator(self) -> bool:
        """Whether this user may change everyone's jobs, drain, set quotas and so on."""
        if self._is_operator is None:
            is_alone = self.state.shared is None or os.getuid() == 0
            self._is_operator = is_alone or is_among(self.user, self.configuration().shared_operators)
        return self._is_operator

    @property
    def daemon_runs(self) -> bool:
        """Whether gflowd is up on this state directory. Raises as `State.check`."""
        from gflowd.effects import daemon

        self.state.check()
        return daemon.running(self.state) is not None

    @property
    def start_command(self) -> str:
        """How gflowd is started here."""
        if self.state.shared is None:
            return "gflowd start"
        return "sudo systemctl start gflowd" if os.path.exists(paths.SYSTEMD) else "gflowd run --system, as root"

    def ring(self, kinds: bytes) -> None:
        """Wakes the daemon, if it runs: `q` after a submission, `w` after a wish."""
        from gflowd.effects import doorbell

        doorbell.ring(self.runtime.bell, kinds)

    def forget(self) -> None:
        """Makes the next use of `observed` read it again."""
        self._observed = None

    def renew(self, store: Store) -> bool:
        """For one that is kept: lets what has changed since it was read be read again, and the snapshot by `store`.
        Returns whether anything but the snapshot has changed.
        """
        seen = self.state.observed
        found = _stamp(seen), mtime_ns(self.config_path)
        self._store = store
        if found == self._read_of:
            return False
        self._read_of = found
        self._observed = self._settings = self._clock = self._is_operator = None
        return True

    def notes(self) -> list[str]:
        """Notes for the user in addition to the result."""
        return [] if self._store is None else self._store.notes

    @property
    def zone_name(self) -> str | None:
        """The time zone in which the user's times are meant, by name: that of --timezone, the configured one, or that
        of TZ; None: the machine's, or one that has no name.
        """
        found: str | None = self.timezone_given or self.settings["timezone"]
        found = found or self.environ.get("TZ", "").removeprefix(":") or None
        from gflowd.core.syntax import instants

        try:
            return found if instants.zone(found) is not None else None
        except Refused:
            return None

    @property
    def clock(self) -> Clock:
        """Reads and prints times: in the zone of --timezone, else in the configured one, else in the machine's."""
        if self._clock is None:
            from gflowd.core.syntax import clocks

            self._clock = clocks.of(self.timezone_given or self._configured_zone(), time.time())
        return self._clock

    def _configured_zone(self) -> str | None:
        """Without the configuration, if that is wrong, times are shown still."""
        try:
            settings = self.settings
        except GflowError:
            settings = self.observed.config or _DEFAULTS
        found: str | None = settings["timezone"]
        return found

    @property
    def calendar(self) -> tzinfo | None:
        """The time zone in which reservations repeat: the daemon's, whatever --timezone and TZ say here."""
        from gflowd.core.syntax import instants

        if (name := self.settings["timezone"]) is not None:
            return instants.zone(name)
        told = (self.observed.config or {}).get("tz", "")
        return None if told in ("", self.environ.get("TZ")) else _zone_of(told)

    def instant(self, text: str, option: str, zone: str | None = None) -> float:
        """`text`, in the time zone `zone` or that of the `clock`, as seconds since the epoch. Raises `BadUsage`."""
        from gflowd.core.syntax import clocks

        assert self.settings  # which must be right here
        clock, now = self.clock, time.time()
        try:
            return (clock if zone is None else clocks.of(zone, now)).instant(text, now)
        except Refused as error:
            raise BadUsage(f"{option}: {error}") from None

    def past_instant(self, text: str, option: str) -> float:
        """As `instant`, of one that is over."""
        assert self.settings
        try:
            return self.clock.past_instant(text, time.time())
        except Refused as error:
            raise BadUsage(f"{option}: {error}") from None


def chosen_state_dir(environ: Mapping[str, str], state_dir: str | None, daemon: str | None) -> str:
    """The one that is named, by an option or GFLOW_STATE_DIR; else that of the daemon for many users, where there is
    one; else the user's own. `daemon`: whose, by an option. Raises `BadUsage`, and `Refused` where there is none.
    """
    if state_dir is not None:
        if daemon is not None:
            raise BadUsage("give either --daemon or --state-dir, not both")
        return os.path.abspath(state_dir)
    named = environ.get("GFLOW_STATE_DIR")
    if named and daemon is None:
        return os.path.abspath(named)
    if daemon != USER:
        for place in (named, paths.SYSTEM_STATE):
            if place and os.path.exists(os.path.join(place, "shared")):
                return os.path.abspath(place)
        if daemon is not None:
            raise Refused("there is no gflowd for all users on this machine (gflowd run --system)")
    elif named and os.path.exists(os.path.join(named, "shared")):  # in a job of the other one
        return paths.default_state_dir({**environ, "GFLOW_STATE_DIR": ""})
    return paths.default_state_dir(environ)


def is_among(user: str, people: Sequence[str]) -> bool:
    """Whether a user, in the groups of this process, is one of `people`: names, and groups after an @."""
    if user in people:
        return True
    import grp

    mine = {os.getgid(), *os.getgroups()}
    for name in people:
        try:
            if name.startswith("@") and grp.getgrnam(name[1:]).gr_gid in mine:
                return True
        except KeyError:
            continue
    return False


def _zone_of(tz: str | None) -> tzinfo | None:
    """The time zone of a process that has this TZ, tzset(3); None, ours, if that cannot be told."""
    from zoneinfo import ZoneInfo

    name = LOCALTIME if tz is None else tz.removeprefix(":")
    try:
        if not name.startswith("/"):
            return ZoneInfo(name)
        with open(name, "rb") as file:
            return ZoneInfo.from_file(file, key=None if tz is None else name)
    except (ValueError, OSError, KeyError):
        return None


def _is_of_concern(path: str) -> bool:
    """Whether a configuration file may set anything that gflowctl needs: reading TOML costs as much as a submission."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_UNREAD + 1)
    except OSError:
        return True  # the code that reads it reports the error
    return len(content) > LARGEST_UNREAD or any(word in content for word in _OF_CONCERN) or b"\\" in content


def _stamp(path: str) -> tuple[int, int, int] | None:
    """What differs when a file was replaced or written to; None if it cannot be read."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def mtime_ns(path: str) -> int | None:
    """When a file was last changed; None if that cannot be read."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None
