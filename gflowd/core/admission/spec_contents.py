"""What a spec says in words: patterns, rules, addresses, directories. gflowctl makes them right, others may not."""

from __future__ import annotations

import re

from gflowd.core.errors import Refused
from gflowd.core.request import validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gflowd.core.admission.policy import Policy
    from gflowd.core.job.model import Spec

NO_DEPENDENCIES = "--repeat cannot be combined with dependencies: each run waits for the one before"
NO_DEADLINE = "--repeat cannot be combined with --deadline, which is one moment; --time limits each run"
MOST_CHANGED = 1000  # ranges of elements of a sweep: each is looked at for each element
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PLACES = ("cwd", "submit_dir", "output", "error", "input")


def check(spec: Spec, changed: Iterable[str] | None = None) -> None:
    """Raises `Refused` for the first of these fields that is wrong; `changed`: those that are new, None for all."""
    fields = None if changed is None else {*changed}
    for name in PLACES:
        place = getattr(spec, name)
        if place is not None and (fields is None or name in fields) and not place.startswith("/"):
            raise Refused(f"{name} {place!r} is not an absolute path")
    for fitting, rule in _RULES:
        if fields is None or not fields.isdisjoint(fitting):
            rule(spec)


def check_urls(policy: Policy, urls: Sequence[str]) -> None:
    """Raises `Refused` for URLs to be told of a job where only mail is sent: it is root that would call them."""
    if urls and not policy.notify_urls:
        raise Refused("no URLs are called for jobs here, only mail is sent (notify_urls in [shared])")


def _check_patterns(spec: Spec) -> None:
    for pattern in (spec.output, spec.error):
        if pattern is not None:
            from gflowd.core.syntax import filename_patterns

            filename_patterns.check(pattern)


def _check_words(spec: Spec) -> None:
    env = spec.conda_env
    if env is not None and (not env.strip() or env.startswith("-") or not env.isprintable()):
        raise Refused(f"{env!r} cannot be the name of an environment")
    wrong = next((text for text in spec.asked if "=" not in text), None)
    if wrong is not None:
        raise Refused(f"{wrong!r} is not NAME=VALUE")


def _check_parameters(spec: Spec) -> None:
    """Their names are parts of those of variables."""
    if spec.family is not None and sum(len(each.positions) for each in spec.family.overrides) > MOST_CHANGED:
        raise Refused(f"more than {MOST_CHANGED} parameters of a sweep were changed; submit another one")
    names = () if spec.family is None else (name for axis in spec.family.axes for name in axis.names)
    wrong = next((name for name in names if not IDENTIFIER.fullmatch(name)), None)
    if wrong is not None:
        raise Refused(f"{wrong!r} cannot be a parameter's name")


def _check_notification(spec: Spec) -> None:
    if not (spec.notify or spec.notify_email or spec.notify_on):
        return
    from gflowd.core.notify import event_names
    from gflowd.core.syntax import addresses

    for each in spec.notify:
        addresses.url(each)
    if spec.notify_email is not None:
        addresses.addresses(spec.notify_email)
    if spec.notify_on and event_names.parse(spec.notify_on, event_names.FOR_A_JOB) != spec.notify_on:
        raise Refused(f"{','.join(spec.notify_on)!r} are not events as they are kept")


def _check_repeat(spec: Spec) -> None:
    if spec.repeat is None:
        return
    from gflowd.core.syntax import instants, recurrence

    if recurrence.checked(spec.repeat.rule) != spec.repeat.rule:
        raise Refused(f"{spec.repeat.rule!r} is not a rule as it is kept")
    instants.zone(spec.repeat.zone)


_RULES: tuple[tuple[tuple[str, ...], Callable[[Spec], None]], ...] = (
    (("output", "error"), _check_patterns),
    (("conda_env", "asked"), _check_words),
    (("family", "overrides"), _check_parameters),
    (("notify", "notify_email", "notify_on"), _check_notification),
    (("repeat",), _check_repeat),
)


def settled(spec: Spec, limits: validation.Limits) -> Spec:
    """`spec` as gflowctl would have made it of the same request. Raises `Refused` for one that it would refuse."""
    made = validation.checked(validation.with_gpus(spec, said=True), limits)
    validation.check_size(made.command, ())
    if made.family is not None:
        from gflowd.core.request import element_checks

        element_checks.check(made, limits)
    return made


def check_series(spec: Spec) -> None:
    """Raises `Refused` for a new job that cannot be the first run of a series."""
    if spec.repeat is None:
        return
    if spec.repeat.series is not None:
        raise Refused("a new job begins a series of its own")
    if spec.needs is not None:
        raise Refused(NO_DEPENDENCIES)
    if spec.deadline is not None:
        raise Refused(NO_DEADLINE)
