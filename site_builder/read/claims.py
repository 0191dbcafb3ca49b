r"""
# Claims

What a paper says and how we hold it to that: the values under the keys `metrics`, `claims`,
`deviations`, `mistakes`, `worked`, `figure`, `equals` and `changes` of a
[front matter](front_matter.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from site_builder.read.values import number, one_of, record, text, wrong


@dataclass(frozen=True, slots=True)
class Metric:
    r"""
    ## A metric

    What a number that the runs record is called, its unit, and whether less of it is better or
    more. A number with the unit `%` is recorded as a share of one. With `scale: log` its curve is
    drawn on a logarithmic axis.
    """

    name: str
    unit: str = ""
    better: str = ""
    scale: str = ""


def metric_of(name: str, metrics: Mapping[str, Metric]) -> Metric:
    """What is not declared goes by the name under which it was recorded, as words."""
    return metrics.get(name) or Metric(name.rpartition("/")[2].replace("_", " "))


@dataclass(frozen=True, slots=True)
class Claim:
    r"""
    ## A claim

    `what` is said in `paper`, a section or a table. Our answer compares the `metric` of a `run`
    with that of a `control`, with another metric of the same run (`against`), or with a number
    (`than`). It has to be better by more than `margin`; or, where the claim is that the two are
    alike, they may differ by `within`. A `note` says why something is not run, or why it may be
    that the record does not bear it out; otherwise it is a remark.
    """

    what: str
    paper: str
    run: str = ""
    metric: str = ""
    control: str = ""
    against: str = ""
    than: float | None = None
    margin: float | None = None
    within: float | None = None
    note: str = ""

    def flaw(self, runs: Mapping[str, str], metrics: Mapping[str, Metric]) -> str:
        """What keeps the claim from being judged; empty if nothing does."""
        if not self.run:
            return self._unrun()
        for kind, name, known in (
            ("run", self.run, runs),
            ("control", self.control or self.run, runs),
            ("metric", self.metric, metrics),
            ("against", self.against or self.metric, metrics),
        ):
            if name not in known:
                return f"{kind}: there is no {name!r}; name one of {', '.join(known) or 'none'}"
        if [bool(self.control), bool(self.against), self.than is not None].count(True) != 1:
            return "compare with one thing: control, against (a metric), or than (a number)"
        if self.control == self.run or self.against == self.metric:
            return "nothing is a control of itself; name another"
        if (self.margin is None) == (self.within is None):
            return "say what counts: the least difference (margin), or the largest (within)"
        if min(self.margin or 0, self.within or 0) < 0 or self.within == 0:
            return "margin is 0 or more, and within more than 0"
        if self.within is None and not metrics[self.metric].better:
            return f"metrics: say of {self.metric} whether lower or higher is better"
        return ""

    def _unrun(self) -> str:
        given = self.metric, self.control, self.against, self.than, self.margin, self.within
        if any(value not in ("", None) for value in given):
            return "names no run; name the one that is compared"
        return "" if self.note else "name a run and its control, or say in a note why it is not run"


@dataclass(frozen=True, slots=True)
class Deviation:
    r"""
    ## A deviation

    Where our code departs from the paper, or libraries differ among themselves; whether that
    `matters`, and the `test` that measures it.
    """

    what: str
    paper: str
    ours: str
    matters: str
    others: str = ""
    test: str = ""


@dataclass(frozen=True, slots=True)
class Mistake:
    r"""
    ## A mistake

    One that people make. `mutant` names the change of code that makes it, `caught` the test that
    notices.
    """

    what: str
    mutant: str
    caught: str


@dataclass(frozen=True, slots=True)
class Worked:
    r"""
    ## Worked numbers

    A few lines of `code` with real numbers, beside what is defined as `at`, and what they tell.
    """

    at: str
    told: str
    code: str


@dataclass(frozen=True, slots=True)
class Drawing:
    r"""
    ## The figure

    A picture beside the abstract, for the eye and in words.
    """

    file: str
    alt: str
    caption: str


@dataclass(frozen=True, slots=True)
class Changes:
    r"""
    ## What changed

    The page that this one is a variation of, and the test that shows the two to be equal where all
    that is new is switched off.
    """

    from_: str
    proof: str = ""


@dataclass(frozen=True, slots=True)
class Equal:
    r"""
    ## What it equals

    The implementation of others that ours is equal to, and the `test` that shows it. `within` is
    the largest difference that it lets pass.
    """

    what: str
    within: float
    test: str


def _difference(value: Any) -> float:
    given = number(value)
    if given < 0:
        raise wrong("must be 0 or more")
    return given


METRIC = record(
    Metric, name=text, unit=text, better=one_of("lower", "higher"), scale=one_of("log", "linear")
)
CLAIM = record(
    Claim, what=text, paper=text, run=text, metric=text, control=text, against=text, than=number,
    margin=number, within=number, note=text,
)  # fmt: skip
DEVIATION = record(
    Deviation, what=text, paper=text, ours=text, matters=text, others=text, test=text
)
MISTAKE = record(Mistake, what=text, mutant=text, caught=text)
WORKED = record(Worked, at=text, told=text, code=text)
DRAWING = record(Drawing, file=text, alt=text, caption=text)
EQUAL = record(Equal, what=text, within=_difference, test=text)
CHANGES = record(Changes, **{"from": text, "proof": text})
