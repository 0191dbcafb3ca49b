r"""
---
title: What a failure tells
summary: Out of a failed test, what was computed and what was expected, in a few words.
---

# What a failure tells

A page of pytest tells all that there is to know. Somebody who writes a formula wants one number
that is wrong, and where it stands.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple

import torch
from torch import Tensor

# The most characters of a value, and of a message.
VALUE, MESSAGE = 60, 160


class Compared(NamedTuple):
    """The two sides of a comparison that did not hold."""

    left: object
    sign: str
    right: object


class Told(NamedTuple):
    r"""
    ## What is told

    `line` is the last one of an exercise that an exception passed; of a comparison there is none.
    `rank` is lower for what tells more: first a comparison with what is theirs.
    """

    text: str
    line: int = 0
    rank: int = 2


def tell(
    error: BaseException, paper: str, names: Collection[str], compared: Compared | None
) -> Told:
    r"""
    ## Tell

    A test has compared, by `torch.testing` or by `assert`, what is ours with what is theirs; or an
    exception came out of the paper's own lines.
    """
    frames = list(_frames(error.__traceback__))
    asserting = next((f for f, _ in frames if f.f_code.co_name == "assert_close"), None)
    known = {name for frame, _ in frames for name in frame.f_code.co_varnames}
    rank = 0 if any(name.startswith("theirs") for name in known) else 1
    if asserting:
        values = asserting.f_locals
        said = differing(values["actual"], values["expected"], str(error))
        return Told(said, rank=rank)
    if compared and isinstance(error, AssertionError):
        sign = "" if compared.sign == "==" else f"{compared.sign} "
        left, right = map(shown, (compared.left, compared.right))
        return Told(f"computed {left}, expected {sign}{right}", rank=rank)
    own = [(f.f_code, line) for f, line in frames if f.f_code.co_filename == paper]
    lines = [line for code, line in own if qualified(code) in names]
    raised = "raises " if own else ""
    said = f"{raised}{type(error).__name__}: {_short(str(error), MESSAGE)}"
    return Told(said, lines[-1] if lines else 0)


def qualified(code: CodeType) -> str:
    """The dotted name of a function, of one inside another too."""
    return code.co_qualname.replace(".<locals>", "")


def _frames(traceback: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while traceback:
        yield traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next


def differing(ours: Any, theirs: Any, message: str) -> str:
    r"""
    ## Two tensors

    The number that is farthest off, and how many are.
    """
    for key in re.findall(r"\[([^\]]+)\]", _item(message)):
        ours, theirs = ours[ast.literal_eval(key)], theirs[ast.literal_eval(key)]
    if not isinstance(ours, Tensor) or not isinstance(theirs, Tensor):
        return f"computed {shown(ours)}, expected {shown(theirs)}"
    for kind in ("shape", "dtype", "device"):
        a, b = getattr(ours, kind), getattr(theirs, kind)
        if a != b:
            a, b = (tuple(a), tuple(b)) if kind == "shape" else (a, b)
            return f"computed a tensor of {kind} {a}, expected {b}"
    a, b = (x.detach().resolve_conj().cpu() for x in (ours, theirs))
    wide = torch.complex128 if a.is_complex() else torch.float64
    # Two infinities that are equal have no difference that is a number.
    apart = (a.to(wide) - b.to(wide)).abs().masked_fill(a == b, 0)
    place = [int(i) for i in torch.unravel_index(apart.argmax(), a.shape)] if a.ndim else []
    count = re.search(r"Mismatched elements: (\d+) / (\d+)", message)
    numbers = "{}, expected {}".format(*_apart(a[tuple(place)].item(), b[tuple(place)].item()))
    where = f" at {place}" if place else ""
    how_many = f"; {count[1]} of {count[2]} numbers are off" if count and place else ""
    return f"computed {numbers}{where}{how_many}"


def _item(message: str) -> str:
    found = re.search(r"The failure occurred for item (.+)", message)
    return found[1] if found else ""


def _apart(a: Any, b: Any) -> tuple[str, str]:
    """With as many digits as it takes to tell them apart."""
    if not isinstance(a, float) or not isinstance(b, float):
        return str(a), str(b)
    pairs = ((f"{a:.{n}g}", f"{b:.{n}g}") for n in range(4, 18))
    return next((pair for pair in pairs if pair[0] != pair[1]), (repr(a), repr(b)))


def shown(value: object) -> str:
    if isinstance(value, Tensor):
        value = value.tolist() if value.numel() < 10 else f"a tensor {tuple(value.shape)}"
    elif isinstance(value, float):
        value = f"{value:.6g}"
    return _short(value if isinstance(value, str) else repr(value), VALUE)


def _short(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
