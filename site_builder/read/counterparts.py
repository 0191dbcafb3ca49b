r"""
# Counterparts

Which part of one file is which of another, by meaning: one of the same name, the class that it is
made from, or the one that is built most like it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import partial
from typing import Literal

from site_builder.read.parts import Part

How = Literal["same", "changed", "new", "gone", "imported", "inherited"]
# So much of how they are built must be alike, where names do not say it; of what is short, more is
# alike by chance.
ALIKE, SHORT = 0.55, 30


@dataclass(frozen=True, slots=True)
class Pair:
    r"""
    ## A pair

    A part of the earlier file, one of the later, or both. One that is `inherited` is a method that
    the later class has from the earlier, and `imported` is what the later file uses as it is.
    `kept` says that the later file imports the earlier part too, beside the one that it has made of
    it, and `derived` that the later class inherits from the earlier.
    """

    before: Part | None
    after: Part | None
    how: How
    methods: tuple[Pair, ...] = ()
    kept: bool = False
    derived: bool = False

    @property
    def renamed(self) -> bool:
        return bool(self.before and self.after and self.before.name != self.after.name)


def counterparts(
    before: tuple[Part, ...],
    after: tuple[Part, ...],
    made_from: Mapping[str, str],
    imported: Collection[str],
) -> tuple[Pair, ...]:
    r"""
    ## Pair them

    `made_from` leads from a class to the earlier one that it inherits from, and `imported` are the
    earlier parts that the later file uses as they are. In the order of the later file; then what is
    imported, and what is gone.
    """
    found = dict(_named(before, after, made_from))
    taken = {part.name for part in found.values()} | set(imported)
    left = [part for part in after if part.name not in found]
    found |= dict(_alike([part for part in before if part.name not in taken], left))
    pairs = [_pair(found.get(part.name), part, made_from, imported) for part in after]
    used = {part.name for part in found.values()}
    rest = [part for part in before if part.name not in used]
    pairs += [Pair(part, None, "imported") for part in rest if part.name in imported]
    return (*pairs, *(Pair(part, None, "gone") for part in rest if part.name not in imported))


def _named(
    before: tuple[Part, ...], after: tuple[Part, ...], made_from: Mapping[str, str]
) -> Iterator[tuple[str, Part]]:
    """A function of some name may have become of a method of that name, or of a function."""
    for part in after:
        named = [p for p in before if p.name == part.name and p.is_class == part.is_class]
        if part.is_class:
            named += [p for p in before if p.name == made_from.get(part.name)]
        else:
            named += [m for p in before for m in p.methods if m.word == part.name]
        if named:
            yield part.name, max(named[: 1 if part.is_class else None], key=partial(_ratio, part))


def _ratio(part: Part, other: Part) -> float:
    return SequenceMatcher(None, part.words, other.words, autojunk=False).ratio()


def _pair(
    before: Part | None, after: Part, made_from: Mapping[str, str], imported: Collection[str]
) -> Pair:
    if before is None:
        return Pair(None, after, "new")
    derived = made_from.get(after.name) == before.name
    methods = tuple(_methods(before, after, derived))
    same = before.code == after.code and all(pair.how == "same" for pair in methods)
    owner = before.name.partition(".")[0]
    kept = not derived and owner in imported
    return Pair(before, after, "same" if same else "changed", methods, kept, derived)


def _methods(before: Part, after: Part, derived: bool) -> Iterator[Pair]:
    earlier = {method.word: method for method in before.methods}
    found = {m.word: earlier[m.word] for m in after.methods if m.word in earlier}
    left = [method for method in after.methods if method.word not in found]
    free = [method for method in before.methods if method.word not in found]
    found |= {name.rpartition(".")[2]: part for name, part in _alike(free, left)}
    for method in after.methods:
        yield _pair(found.get(method.word), method, {}, ())
    used = {method.name for method in found.values()}
    for method in before.methods:
        if method.name not in used:
            yield Pair(method, None, "inherited" if derived else "gone")


def _alike(before: Iterable[Part], after: Iterable[Part]) -> Iterator[tuple[str, Part]]:
    """Pairs of the most alike, each part in one: the later's name, and the earlier."""
    free, ranked = list(before), []
    for part in after:
        for other in free:
            long = min(len(part.words), len(other.words)) >= SHORT
            if long and part.is_class == other.is_class and _ratio(part, other) >= ALIKE:
                ranked.append((-_ratio(part, other), part.start, part.name, other))
    done: set[str] = set()
    for _, _, name, other in sorted(ranked, key=lambda entry: entry[:3]):
        if name not in done and other.name not in done:
            done |= {name, other.name}
            yield name, other
