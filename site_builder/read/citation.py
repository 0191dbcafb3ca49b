r"""
# Citation

How a page's paper is cited, ready to be copied.
"""

from __future__ import annotations

import re

from site_builder.read.front_matter import FrontMatter


def bibtex(meta: FrontMatter) -> str:
    r"""
    ## BibTeX

    The entry by which the paper is cited, keyed as most bibliographies do: first author, year,
    first word of the title.
    """
    if not meta.paper or not meta.authors:
        return ""
    words = [w for w in re.findall(r"\w+", meta.paper.lower()) if w not in {"a", "an", "on", "the"}]
    surname = re.sub(r"\W", "", meta.authors[0].split()[-1].lower())
    key = f"{surname}{meta.year}{words[0]}"
    fields = {
        "title": "{" + meta.paper + "}",
        "author": " and ".join(meta.authors),
        "year": str(meta.year),
    }
    if meta.arxiv:
        fields |= {"eprint": meta.arxiv, "archivePrefix": "arXiv"}
    fields |= {"doi": meta.doi} if meta.doi else {}
    fields |= {"url": meta.link[1]}
    return f"@misc{{{key},\n" + "".join(f"  {k} = {{{v}}},\n" for k, v in fields.items()) + "}"
