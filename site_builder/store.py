r"""
# Store

What a build has made of each file, on disk: in memory a site of two thousand pages would take
what two thousand pages take.
"""

from __future__ import annotations

import sqlite3
import weakref

from site_builder.problem import BuildError


class Store:
    """Bytes by their names, in a temporary file that goes with the process."""

    def __init__(self) -> None:
        # A database without a name is SQLite's own temporary file.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        # What does not fit leaves the rest as it was.
        self._database.execute("PRAGMA journal_mode = MEMORY")
        self._database.execute("CREATE TABLE kept (name TEXT PRIMARY KEY, data BLOB)")
        weakref.finalize(self, self._database.close)

    def __setitem__(self, name: str, data: bytes) -> None:
        self._execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", name, data)

    def __getitem__(self, name: str) -> bytes:
        data: bytes = self._execute("SELECT data FROM kept WHERE name = ?", name).fetchone()[0]
        return data

    def __delitem__(self, name: str) -> None:
        self._execute("DELETE FROM kept WHERE name = ?", name)

    def _execute(self, command: str, *values: object) -> sqlite3.Cursor:
        try:
            return self._database.execute(command, values)
        except sqlite3.Error as error:
            told = f"what is built does not fit into the folder for temporary files: {error}"
            raise BuildError(f"{told}; make room, or name another one in TMPDIR") from None
