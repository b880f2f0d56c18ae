"""The configuration: options, then environment, then file, then defaults. Errors are refused in one
sentence that names the file, the line and the key. Knows nothing of what the settings do.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gflowd.config import cluster_tables, settings, toml_file
from gflowd.core.errors import Refused
from gflowd.core.job import model
from gflowd.paths import SYSTEM_CONFIG, check_trusted, default_config_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gflowd.config.settings import Path
    from gflowd.core.cluster.cluster_settings import Cluster
    from gflowd.core.notify.targets import Hook, Mailbox, Service, Webhook

PREFIX = "GFLOW_"
LARGEST_FILE = 1 << 20  # bytes


@dataclass(frozen=True)
class Config:
    """Every setting: durations in seconds, memory and sizes in MiB, None if nothing is set (see `settings`)."""

    path: str  # of the file, there or not
    mtime_ns: int | None  # of the file; None if there is none
    notes: tuple[str, ...]  # what the user should be told once
    quotas: Mapping[str, Mapping[str, int | None]]  # by id, as `core.accounting.quotas` has them; not merged
    clusters: Mapping[str, Cluster]  # by name
    timezone: str | None
    log_level: str
    start_grace: float
    zombie_interval: float
    kill_strays: bool
    executor: Literal["tmux", "process"] | None
    grace: float | None
    tmp: str
    gpu_allow: tuple[int, ...] | None
    gpu_allow_by: str | None  # what says so: an option, a variable or a file; None: nothing does
    gpu_allocation: Literal["sequential", "random", "topology"]
    gpu_visible_as: Literal["index", "uuid"] | None
    gpu_trust_claims_of: tuple[str, ...]
    poll_interval: float
    simulate: tuple[int, int] | None  # how many, MiB each
    idle_warn: float | None
    idle_cancel: float | None
    cpus: int | None
    memory_mb: int | None
    backfill_depth: int
    default_time_limit: float | None
    promise_after: float
    promise_within: float
    fair_share_enabled: bool
    fair_share_half_life: float
    fair_share_cpu_weight: float
    known_projects: tuple[str, ...]
    require_project: bool
    lock_timeout: float
    history_after: float
    history_keep: float | None
    events_keep: int  # bytes
    log_max_size: int
    log_keep: float | None
    metrics_textfile: str | None
    metrics_listen: str | None
    metrics_names: Literal["none", "users", "jobs"]
    notify_enabled: bool | None
    notify_concurrency: int
    notify_give_up: float
    notify_webhooks: tuple[Webhook, ...]
    notify_emails: tuple[Mailbox, ...]
    notify_commands: tuple[Hook, ...]
    notify_services: tuple[Service, ...]
    mail_sendmail: str | None
    mail_host: str | None
    mail_port: int | None
    mail_security: str
    mail_user: str | None
    mail_password_file: str | None
    mail_password_env: str | None
    mail_from: str | None
    mail_timeout: float
    shared_users: tuple[str, ...] | None  # names, and groups after an @; None: all
    shared_operators: tuple[str, ...]
    shared_gateway: Literal["service", "worker"]
    shared_launcher: Literal["systemd", "own"]
    shared_pam_service: str
    shared_no_new_privs: bool
    shared_enforce_gpus: Literal["off", "jobs", "everyone"]
    shared_private_jobs: bool
    shared_top_priority: int
    shared_reserve: Literal["operators", "everyone"]
    shared_max_jobs_per_user: int
    shared_max_running_per_user: int
    shared_max_script: int  # bytes
    shared_max_kept_per_user: int  # bytes
    shared_allow_root: bool
    shared_least_uid: int
    shared_notify_urls: bool
    shared_max_connections: int
    shared_max_connections_per_user: int


@dataclass(frozen=True, slots=True)
class Source:
    """Where the value of a setting comes from: `kind` is `default`, `file`, `environment` or `option`; `where` is the
    line of the file or the variable; `given` is the value as it stands there, in TOML's form or as a word.
    """

    name: str  # of the setting: gpu.poll_interval
    value: Any  # as in `Config`
    kind: Literal["default", "file", "environment", "option"]
    where: str | None
    given: str


class _Gathered:
    """What the layers have set so far."""

    def __init__(self, *, system: bool) -> None:
        self.system = system  # it is the configuration of the daemon for many users
        self.values: dict[str, Any] = {setting.attribute: setting.default for setting in settings.SETTINGS}
        self.quotas: dict[str, dict[str, int | None]] = {}
        self.clusters: dict[str, dict[str, Any]] = {}
        self.notes: list[str] = []
        self.text = ""  # of the file
        self.set_by: dict[Path, tuple[Literal["file", "environment", "option"], Any, Any]] = {}

    def set_quota(self, quota_id: str, key: str, value: int | None) -> None:
        self.quotas.setdefault(quota_id, {})[key] = value

    def source(self, path: Path, value: Any, default: str) -> Source:
        """Where the value of the setting at `path` comes from."""
        name = ".".join(path)
        if path not in self.set_by:
            return Source(name, value, "default", None, default)
        kind, where, given = self.set_by[path]
        if path in settings.BY_PATH and settings.BY_PATH[path].is_secret:
            given, value = [f"{len(value)} (not shown)"], None
        if kind != "file":
            return Source(name, value, kind, where, given)
        line = toml_file.line_of(self.text, where)
        return Source(name, value, kind, f"line {line}" if line else None, toml_file.shown(given))

    def sources(self) -> tuple[Source, ...]:
        """Of every setting that there is, and of each quota that is set."""
        known = (each for each in settings.SETTINGS if self.system or each.section != settings.OF_THE_SYSTEM)
        found = [self.source(each.path, self.values[each.attribute], each.written) for each in known]
        owners = ((path, settings.quota_of(path)) for path in self.set_by)
        quotas = (self.source(path, self.quotas[owner][path[-1]], "") for path, owner in owners if owner is not None)
        clusters = (
            self.source(path, self.clusters[path[1]][path[2]], "") for path in self.set_by if _is_of_cluster(path)
        )
        return (*found, *quotas, *clusters)


def load(
    path: str | None, environ: Mapping[str, str], options: Mapping[str, str] | None = None, *, system: bool = False
) -> Config:
    """The configuration as it is now. `options` are words by a setting's name: `{"gpu.poll_interval": "3"}`. `system`:
    that of the daemon for many users, which only root may write and which alone may have [shared].

    The file may be missing unless it was named, by `path` or GFLOW_CONFIG. Raises `Refused`.
    """
    return explain(path, environ, options, system=system)[0]


def explain(
    path: str | None, environ: Mapping[str, str], options: Mapping[str, str] | None = None, *, system: bool = False
) -> tuple[Config, Callable[[], tuple[Source, ...]]]:
    """As `load`, with what tells where each value comes from."""
    named = path is not None or bool(environ.get("GFLOW_CONFIG"))
    path = os.path.abspath(path) if path is not None else default_config_path(environ, system=system)
    system = system or path == SYSTEM_CONFIG
    if system:
        check_trusted(path)
    gathered = _Gathered(system=system)
    mtime_ns = _take_file(gathered, path, named=named)
    _take_environment(gathered, environ)
    for name, word in (options or {}).items():
        _take_word(gathered, settings.BY_NAME[name].path, word, f"option {name}")
        gathered.set_by[settings.BY_NAME[name].path] = ("option", None, word)
    loaded = Config(
        path=path,
        mtime_ns=mtime_ns,
        notes=tuple(gathered.notes),
        quotas=_of_all(gathered) if system else gathered.quotas,
        clusters={name: cluster_tables.made(name, values) for name, values in gathered.clusters.items()},
        gpu_allow_by=_said_by(gathered, ("gpu", "allow"), path),
        **gathered.values,
    )
    return loaded, gathered.sources


def _of_all(gathered: _Gathered) -> dict[str, dict[str, int | None]]:
    """The quotas where there are many users, none of whom may run any number of jobs unless that is said."""
    said: dict[str, int | None] = {"max_running_jobs": gathered.values["shared_max_running_per_user"]}
    return {**gathered.quotas, "default-user": {**said, **gathered.quotas.get("default-user", {})}}


def _said_by(gathered: _Gathered, setting: Path, file: str) -> str | None:
    kind, where, _ = gathered.set_by.get(setting, (None, None, None))
    return {"option": "an option of gflowd", "environment": where, "file": file}[kind] if kind is not None else None


def names() -> Iterator[tuple[str, str]]:
    """Every setting with what it is about."""
    return ((setting.name, setting.about) for setting in settings.SETTINGS)


def _take_file(gathered: _Gathered, path: str, *, named: bool) -> int | None:
    try:
        with open(path, "rb") as file:
            mtime_ns = os.fstat(file.fileno()).st_mtime_ns
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not named:
            return None
        raise Refused(f"{path}: {error.strerror}") from None
    if len(data) > LARGEST_FILE:  # a device, for one, never ends
        raise Refused(f"{path}: larger than {LARGEST_FILE >> 20} MiB, too large for a configuration file")
    text, tables = toml_file.parse(path, data)
    set_by: dict[Path, Path] = {}
    for key, value in toml_file.entries(tables):
        try:
            _take_entry(gathered, key, value, set_by)
        except Refused as refusal:
            line = toml_file.line_of(text, key)
            raise Refused(f"{path}: line {line}: {refusal}" if line else f"{path}: {refusal}") from None
    gathered.notes += _notes(path, text, tables)
    gathered.text = text
    return mtime_ns


def _take_entry(gathered: _Gathered, key: Path, value: object, set_by: dict[Path, Path]) -> None:
    if key in settings.WITHOUT_EFFECT:
        return
    name = ".".join(key)
    quota_id = settings.quota_of(key)
    target = settings.ALIASES.get(key, key)
    is_of_cluster = _is_of_cluster(key)
    if quota_id is None and not is_of_cluster and target not in settings.BY_PATH:
        raise Refused(toml_file.unknown(key))
    if target[0] == settings.OF_THE_SYSTEM and not gathered.system:
        raise Refused(f"{name} belongs in the system's configuration, {SYSTEM_CONFIG}, and has no meaning in a user's")
    if is_of_cluster and gathered.system:
        from gflowd.core.request.cluster_options import FOR_ALL_USERS

        raise Refused(f"{name}: {FOR_ALL_USERS}")
    if target in set_by:
        raise Refused(f"{name} and {'.'.join(set_by[target])} are the same setting; keep one of them")
    set_by[target] = key
    try:
        if quota_id is not None:
            gathered.set_quota(quota_id, key[-1], settings.QUOTA_KIND.read(value))
        elif is_of_cluster:
            gathered.clusters.setdefault(key[1], {})[key[2]] = cluster_tables.KEYS[key[2]].kind.read(value)
        else:
            setting = settings.BY_PATH[target]
            gathered.values[setting.attribute] = setting.kind.read(value)
        gathered.set_by[target] = ("file", key, value)
    except Refused as refusal:
        raise Refused(f"{name}: {refusal}") from None


def _is_of_cluster(path: Path) -> bool:
    """Whether `path` sets a key of a cluster."""
    return settings.is_cluster(path[:-1]) and path[-1] in cluster_tables.KEYS


def _notes(path: str, text: str, tables: Mapping[str, Any]) -> list[str]:
    useless = [key for key, _value in toml_file.entries(tables) if key in settings.WITHOUT_EFFECT]
    return [f"{path}: line {toml_file.line_of(text, key)}: {'.'.join(key)} has no effect here" for key in useless]


def _take_environment(gathered: _Gathered, environ: Mapping[str, str]) -> None:
    for name in sorted(environ):
        if not name.startswith(PREFIX) or model.is_own(name):  # a sweep's parameter may be called a__b
            continue
        path = tuple(name.removeprefix(PREFIX).lower().split("__"))
        if len(path) == 1 and path not in settings.BY_PATH:
            continue  # GFLOW_STATE_DIR, GFLOW_DEBUG and the like
        if environ[name]:
            _take_word(gathered, path, environ[name], name)
            gathered.set_by[settings.ALIASES.get(path, path)] = ("environment", name, environ[name])


def _take_word(gathered: _Gathered, path: Path, word: str, said_by: str) -> None:
    setting = settings.BY_PATH.get(settings.ALIASES.get(path, path))
    quota_id = settings.quota_of(path) if path[:2] in settings.QUOTA_DEFAULTS else None
    if setting is None and quota_id is None:
        if settings.quota_of(path) is not None:
            raise Refused(f"{said_by}: the quota of one user or project can only be set in the file")
        if path[0] == cluster_tables.SECTION:
            raise Refused(f"{said_by}: a cluster can only be set in the file")
        raise Refused(f"{said_by}: {toml_file.unknown(path)}")
    if path[0] == settings.OF_THE_SYSTEM:
        raise Refused(f"{said_by}: {'.'.join(path)} can only be set in the system's configuration, {SYSTEM_CONFIG}")
    try:
        if setting is not None:
            gathered.values[setting.attribute] = setting.kind.read_word(word)
        elif quota_id is not None:
            gathered.set_quota(quota_id, path[-1], settings.QUOTA_KIND.read_word(word))
    except Refused as refusal:
        raise Refused(f"{said_by}: {refusal}") from None
