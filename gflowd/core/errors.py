"""What may go wrong, with the exit status that each carries. One place per program catches and prints these."""


class GflowError(Exception):
    """The base: `str()` is the one line that the user reads, `status` the exit status of the program."""

    status = 3


class Refused(GflowError):
    """The request makes no sense or cannot be met; nothing was changed."""

    status = 1


class BadUsage(GflowError):
    """The command line itself is wrong."""

    status = 2


class SystemFailed(GflowError):
    """The machine failed us: disk full, snapshot unreadable, no tmux."""

    status = 3


class TryAgain(GflowError):
    """Something stayed busy past its deadline; the same request may succeed later (EX_TEMPFAIL of sysexits.h)."""

    status = 75
