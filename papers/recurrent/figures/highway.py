"""Two levels of one step, and where the eigenvalues of three kinds of step lie."""

from __future__ import annotations

import torch
from torch import Tensor

from papers.recurrent.highway import Carry, RecurrentHighway, circles, jacobian
from papers.tools.drawing.parts import Kind, block, sign
from papers.tools.drawing.sheet import Point, Sheet
from papers.tools.drawing.wires import arrow

# Heights of the state, of the gate and of the proposal of a level.
STATE, GATE, NEW = 30.0, 88.0, 142.0
# Where the planes have their zero, and how many pixels one is long.
ZERO, ONE, UNITS = 278.0, 43.0, 6


def level(sheet: Sheet, left: float, number: int) -> None:
    keep, add = sign(sheet, "*", (left + 52, STATE)), sign(sheet, "+", (left + 122, STATE))
    # The second goes on from the sum of the first.
    arrow(sheet, (left - 21 * number, STATE), keep.left, look="past")
    arrow(sheet, keep.right, add.left, look="past")
    gate = block(sheet, "softmax", "t", (left + 52, GATE), 34, link="one-level")
    new = block(sheet, "plain", "h", (left + 122, NEW), 34, link="one-level")
    write = sign(sheet, "*", (left + 122, GATE))
    sheet.text("1 - t", (left + 82, (STATE + GATE) / 2), "size")
    arrow(sheet, gate.top, keep.bottom)
    arrow(sheet, gate.right, write.left)
    arrow(sheet, new.top, write.bottom)
    arrow(sheet, write.top, add.bottom)
    feed = left + 14, NEW
    arrow(sheet, (left + 14, STATE), feed, new.left)
    arrow(sheet, (left + 52, NEW), gate.bottom)
    if number == 0:
        sheet.text("x", (left + 52, NEW + 34))
        arrow(sheet, (left + 52, NEW + 24), (left + 52, NEW), head=False)


def kinds() -> list[tuple[str, Kind, Tensor]]:
    """Jacobians of one level, at a random state: small weights, the identity, and gates."""
    made: list[tuple[str, Kind, Tensor]] = []
    carries: list[tuple[str, Kind, Carry]] = [
        ("small", "plain", "none"),
        ("identity", "embedding", "none"),
        ("gates", "idea", "coupled"),
    ]
    for name, kind, carry in carries:
        torch.manual_seed(2)
        layer = RecurrentHighway(1, UNITS, 1, carry)
        s, (only,) = 0.6 * torch.rand(UNITS) - 0.3, layer.levels
        with torch.no_grad():
            weight, bias = only.weight, only.bias
            assert isinstance(weight, Tensor)
            assert isinstance(bias, Tensor)
            weight[:] = 0.14 * torch.randn(weight.shape)
            bias[:UNITS] = 0
            bias[UNITS:] = torch.linspace(-4, 1, len(bias) - UNITS)
            if name == "identity":
                weight += torch.eye(UNITS)
            made.append((name, kind, jacobian(layer, torch.zeros(len(weight)), s)))
    return made


def plane(sheet: Sheet, centre: Point, kind: Kind, A: Tensor) -> None:
    x, y = centre
    with sheet.group("plain dashed"):
        sheet.add("circle", class_="trace", cx=x, cy=y, r=ONE)
    with sheet.group(kind):
        for middle, radius in zip(*(part.tolist() for part in circles(A)), strict=True):
            sheet.add("circle", class_="rule", cx=x + ONE * middle, cy=y, r=ONE * radius)
        for value in torch.linalg.eigvals(A):
            place = x + ONE * value.real.item(), y - ONE * value.imag.item()
            sheet.add("circle", class_="dot", cx=place[0], cy=place[1], r=2.2)


def draw() -> Sheet:
    sheet = Sheet(354)
    sheet.text("s", (12, STATE))
    sheet.text("s", (350, STATE))
    for number in range(2):
        level(sheet, 22 + 154 * number, number)
    arrow(sheet, (309, STATE), (340, STATE), look="past")
    with sheet.link("circles-for-the-eigenvalues"):
        sheet.text("circles", (20, ZERO - ONE - 22), "name", "start")
    for number, (name, kind, A) in enumerate(kinds()):
        # The circles around one need room on their right.
        centre = (54.0, 156.0, 302.0)[number], ZERO
        plane(sheet, centre, kind, A)
        sheet.text(name, (centre[0], ZERO + ONE + 18), "note")
    return sheet
