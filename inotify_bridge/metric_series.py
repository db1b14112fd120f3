"""
The values behind the metrics, and their way into the exposition. Knows no metric by name.

They stand here, and prometheus_client's interface for custom collectors exposes them: so a histogram takes a
whole batch at once, the series of a removed group go away, and no setting of the hosting process (such as
``disable_created_metrics``) is touched.
"""

from __future__ import annotations

import itertools
import math
import operator
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

PREFIX = "inotify_bridge_"

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]


class Metric(NamedTuple):
    """
    One line of the catalogue.

    Args:
        kind: of metric.
        scope: the labels whose values come from the configuration.
        name: without prefix and without ``_total``.
        help: the HELP line.
        labels: further labels with all their values.
        buckets: upper bounds in seconds, for histograms.
    """

    kind: Kind
    scope: tuple[str, ...]
    name: str
    help: str
    labels: Mapping[str, tuple[str, ...]] = {}
    buckets: tuple[float, ...] = ()

    @property
    def exposed_name(self) -> str:
        """As it is scraped."""
        return f"{PREFIX}{self.name}{'_total' if self.kind == 'counter' else ''}"

    @property
    def label_names(self) -> tuple[str, ...]:
        """All labels, in the order of the keys of a family."""
        return (*self.scope, *self.labels)


class Value:
    """The value of one counter or gauge. Any thread may write it."""

    __slots__ = ("_lock", "_source", "_value")

    def __init__(self) -> None:
        self._value = 0.0
        self._source: Callable[[], float] | None = None
        self._lock = threading.Lock()

    def add(self, amount: float) -> None:
        """Add to it."""
        with self._lock:
            self._value += amount

    def set(self, value: float) -> None:
        """Replace it."""
        self._value = value

    def follow(self, source: Callable[[], float]) -> None:
        """Ask `source` at every scrape, on the thread of the scrape. It may raise OSError or ValueError."""
        self._source = source

    def read(self) -> float:
        """The value now; NaN where its source cannot say, so that one closed descriptor fails no scrape."""
        if self._source is None:
            return self._value
        try:
            return float(self._source())
        except (OSError, ValueError):
            return math.nan


class Histogram:
    """Counts in buckets, filled a batch at a time. Any thread may write it."""

    __slots__ = ("_bounds", "_lock", "_state")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._lock = threading.Lock()
        # Cumulative counts, the last one +Inf, and the sum: replaced as a whole, so a scrape sees one state.
        self._state: tuple[list[int], float] = ([0] * (len(bounds) + 1), 0.0)

    def observe(self, values: Iterable[float]) -> None:
        """Add the values, in seconds. A negative one (the clock was set back) counts as 0: sums only grow."""
        ordered = sorted(values)
        if ordered and ordered[0] < 0:
            ordered = [max(0.0, value) for value in ordered]
        added = [bisect_right(ordered, bound) for bound in self._bounds]
        added.append(len(ordered))
        with self._lock:
            counts, total = self._state
            self._state = (list(map(operator.add, counts, added)), total + sum(ordered))

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """(upper bound, cumulative count) for each bucket, and the sum."""
        counts, total = self._state
        bounds = [*map(repr, self._bounds), "+Inf"]
        return list(zip(bounds, map(float, counts), strict=True)), total


Labels: TypeAlias = tuple[str, ...]
Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class Series:
    """
    All series of a catalogue for one configuration: name, then label values (scope first), to value.

    Args:
        catalogue: the metrics; there are no series before `configured`.
    """

    def __init__(self, catalogue: Sequence[Metric]) -> None:
        self._catalogue = catalogue
        self.values: dict[str, dict[Labels, Value]] = {m.name: {} for m in catalogue if m.kind != "histogram"}
        self.histograms: dict[str, dict[Labels, Histogram]] = {m.name: {} for m in catalogue if m.buckets}

    def configured(self, scopes: Mapping[Labels, Sequence[Labels]]) -> Series:
        """The series for the given label values of each scope; those that are here already are kept."""
        new = Series(self._catalogue)
        for metric in self._catalogue:
            keys = [
                (*owner, *rest)
                for owner in scopes[metric.scope]
                for rest in itertools.product(*metric.labels.values())
            ]
            if metric.kind == "histogram":
                old = self.histograms[metric.name]
                new.histograms[metric.name] = {key: old.get(key) or Histogram(metric.buckets) for key in keys}
            else:
                known = self.values[metric.name]
                new.values[metric.name] = {key: known.get(key) or Value() for key in keys}
        return new

    def by_label(self, name: str, owner: Labels) -> dict[str, Value]:
        """The values of a metric with one enumerated label, by that label."""
        return {key[-1]: value for key, value in self.values[name].items() if key[:-1] == owner}

    def families(self) -> Iterator[Family]:
        """Every metric with all its series, for the exposition."""
        return map(self._family, self._catalogue)

    def _family(self, metric: Metric) -> Family:
        name, labels = PREFIX + metric.name, metric.label_names
        if metric.kind == "histogram":
            histogram = HistogramMetricFamily(name, metric.help, labels=labels)
            for key, series in self.histograms[metric.name].items():
                buckets, total = series.read()
                histogram.add_metric(key, buckets, total)
            return histogram
        plain = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family = plain(name, metric.help, labels=labels)
        for key, value in self.values[metric.name].items():
            family.add_metric(key, value.read())
        return family
