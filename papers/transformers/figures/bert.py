"""A sentence with gaps; what fills them is seen from both sides."""

from __future__ import annotations

from papers.tools.drawing.parts import Kind, block
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow, down

READ = ("[CLS]", "the", "[MASK]", "sat", "down", "[SEP]")
HIDDEN = READ.index("[MASK]")
STEP = 60.0


def place(number: int) -> float:
    return 30 + number * STEP


def draw() -> Sheet:
    sheet = Sheet(552)
    with sheet.link("task-1-guess-the-hidden-tokens"):
        sheet.text("hide", (8, 12), "name", "start")
    for number, word in enumerate(READ):
        sheet.text(word, (place(number), 40))
        kind: Kind = "idea" if word == "[MASK]" else "embedding"
        block(sheet, kind, "", (place(number), 84), 36, 22)
        arrow(sheet, (place(number), 50), (place(number), 72))
        arrow(sheet, (place(number), 96), (place(number), 116))
    wide = 348
    sheet.text("tokens + segments + positions", (180, 128))
    norm = block(sheet, "norm", "norm", (180, 166), wide, 24)
    arrow(sheet, (180, 138), norm.top)
    # Who looks where: the gap sees both sides.
    at = place(HIDDEN)
    for number in range(len(READ)):
        x, top, bottom = place(number), 178.0, 236.0
        arrow(sheet, (x, top), (x, top + 8), (at, bottom - 14), (at, bottom),
              look="past" if number == HIDDEN else "", head=number == HIDDEN)  # fmt: skip
    with sheet.link("the-encoder"):
        block(sheet, "attention", "blocks", (180, 256), wide, 38)
    for number in range(len(READ)):
        arrow(sheet, (place(number), 275), (place(number), 300))
    sheet.text("x  (B, T, C)", (180, 312), "size")
    heads = "two-heads-for-pre-training"
    above = (at, 322.0)
    rows: list[tuple[float, Kind, str, float]] = [
        (354, "linear", "transform", 100), (400, "norm", "norm", 100),
        (446, "linear", "tokens.weight.T", 148), (494, "softmax", "softmax", 100),
    ]  # fmt: skip
    for y, part_kind, name, width in rows:
        part = block(sheet, part_kind, name, (at, y), width, 24 if part_kind == "norm" else 30,
                     heads if name == "transform" else "")  # fmt: skip
        down(sheet, above, part)
        above = part.bottom
    down(sheet, above, (at, 528))
    sheet.text("cat", (at, 540))
    pooler = block(sheet, "linear", "pooler", (40, 354), 72)
    follows = block(sheet, "linear", "follows", (40, 400), 72, link="task-2-does-b-follow-a")
    arrow(sheet, (40, 322), pooler.top)
    down(sheet, pooler, follows)
    down(sheet, follows, (40, 434))
    sheet.text("(B, 2)", (40, 446), "size")
    return sheet
