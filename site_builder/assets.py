r"""
# Assets

Where the builder's own files lie: templates, style sheets, scripts and KaTeX. In a checkout they
stand beside the package; in an installed wheel they are inside it.
"""

from __future__ import annotations

from pathlib import Path

from site_builder.problem import BuildError

HERE = Path(__file__).parent
ROOT = HERE if (HERE / "templates").is_dir() else HERE.parent
TEMPLATES = ROOT / "templates"
STATIC = ROOT / "static"
KATEX = STATIC / "node_modules" / "katex"


def static_files() -> dict[str, Path]:
    r"""
    ## What is copied to the site

    Address on the site to file on the disk. Of KaTeX, which has run when a page reaches its
    reader, only the style sheet and the fonts that every browser of today reads. Raises
    `BuildError` where it has not been fetched.
    """
    if not (KATEX / "package.json").is_file():
        raise BuildError(
            f"KaTeX, which typesets formulas, is not in {KATEX.parent}; run `make site`, "
            f"or `npm ci --prefix {STATIC}`"
        )
    ours = (p for p in STATIC.iterdir() if p.suffix in {".css", ".js", ".svg", ".png", ".ico"})
    files = {f"static/{path.name}": path for path in sorted(ours)}
    files["static/katex/katex.min.css"] = KATEX / "dist" / "katex.min.css"
    for font in sorted((KATEX / "dist" / "fonts").glob("*.woff2")):
        files[f"static/katex/fonts/{font.name}"] = font
    return files
