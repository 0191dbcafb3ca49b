r"""
# Enumerations

A list of reStructuredText may count in letters or in Roman numbers, and between brackets. A page
counts in figures alone, and `(c)` may mean something else: such marks are written out.
"""

from __future__ import annotations

from docutils import nodes

ROMAN = (("IIIII", "V"), ("IIII", "IV"), ("VIV", "IX"), ("VV", "X"), ("XXXXX", "L"), ("XXXX", "XL"))


def write_out(document: nodes.document) -> None:
    """In each such list, the marks become words; one that stands alone, `P. Erdős`, is no list."""
    # From the inside out: `E. N. Gilbert` is a list in a list.
    for node in reversed(list(document.findall(nodes.enumerated_list))):
        if node["enumtype"] == "arabic" and not node["prefix"]:
            continue
        items = [child for child in node.children if isinstance(child, nodes.Element)]
        for number, item in enumerate(items, node.get("start", 1)):
            mark = f"{node['prefix']}{_ordinal(number, node['enumtype'])}{node['suffix']} "
            first = item.children[0] if item.children else None
            if not isinstance(first, nodes.paragraph):
                item.insert(0, first := nodes.paragraph())
            first.insert(0, nodes.Text(mark))
        alone = items[0].children if len(items) == 1 else None
        node.replace_self(alone or nodes.bullet_list("", *items))


def _ordinal(number: int, kind: str) -> str:
    if kind == "arabic":
        return str(number)
    letters = chr(ord("A") + number - 1)
    if "roman" in kind:
        letters = "I" * number
        for many, one in ROMAN:
            letters = letters.replace(many, one)
    return letters if kind.startswith("upper") else letters.lower()
