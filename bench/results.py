"""
What was measured, and what it is held against.

Sans-I/O: samples in, ratios and verdicts out. Proxies are compared within each round, since a
machine's speed changes from one minute to the next; the median of these ratios is what counts.
"""

from __future__ import annotations

from statistics import median

from attrs import field, frozen

SUBJECT = "powerstrip"
"""The proxy whose figures are held against the others'."""


@frozen
class Spread:
    """
    The values that one thing had in all rounds.
    """

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def lowest(self) -> float:
        return min(self.values)

    @property
    def highest(self) -> float:
        return max(self.values)


@frozen
class Target:
    """
    A bound on a figure, or on its ratio to another candidate's.
    """

    bound: float
    at_least: bool
    against: str | None = None
    """The other candidate, or None where the figure itself is bounded."""

    def is_met(self, value: float) -> bool:
        """
        Whether a value is within the bound.
        """
        return value >= self.bound if self.at_least else value <= self.bound

    def margin(self, value: float) -> float:
        """
        How far a value is within the bound: 1 is just within, 2 is twice as good.
        """
        better, worse = (value, self.bound) if self.at_least else (self.bound, value)
        return better / worse if worse > 0 else float("inf")


def at_least(bound: float, against: str | None = None) -> Target:
    return Target(bound, at_least=True, against=against)


def at_most(bound: float, against: str | None = None) -> Target:
    return Target(bound, at_least=False, against=against)


@frozen
class Row:
    """
    One figure, as the table shows it.
    """

    figure: str
    """Which of the figures that a measure gives."""

    title: str
    unit: str
    targets: tuple[Target, ...] = ()
    compared: bool = True
    """Whether its ratio to another candidate's says anything."""


Figures = dict[str, float]
"""What one run of a measure gives, such as ``{"p50": 51.3, "p99": 80.2}``."""


@frozen
class Results:
    """
    The figures of all rounds, by measure and candidate.
    """

    samples: dict[str, dict[str, list[Figures | None]]] = field(factory=dict)
    """One for each round; None for one that failed, so that the others stay side by side."""

    def add(self, measure: str, candidate: str, figures: Figures | None) -> None:
        """
        Take what one candidate has shown in one round.
        """
        self.samples.setdefault(measure, {}).setdefault(candidate, []).append(figures)

    def spread(self, measure: str, candidate: str, figure: str) -> Spread | None:
        """
        A candidate's values of a figure, or None where it has none.
        """
        rounds = self.samples.get(measure, {}).get(candidate, [])
        return _spread([figures[figure] for figures in rounds if figures and figure in figures])

    def ratio(self, measure: str, against: str, figure: str) -> Spread | None:
        """
        The subject's values by another candidate's of the same round.
        """
        rounds = self.samples.get(measure, {})
        pairs = zip(rounds.get(SUBJECT, []), rounds.get(against, []), strict=False)
        return _spread(
            [
                own[figure] / other[figure]
                for own, other in pairs
                if own and other and other.get(figure) and figure in own
            ]
        )

    def held_against(self, measure: str, figure: str, target: Target) -> Spread | None:
        """
        What a target bounds.
        """
        if target.against is None:
            return self.spread(measure, SUBJECT, figure)
        return self.ratio(measure, target.against, figure)

    @property
    def failures(self) -> int:
        """
        How often a measure failed.
        """
        return sum(
            figures is None
            for candidates in self.samples.values()
            for rounds in candidates.values()
            for figures in rounds
        )


def _spread(values: list[float]) -> Spread | None:
    return Spread(tuple(values)) if values else None
