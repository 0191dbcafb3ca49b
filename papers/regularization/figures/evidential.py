"""Three Dirichlet distributions over three classes, and what `opinion` says of each."""

from __future__ import annotations

import torch
from torch.distributions import Dirichlet

from papers.regularization.evidential import opinion
from papers.tools.drawing.sheet import Point, Sheet, path

EVIDENCE = ((0.0, 0.0, 0.0), (2.0, 2.0, 2.0), (12.0, 2.0, 1.0))
# Rows of dots in a triangle, and the density that is drawn in full.
ROWS, FULL = 11, 12.0
SIDE, TOP, APART = 104.0, 44.0, 119.0


def corners(at: float) -> tuple[Point, Point, Point]:
    """Where all probability is in one class."""
    low = TOP + SIDE * 0.866
    return (at, TOP), (at - SIDE / 2, low), (at + SIDE / 2, low)


def triangle(sheet: Sheet, at: float, alpha: torch.Tensor) -> None:
    ends = corners(at)
    with sheet.group("idea"):
        for i in range(ROWS):
            for j in range(ROWS - i):
                shares = (i + 1 / 3, j + 1 / 3, ROWS - 1 - i - j + 1 / 3)
                p = torch.tensor(shares) / sum(shares)
                density = Dirichlet(alpha).log_prob(p).exp().item()
                x, y = (sum(float(s) * end[axis] for s, end in zip(p, ends, strict=True))
                        for axis in (0, 1))  # fmt: skip
                dark = min(1.0, density / FULL) ** 0.5
                sheet.add("circle", class_="cell", fill_opacity=dark, cx=x, cy=y, r=4.2)
    with sheet.group("wire"):
        (x, y), left, right = ends
        sheet.add("path", class_="line", d=path("M", x, y, "L", *left, "L", *right, "Z"))


def bars(sheet: Sheet, at: float, p: torch.Tensor) -> None:
    bottom = TOP + SIDE + 60
    with sheet.group("attention"):
        for k, share in enumerate(p.tolist()):
            place = {"x": at - 36 + 26 * k, "width": 20.0, "height": 56 * share}
            sheet.add("rect", class_="cell", fill_opacity=1.0, y=bottom - 56 * share, **place)
    with sheet.group("wire faint"):
        sheet.add("path", class_="line", d=path("M", at - 40, bottom, "h", 80))


def draw() -> Sheet:
    sheet = Sheet(286)
    alpha = torch.tensor(EVIDENCE) + 1
    p, u = opinion(alpha)
    for k in range(3):
        at = 60 + APART * k
        words = " ".join(f"{e:g}" for e in EVIDENCE[k])
        sheet.text(words, (at, 30), "size")
        triangle(sheet, at, alpha[k])
        bars(sheet, at, p[k])
        sheet.text(f"{u[k].item():.2f}", (at, 254), "size")
    rows = (("e", "evidence", 10), ("p", "expected probabilities", 222), ("u", "uncertainty", 272))
    for name, words, y in rows:
        with sheet.link("an-opinion"):
            sheet.text(name, (14, y))
        sheet.text(words, (26, y), "note", "start")
    return sheet
