r"""
# Comparer

Two files become one page: their parts are paired by [meaning](../read/counterparts.py), and
between two that differ the [words](../render/marks.py) are marked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from markupsafe import Markup

from site_builder.link.body import link_row
from site_builder.link.comparison import Compared, Comparison, Setting, Side
from site_builder.link.links import Linker, Targets, relative
from site_builder.link.order import Link
from site_builder.read.counterparts import Pair, counterparts
from site_builder.read.document import Reading
from site_builder.read.parts import Field, Part, read_parts
from site_builder.render.draft import Draft
from site_builder.render.marks import Listing, compare, listing
from site_builder.render.pieces import Heading


@dataclass(frozen=True, slots=True)
class Comparer:
    r"""
    ## Of two files

    A part is shown as it changed, with the later file's prose; what only moved is folded.
    """

    before: Draft
    after: Draft
    earlier: Reading
    later: Reading
    url: str
    targets: Targets

    def page(self) -> Comparison:
        earlier, later = self.earlier, self.later
        files = listing(earlier), listing(later)
        done = [self._part(pair, *files) for pair in self._pairs()]
        parts = tuple(part for part in done if part.after)
        headings = (p for p in parts if p.how in ("changed", "new"))
        return Comparison(
            url=self.url,
            root="../" * self.url.count("/"),
            title=f"From {earlier.title} to {later.title}",
            summary=f"What {later.title} changes of {earlier.title}, part by part: code and prose.",
            math=self.before.math or self.after.math,
            before=Link(earlier.title, relative(earlier.url, self.url)),
            after=Link(later.title, relative(later.url, self.url)),
            years=(earlier.meta.year, later.meta.year),
            parts=parts,
            imported=tuple(part for part in done if part.how == "imported"),
            gone=tuple(part for part in done if part.how == "gone"),
            proof=None,
            contents=tuple(Heading(2, Markup.escape(p.name), p.anchor) for p in headings),
            paths=(earlier.path, later.path),
        )

    def _pairs(self) -> tuple[Pair, ...]:
        old, new = read_parts(self.earlier), read_parts(self.later)
        module = f"{self.earlier.module}."
        used = {*self.later.names.values(), *self.later.named}
        imported = {part.name for part in old if module + part.name in used}
        made_from = {
            part.name: base.removeprefix(module)
            for part in new
            for base in part.bases
            if base.startswith(module)
        }
        return counterparts(old, new, made_from, imported)

    def _part(self, pair: Pair, old: Listing, new: Listing) -> Compared:
        before, after = pair.before, pair.after
        code = new.lines(after.lines) if after else old.lines(before.lines) if before else ()
        told = pair.how in ("changed", "new")
        done = Compared(
            how=pair.how,
            anchor=after.name if after else f"gone-{before.name}" if before else "",
            before=self._side(self.before, before, told) if before else None,
            after=self._side(self.after, after, told) if after else None,
            lines=code,
            methods=tuple(self._part(each, old, new) for each in _inside(pair)),
            kept=pair.kept,
            derived=pair.derived,
        )
        if not before or not after or pair.how != "changed":
            return done
        if before.fields and after.fields:
            changed = tuple(_settings(before.fields, after.fields, pair.derived))
            return replace(done, settings=changed)
        return replace(done, hunks=compare(old, before.lines, new, after.lines))

    def _side(self, draft: Draft, part: Part, told: bool) -> Side:
        document = draft.document
        anchor = f"#{part.anchor}" if part.anchor else ""
        address = relative(document.url + anchor, self.url)
        return Side(part.name, address, self._prose(draft, part) if told else Markup())

    def _prose(self, draft: Draft, part: Part) -> Markup:
        """What stands in a part, and of a class in none of its methods."""
        linker = Linker(draft.document.path, self.url, self.targets)
        rows = (row for row in draft.rows if part.start <= row.start <= part.end)
        mine = [
            link_row(row, linker).prose
            for row in rows
            if not any(m.start <= row.start <= m.end for m in part.methods)
            # An anchor can stand on a page once, and that is the file's own.
            and not row.prose.anchors
        ]
        return Markup("\n").join(mine)


def _inside(pair: Pair) -> Iterator[Pair]:
    """Of what stands alone, the methods are as it is."""
    yield from pair.methods
    if not pair.before:
        yield from (Pair(None, m, pair.how) for m in (pair.after.methods if pair.after else ()))
    elif not pair.after:
        yield from (Pair(m, None, pair.how) for m in pair.before.methods)


def _settings(
    before: tuple[Field, ...], after: tuple[Field, ...], derived: bool
) -> Iterator[Setting]:
    """In the later order; what a later class inherits has not changed."""
    old, new = ({field.name: field for field in fields} for fields in (before, after))
    for field in after:
        was = old[field.name].default if field.name in old else "–"
        if field.name not in old or was != field.default:
            yield Setting(field.name, was, field.default or "to be given", field.help)
    for field in before:
        if field.name not in new and not derived:
            yield Setting(field.name, field.default or "to be given", "–", field.help)
