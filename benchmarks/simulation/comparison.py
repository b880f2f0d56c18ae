"""Policies compared over several traces: ratios of their figures to those of one of them, as geometric means. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, geometric_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from simulation.figures import Figures

BASELINE = "gflow_rs"
LEAST = 1.0  # seconds: a shorter mean wait counts as this, so that there is a ratio


@dataclass(frozen=True, slots=True)
class Result:
    """What one policy made of one trace, at a load (None: as it came) and with a part of the jobs without limits."""

    trace: str
    load: float | None
    no_limit: float
    policy: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Summary:
    """A policy against `BASELINE` over several traces. Of waits, slowdown and spread of users' slowdowns the geometric
    means of the ratios, None where no trace has such a job; of utilisation the difference in points of a hundred, as
    mean and at worst. `jain` is the mean itself; promises and estimates that were broken are parts of those made.
    """

    load: float | None
    no_limit: float
    policy: str
    traces: tuple[str, ...]
    mean_wait: float | None
    p95_wait: float | None
    longest_wait: float | None
    slowdown: float | None
    by_width: Mapping[str, float | None]
    wide_wait: float | None
    utilisation: float
    worst_utilisation: float
    jain: float
    spread: float | None
    promises_broken: float | None
    estimates_broken: float | None


def summaries(results: Sequence[Result]) -> Iterator[Summary]:
    """One of each policy at each load and share of jobs without limits; none without the baseline."""
    bases = {(each.trace, each.load, each.no_limit): each.figures for each in results if each.policy == BASELINE}
    kinds = dict.fromkeys((each.load, each.no_limit, each.policy) for each in results)
    for load, no_limit, policy in kinds:
        found = [
            each
            for each in results
            if (each.load, each.no_limit, each.policy) == (load, no_limit, policy)
            and (each.trace, load, no_limit) in bases
        ]
        if found:
            yield _summary(found, [bases[each.trace, load, no_limit] for each in found])


def _summary(results: Sequence[Result], bases: Sequence[Figures]) -> Summary:
    found = [each.figures for each in results]
    pairs = list(zip(found, bases, strict=True))

    def ratio(figure: Callable[[Figures], float | None], least: float = LEAST) -> float | None:
        both = [(figure(ours), figure(base)) for ours, base in pairs]
        ratios = [max(ours, least) / max(base, least) for ours, base in both if ours is not None and base is not None]
        return geometric_mean(ratios) if ratios else None

    points = [100 * (ours.utilisation - base.utilisation) for ours, base in pairs]
    return Summary(
        load=results[0].load,
        no_limit=results[0].no_limit,
        policy=results[0].policy,
        traces=tuple(each.trace for each in results),
        mean_wait=ratio(lambda each: each.mean_wait),
        p95_wait=ratio(lambda each: each.p95_wait),
        longest_wait=ratio(lambda each: each.longest_wait),
        slowdown=ratio(lambda each: each.slowdown),
        by_width={name: ratio(lambda each, name=name: each.by_width[name]) for name in found[0].by_width},  # type: ignore[misc]
        wide_wait=ratio(lambda each: each.wide_wait),
        utilisation=fmean(points),
        worst_utilisation=min(points),
        jain=fmean(each.jain for each in found),
        spread=ratio(lambda each: each.spread or None, 0.0),
        promises_broken=_part(sum(each.promises.broken for each in found), sum(each.promises.made for each in found)),
        estimates_broken=_part(
            sum(each.estimates.broken for each in found), sum(each.estimates.made for each in found)
        ),
    )


def _part(some: int, of_all: int) -> float | None:
    return some / of_all if of_all else None
