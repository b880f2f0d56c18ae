"""Metrics as text, by prometheus-client: OpenMetrics, or the older format, which node_exporter reads from files."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gflowd.core.errors import SystemFailed
from gflowd.core.metrics.catalogue import COUNTER, GAUGE, INFO
from gflowd.core.metrics.metric_values import Histogram
from gflowd.effects import installer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

    from gflowd.core.metrics.catalogue import Metric
    from gflowd.core.metrics.metric_values import Family

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN = "text/plain; version=0.0.4; charset=utf-8"
WANTED_BY = "application/openmetrics-text"  # what the header Accept has of whoever reads OpenMetrics


def text(families: Iterable[Family], what: str, *, plain: bool = False) -> bytes:
    """The families in OpenMetrics, or `plain` in the older format. Raises `SystemFailed` if the package is missing,
    which `what` needs.
    """
    try:
        from prometheus_client import exposition, metrics_core
        from prometheus_client.openmetrics import exposition as openmetrics
    except ImportError as error:
        raise SystemFailed(installer.extra("metrics", what)) from error  # noqa: S610 -- no Django
    written = exposition.generate_latest if plain else openmetrics.generate_latest
    result: bytes = written(_Collected(families, metrics_core))
    return result


def lacking(what: str) -> str | None:
    """Why there can be no text; None if there can."""
    importlib.invalidate_caches()  # it may have been installed since the last look
    try:
        text((), what)
    except SystemFailed as error:
        return str(error)
    return None


class _Collected:
    """What prometheus-client takes for a registry."""

    def __init__(self, families: Iterable[Family], core: ModuleType) -> None:
        self._families = families
        self._core = core

    def collect(self) -> Iterator[Any]:
        """Each family as the package has it."""
        for metric, samples in self._families:
            if metric.kind == INFO:
                made = self._core.InfoMetricFamily(metric.name, metric.about)
                for labels, _ in samples:
                    made.add_metric((), dict(zip(metric.labels, labels, strict=True)))
            else:
                made = self._kind(metric)(metric.name, metric.about, labels=metric.labels, unit=metric.unit)
                for labels, value in samples:
                    made.add_metric(labels, *_words(value))
            yield made

    def _kind(self, metric: Metric) -> Any:
        if metric.kind == COUNTER:
            return self._core.CounterMetricFamily
        return self._core.GaugeMetricFamily if metric.kind == GAUGE else self._core.HistogramMetricFamily


def _words(value: float | Histogram) -> tuple[Any, ...]:
    if not isinstance(value, Histogram):
        return (value,)
    bounds = [*(repr(float(bound)) for bound in value.bounds), "+Inf"]
    return list(zip(bounds, value.counts, strict=True)), value.total
