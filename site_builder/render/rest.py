r"""
# reStructuredText

What most Python packages write their docstrings in. [docutils](https://docutils.sourceforge.io)
reads it into a tree. What differs on a page of code are [roles and directives](sphinx.py), some
[numbers of items](enumerations.py), and the [HTML](doctree.py) that becomes of the tree.
"""

from __future__ import annotations

import copy
import functools
import re
from typing import Any

from docutils.core import publish_doctree
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.readers.standalone import Reader
from docutils.transforms.writer_aux import Admonitions
from docutils.writers.html5_polyglot import Writer

from site_builder.render.doctree import Translator
from site_builder.render.enumerations import write_out
from site_builder.render.scan import LOST, UNSHOWN
from site_builder.render.shelf import OURS, Shelf
from site_builder.render.sphinx import know_directives, make_inliner


@functools.cache
def _settings() -> Any:
    settings = get_default_settings(Parser, Reader, Writer)
    changes: dict[str, object] = {
        "report_level": 1, "halt_level": 9, "warning_stream": False, "_disable_config": True,
        "file_insertion_enabled": False, "raw_enabled": False, "doctitle_xform": False,
        "docinfo_xform": False, "syntax_highlight": "none", "embed_stylesheet": False,
        "line_length_limit": 10**9, "traceback": True,
    }  # fmt: skip
    for name, value in changes.items():
        setattr(settings, name, value)
    return settings


def rest_to_html(text: str, line: int, key: str, shelf: Shelf) -> str:
    r"""
    ## To HTML

    `line` is where `text` begins in its file, and `key` keeps its footnotes apart from others on
    the page.
    """
    text = re.sub(f"[{OURS}]", lambda mark: shelf.character(mark[0]), UNSHOWN.sub(LOST, text))
    know_directives(text)
    settings = copy.copy(_settings())
    settings.id_prefix = f"{key}-"
    parser = Parser(inliner=make_inliner(settings))
    document = publish_doctree(text, settings=settings, parser=parser, reader=Reader())
    Admonitions(document).apply()
    write_out(document)
    translator = Translator(document, text, shelf, line)
    document.walkabout(translator)
    return "".join(translator.body)
