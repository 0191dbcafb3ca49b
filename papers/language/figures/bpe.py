"""The paper's four words, in fewer pieces from merge to merge, by the page's own functions."""

from __future__ import annotations

from papers.language.bpe import Bpe, Word, learn, letters, number
from papers.tools.drawing.sheet import Sheet

# An underscore marks the end of a word.
WORDS = {"low_": 5, "lower_": 2, "newest_": 6, "widest_": 3}
# How many merges were made when we look.
LOOKS = (0, 3, 5, 8, 11)
LEFT, CELL, GAP, TALL, STEP = 8.0, 13.0, 10.0, 20.0, 52.0


def pieces(sheet: Sheet, tokenizer: Bpe, word: Word, x: float, y: float) -> float:
    """From `x` on; and where it ends."""
    for token in tokenizer.encode_word(word):
        told = tokenizer.vocabulary[token].decode()
        width = CELL * len(told)
        with sheet.group("idea tensor" if len(told) > 1 else "plain tensor"):
            shade = 0.4 if len(told) > 1 else 0.0
            place = {"x": x, "y": y, "width": width - 2, "height": TALL}
            sheet.add("rect", class_="cell", fill_opacity=shade, **place)
        for i, letter in enumerate(told):
            sheet.text(letter, (x + CELL * (i + 0.5) - 1, y + TALL / 2), "size")
        x += width
    return x


def draw() -> Sheet:
    sheet = Sheet(20 + STEP * len(LOOKS) + 6)
    first = len(letters())
    words = {number(word.encode()): times for word, times in WORDS.items()}
    x = LEFT
    for word, times in WORDS.items():
        width = CELL * len(word)
        sheet.text(f"{times} ×", (x + width / 2, 10), "size")
        x += width + GAP
    before = 0
    for look, merges in enumerate(LOOKS):
        tokenizer = Bpe.of(learn(words, first + merges))
        y = 24 + STEP * look
        if merges:
            made = [token.decode() for token in tokenizer.vocabulary[first + before :]]
            with sheet.link("learning-which-pairs-to-join"):
                sheet.text("join " + ", ".join(made), (LEFT, y + 8), "name", "start")
        else:
            with sheet.link("cutting-a-text-into-words"):
                sheet.text("words, cut into letters", (LEFT, y + 8), "name", "start")
        x = LEFT
        for letter_by_letter in words:
            x = pieces(sheet, tokenizer, letter_by_letter, x, y + 22) + GAP
        before = merges
    return sheet
