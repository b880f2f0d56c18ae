"""gflow for programs: `from gflowctl.api import Queue`. What `__all__` names is public and stays; nothing else is."""

from gflowctl.api.arguments import JobName, Jobs
from gflowctl.api.events import Events
from gflowctl.api.options import Options
from gflowctl.api.queue import Queue
from gflowctl.api.submission import Prepared
from gflowctl.api.values import (
    Attempt,
    Changes,
    Dependency,
    Drain,
    EarlySignal,
    Event,
    Git,
    Gpu,
    Group,
    Job,
    LogPiece,
    Machine,
    Process,
    Repeat,
    Reservation,
    StateSummary,
    Statistics,
    Submission,
    Tasks,
    Used,
    Window,
)
from gflowd.core.errors import BadUsage, GflowError, Refused, SystemFailed, TryAgain

__all__ = (
    "Attempt",
    "BadUsage",
    "Changes",
    "Dependency",
    "Drain",
    "EarlySignal",
    "Event",
    "Events",
    "GflowError",
    "Git",
    "Gpu",
    "Group",
    "Job",
    "JobName",
    "Jobs",
    "LogPiece",
    "Machine",
    "Options",
    "Prepared",
    "Process",
    "Queue",
    "Refused",
    "Repeat",
    "Reservation",
    "StateSummary",
    "Statistics",
    "Submission",
    "SystemFailed",
    "Tasks",
    "TryAgain",
    "Used",
    "Window",
)
