"""The table of all settings: their place in `gflow.toml`, type and default. Reads nothing itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gflowd.config import cluster_tables, notification_tables, value_types
from gflowd.core.accounting.quotas import FIELDS
from gflowd.core.notify import targets

if TYPE_CHECKING:
    from gflowd.config.value_types import ValueType

    Path = tuple[str, ...]

DAY = 86400.0


@dataclass(frozen=True)
class Setting:
    """One row: `attribute` is its name in `Config`, `written` its default as TOML writes it."""

    section: str
    key: str
    attribute: str
    kind: ValueType
    default: Any
    written: str
    about: str
    is_secret: bool = False  # its value is not to be shown

    @property
    def path(self) -> Path:
        """Its tables and its key, from the top of the file."""
        return (*self.section.split("."), self.key) if self.section else (self.key,)

    @property
    def name(self) -> str:
        """The name in messages and options: `gpu.poll_interval`."""
        return ".".join(self.path)


# fmt: off
SETTINGS = (
    Setting("", "timezone", "timezone", value_types.time_zone(unset="system"), None, '"system"',
            "The time zone in which times are read and shown and reservations repeat, e.g. Europe/Berlin."),
    Setting("daemon", "log_level", "log_level", value_types.choice("debug", "info", "warning", "error"),
            "info", '"info"',
            "How much the daemon logs: debug, info, warning or error."),
    Setting("daemon", "start_grace", "start_grace", value_types.duration(), 30.0, "30",
            "How long a job's session may take to appear; after that the job counts as a zombie."),
    Setting("daemon", "zombie_interval", "zombie_interval", value_types.duration(least=0.1), 10.0, "10",
            "How often running jobs are checked, in addition to being watched constantly."),
    Setting("daemon", "kill_strays", "kill_strays", value_types.flag(), True, "true",
            "End the processes that a job leaves behind when its command has ended."),
    Setting("executor", "type", "executor", value_types.choice("tmux", "process", unset="auto"), None, '"auto"',
            "tmux or process; auto uses tmux if installed."),
    Setting("executor", "grace", "grace", value_types.duration(unset="auto"), None, '"auto"',
            "The time between the first signal to end a job and SIGKILL; auto: 10, for scripts written for Slurm 30."),
    Setting("executor", "tmp", "tmp", value_types.directory(), "/tmp", '"/tmp"',  # noqa: S108 -- private ones are made in it
            "Where each job gets a private directory for temporary files (TMPDIR). A daemon for all users makes them "
            "beside the directories of jobs, unless this names a directory that only root may write to."),
    Setting("gpu", "allow", "gpu_allow", value_types.gpu_list(unset="all"), None, '"all"',
            'The GPUs that jobs may use: all, a list, e.g. [0, 2], or text, e.g. "0-3".'),
    Setting("gpu", "allocation", "gpu_allocation", value_types.choice("sequential", "random", "topology"), "sequential",
            '"sequential"', "Which of the free GPUs a job gets: sequential, random or topology."),
    Setting("gpu", "visible_as", "gpu_visible_as", value_types.choice("index", "uuid", unset="auto"), None, '"auto"',
            "What CUDA_VISIBLE_DEVICES holds: index, uuid, or auto: uuid only while CUDA numbers GPUs differently."),
    Setting("gpu", "trust_claims_of", "gpu_trust_claims_of", value_types.users(), (), "[]",
            "The users whose gflow daemons may claim GPUs, beside root and you."),
    Setting("gpu", "poll_interval", "poll_interval", value_types.duration(least=1), 10.0, "10",
            "How often the GPUs are polled; at least 1."),
    Setting("gpu", "simulate", "simulate", value_types.simulated(unset="none"), None, '"none"',
            'Simulated GPUs instead of real ones, e.g. "4x24G".'),
    Setting("gpu", "idle_warn", "idle_warn", value_types.duration(unset="off"), None, '"off"',
            "Mark a job that leaves all its GPUs idle for this long."),
    Setting("gpu", "idle_cancel", "idle_cancel", value_types.duration(unset="off"), None, '"off"',
            "Cancel a job that leaves all its GPUs idle for this long."),
    Setting("scheduler", "cpus", "cpus", value_types.whole(least=1, unset="all"), None, '"all"',
            "CPU slots for jobs; all is every CPU that gflowd may use."),
    Setting("scheduler", "memory", "memory_mb", value_types.size(unset="all"), None, '"all"',
            'Host memory for jobs, e.g. "64G"; all is the installed memory.'),
    Setting("scheduler", "backfill_depth", "backfill_depth", value_types.whole(least=1), 1000, "1000",
            "Planning stops after this many different requests that cannot be met; also the number of queued jobs for "
            "which gflowctl knows the reason and the place in line."),
    Setting("scheduler", "promise_after", "promise_after", value_types.number(least=0), 1.0, "1",
            "The first job of a priority is promised a start after waiting this many times as long as it will run."),
    Setting("scheduler", "promise_within", "promise_within", value_types.duration(), 3 * DAY, '"3d"',
            "After waiting this long it is promised a start, however long it will run."),
    Setting("scheduler", "default_time_limit", "default_time_limit", value_types.duration(least=1, unset="none"), None,
            '"none"', "How long a job without a limit is expected to run if no job has run yet; not enforced."),
    Setting("scheduler.fair_share", "enabled", "fair_share_enabled", value_types.flag(), True, "true",
            "Within a priority, start jobs of users with less recent GPU time first."),
    Setting("scheduler.fair_share", "half_life", "fair_share_half_life", value_types.duration(least=1), 7 * DAY, '"7d"',
            "The time after which past usage counts half."),
    Setting("scheduler.fair_share", "cpu_weight", "fair_share_cpu_weight", value_types.number(least=0), 0.05, "0.05",
            "How many GPUs a job without GPUs counts as."),
    Setting("projects", "known_projects", "known_projects", value_types.projects(), (), "[]",
            "The project codes that submissions may use; empty means any."),
    Setting("projects", "require_project", "require_project", value_types.flag(), False, "false",
            "Refuse a submission without a project."),
    Setting("store", "lock_timeout", "lock_timeout", value_types.duration(least=0.1), 10.0, "10",
            "Give up after waiting this long for the snapshot's lock (exit status 75)."),
    Setting("history", "after", "history_after", value_types.duration(), DAY, '"1d"',
            "How long an ended job stays in the queue's snapshot before it moves to the history."),
    Setting("history", "keep", "history_keep", value_types.duration(unset="forever"), None, '"forever"',
            "How long the history is kept."),
    Setting("events", "keep", "events_keep", value_types.bytes_size(least=1 << 16), 1 << 24, '"16M"',
            "How much of the journal of events is kept: at least this much, at most twice that."),
    Setting("logs", "max_size", "log_max_size", value_types.bytes_size(least=1024), 1 << 30, '"1G"',
            "The largest size of a job's log; a larger log loses its middle."),
    Setting("logs", "keep", "log_keep", value_types.duration(unset="forever"), 30 * DAY, '"30d"',
            "How long the directory of an ended job is kept."),
    Setting("metrics", "textfile", "metrics_textfile", value_types.file(unset="off"), None, '"off"',
            "The file that metrics are written to for node_exporter, e.g. /var/lib/node_exporter/gflow.prom."),
    Setting("metrics", "listen", "metrics_listen", value_types.local_address(unset="off"), None, '"off"',
            "Where metrics can be asked for: a loopback address, e.g. 127.0.0.1:9421, or the path of a Unix socket."),
    Setting("metrics", "names", "metrics_names", value_types.choice("none", "users", "jobs"), "none", '"none"',
            "Whose names metrics may have: none, users (and projects), or jobs (and users and projects)."),
    Setting("notifications", "enabled", "notify_enabled", value_types.flag(unset="auto"), None, '"auto"',
            "Send notifications: true, false, or auto: where a table below or a job asks for them."),
    Setting("notifications", "max_concurrent_deliveries", "notify_concurrency", value_types.whole(least=1), 8, "8",
            "How many receivers are served at a time."),
    Setting("notifications", "give_up_after", "notify_give_up", value_types.duration(least=1), 3 * DAY, '"3d"',
            "How long a notification that cannot be delivered is tried again."),
    Setting("notifications", "webhooks", "notify_webhooks", notification_tables.webhooks(), (), "[]",
            "URLs that events are sent to, as tables [[notifications.webhooks]] with url; see gflow.toml(5).",
            is_secret=True),
    Setting("notifications", "emails", "notify_emails", notification_tables.emails(), (), "[]",
            "Addresses that get mail, as tables [[notifications.emails]] with to.", is_secret=True),
    Setting("notifications", "commands", "notify_commands", notification_tables.commands(), (), "[]",
            "Programs that are run for events, as tables [[notifications.commands]] with command.", is_secret=True),
    Setting("notifications", "services", "notify_services", notification_tables.services(), (), "[]",
            "URLs of chats and the like that apprise knows, as tables [[notifications.services]].", is_secret=True),
    Setting("notifications.mail", "sendmail", "mail_sendmail", value_types.file(unset="auto"), None, '"auto"',
            "The program that sends mail, if host is none; auto: /usr/sbin/sendmail or /usr/lib/sendmail."),
    Setting("notifications.mail", "host", "mail_host", notification_tables.text("the name of a server", unset="none"),
            None, '"none"', "The mail server that takes mail by SMTP, instead of sendmail."),
    Setting("notifications.mail", "port", "mail_port", value_types.whole(least=1, unset="auto"), None, '"auto"',
            "Its port; auto: 587, with tls 465, without either 25."),
    Setting("notifications.mail", "security", "mail_security", value_types.choice(*targets.SECURITY), targets.STARTTLS,
            '"starttls"', "How the connection is kept private: starttls, tls or none."),
    Setting("notifications.mail", "user", "mail_user", notification_tables.text("a user name", unset="none"), None,
            '"none"', "The user name for the mail server."),
    Setting("notifications.mail", "password_file", "mail_password_file", value_types.file(unset="none"), None,
            '"none"', "The file whose first line is the password for it."),
    Setting("notifications.mail", "password_env", "mail_password_env",
            notification_tables.text("the name of a variable", unset="none"), None, '"none"',
            "The variable of gflowd's environment that holds the password."),
    Setting("notifications.mail", "from", "mail_from", notification_tables.address(unset="auto"), None, '"auto"',
            "The address that mail is from; auto: this user on this machine."),
    Setting("notifications.mail", "timeout", "mail_timeout", value_types.duration(least=1), targets.TIMEOUT, "30",
            "How long the delivery of one mail may take."),
    Setting("shared", "users", "shared_users", value_types.people(unset="all"), None, '"all"',
            'Who may submit jobs: all, or users and groups, e.g. ["ada", "@students"].'),
    Setting("shared", "operators", "shared_operators", value_types.people(), ("@gflow-admin",), '"@gflow-admin"',
            "The users and groups, beside root, that may change everyone's jobs, drain, set quotas and reserve GPUs."),
    Setting("shared", "gateway", "shared_gateway", value_types.choice("service", "worker"), "service", '"service"',
            "What takes the requests of users: service, gflow-gateway.socket of systemd; worker, a process of gflowd."),
    Setting("shared", "launcher", "shared_launcher", value_types.choice("systemd", "own"), "systemd", '"systemd"',
            "What starts jobs as their users: systemd, or own, gflowd's own program where systemd does not run."),
    Setting("shared", "pam_service", "shared_pam_service", value_types.name_of_file(), "gflow", '"gflow"',
            "The file of /etc/pam.d by which the account of a job's user is checked and its session opened; where "
            "systemd starts jobs, this session is closed as soon as a job has begun."),
    Setting("shared", "no_new_privs", "shared_no_new_privs", value_types.flag(), False, "false",
            "Keep jobs from gaining privileges by programs such as sudo and ping, and from setuid container runtimes."),
    Setting("shared", "enforce_gpus", "shared_enforce_gpus", value_types.choice("off", "jobs", "everyone"), "jobs",
            '"jobs"', "Who cannot open GPUs that are not theirs: off, nobody; jobs; everyone, logins too."),
    Setting("shared", "private_jobs", "shared_private_jobs", value_types.flag(), False, "false",
            "Hide commands, parameters, directories, comments and files of jobs from other users, except operators."),
    Setting("shared", "top_priority", "shared_top_priority", value_types.whole(least=10), 10, "10",
            "The highest priority that a user may give a job, at least the usual 10; operators may give any."),
    Setting("shared", "reserve", "shared_reserve", value_types.choice("operators", "everyone"), "operators",
            '"operators"', "Who may reserve GPUs: operators or everyone. Users who are no operators reserve for "
            "themselves, at most 20 times, and for the next 90 days."),
    Setting("shared", "max_jobs_per_user", "shared_max_jobs_per_user", value_types.whole(least=1), 10000, "10000",
            "How many queued jobs each user may have, every element of an array counted. However many these are, the "
            "jobs of one user who is no operator take 32 MiB of the snapshot at most."),
    Setting("shared", "max_running_per_user", "shared_max_running_per_user", value_types.whole(least=1), 256, "256",
            "How many jobs of each user may run or be suspended at once, whatever they need, where no quota says "
            "another max_running_jobs: each takes some memory and processes of gflow's own."),
    Setting("shared", "max_script", "shared_max_script", value_types.bytes_size(least=1024), 4 << 20, '"4M"',
            "The largest script of a job."),
    Setting("shared", "max_kept_per_user", "shared_max_kept_per_user", value_types.bytes_size(least=1 << 20),
            256 << 20, '"256M"', "How much the environments and scripts of each user's jobs may take on disk."),
    Setting("shared", "allow_root", "shared_allow_root", value_types.flag(), False, "false",
            "Accept jobs of root."),
    Setting("shared", "least_uid", "shared_least_uid", value_types.whole(least=0), 1000, "1000",
            "The least user id that may submit, root's apart: accounts of services are below."),
    Setting("shared", "notify_urls", "shared_notify_urls", value_types.flag(), False, "false",
            "Let gflowd, which is root, call the URLs that users name by --notify; mail is sent in any case."),
    Setting("shared", "max_connections", "shared_max_connections", value_types.whole(least=1), 256, "256",
            "How many requests the gateway reads at a time."),
    Setting("shared", "max_connections_per_user", "shared_max_connections_per_user", value_types.whole(least=1), 16,
            "16", "How many of them may be of one user."),
)
# fmt: on

OF_THE_SYSTEM = "shared"  # the section that only the configuration of the daemon for many users may have
BY_PATH = {setting.path: setting for setting in SETTINGS}
BY_NAME = {setting.name: setting for setting in SETTINGS}

# The Rust original's names for the same settings; its file is in the same place.
ALIASES: dict[Path, Path] = {
    ("daemon", "gpus"): ("gpu", "allow"),
    ("daemon", "gpu_allocation_strategy"): ("gpu", "allocation"),
    ("daemon", "gpu_poll_interval_secs"): ("gpu", "poll_interval"),
    ("daemon", "fair_share", "enabled"): ("scheduler", "fair_share", "enabled"),
    ("daemon", "fair_share", "half_life_secs"): ("scheduler", "fair_share", "half_life"),
}
WITHOUT_EFFECT: tuple[Path, ...] = (("daemon", "host"), ("daemon", "port"), ("host",), ("port",))

QUOTA_DEFAULTS: tuple[Path, ...] = (("quota", "default_user"), ("quota", "default_project"))
QUOTA_TABLES: tuple[Path, ...] = (("quota", "users"), ("quota", "projects"))
QUOTA_KEYS = FIELDS
QUOTA_KIND = value_types.whole(least=0, unset="none")

SECTIONS: frozenset[Path] = frozenset(
    path[:length]
    for path in (
        *BY_PATH, *ALIASES, *((*table, "") for table in (*QUOTA_DEFAULTS, *QUOTA_TABLES)), (cluster_tables.SECTION, ""),
    )
    for length in range(1, len(path))
)  # fmt: skip


def is_section(path: Path) -> bool:
    """Whether `path` is a table of the file, `[quota.users.alice]` and `[cluster.hpc]` included."""
    return path in SECTIONS or (len(path) == 3 and path[:2] in QUOTA_TABLES) or is_cluster(path)


def is_cluster(path: Path) -> bool:
    """Whether `path` is the table of a cluster."""
    return len(path) == 2 and path[0] == cluster_tables.SECTION


def quota_of(path: Path) -> str | None:
    """The id of the quota that `path` sets a field of: `user:alice`, `default-user`; None if it is not such a path."""
    table = path[:2]
    if path[-1] not in QUOTA_KEYS:
        return None
    if path[:-1] in QUOTA_DEFAULTS:
        return table[1].replace("_", "-")
    return f"{table[1][:-1]}:{path[2].strip()}" if len(path) == 4 and table in QUOTA_TABLES else None
