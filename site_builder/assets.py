r"""
# Assets

Where the builder's own files lie: templates, style sheets, scripts and KaTeX. In a checkout they
stand beside the package; in an installed wheel they are inside it.
"""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE if (HERE / "templates").is_dir() else HERE.parent
TEMPLATES = ROOT / "templates"
STATIC = ROOT / "static"
KATEX = STATIC / "node_modules" / "katex"
# The letters of what is painted while the site is built: code, labels, titles and symbols.
FONTS = tuple(
    KATEX / "dist" / "fonts" / f"KaTeX_{name}.ttf"
    for name in ("Typewriter-Regular", "SansSerif-Regular", "Main-Regular", "Math-Italic")
)
# How a book looks, which is no page.
BOOK_SHEET = STATIC / "book" / "book.css"
# What runs while the site is built.
TYPESET = STATIC / "build" / "typeset.js"
# The parts of `site.js`, in order: each may use what those before it declare.
SCRIPTS = (
    "page", "themes", "sections", "search", "keys", "copying", "fit", "lights", "card", "names",
    "shapes", "symbols", "cursor", "previews", "paths",
)  # fmt: skip
INDENTATION = re.compile(rb"^(?: *//[^\n]*\n| +)", re.MULTILINE)

# Said once, however many formulas there are.
WITHOUT_KATEX = f"formulas need KaTeX, which is not in {KATEX.parent}; " + (
    f"run `make site`, or `npm ci --prefix {STATIC}`"
    if (STATIC / "package.json").is_file()
    else "install annotated-papers again"
)


def has_katex() -> bool:
    """A wheel has it; a checkout has it once it is set up."""
    return (KATEX / "package.json").is_file()


def static_files() -> dict[str, Path]:
    r"""
    ## What is copied to the site

    Address on the site to file on the disk. Of KaTeX, which has run when a page reaches its
    reader, only the style sheet and the fonts that every browser of today reads.
    """
    ours = (p for p in STATIC.iterdir() if p.suffix in {".css", ".js", ".svg", ".png", ".ico"})
    files = {f"static/{path.name}": path for path in sorted(ours)}
    if has_katex():
        files["static/katex/katex.min.css"] = KATEX / "dist" / "katex.min.css"
    for font in sorted((KATEX / "dist" / "fonts").glob("*.woff2")):
        files[f"static/katex/fonts/{font.name}"] = font
    return files


def scripts() -> list[Path]:
    r"""
    ## The script of every page

    A browser loads no modules from a disk, so the parts are joined, in a block that keeps what they
    declare to themselves.
    """
    return [STATIC / "scripts" / f"{name}.js" for name in SCRIPTS]


def asset_files() -> list[Path]:
    """All that `read_assets` reads."""
    return [*static_files().values(), *scripts()]


def read_assets() -> dict[str, bytes]:
    """The files that every site has, by their addresses."""
    # A browser reads neither indentation nor what stands on lines of comment: a seventh of all.
    joined = INDENTATION.sub(b"", b"\n".join(path.read_bytes() for path in scripts()))
    files = {address: path.read_bytes() for address, path in static_files().items()}
    return files | {"static/site.js": b"{\n" + joined + b"}\n"}
