r"""
# Side by side

Drafts of different files know nothing of each other, so each core makes its share of them.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

from site_builder.draft import Draft, draft
from site_builder.settings import Settings
from site_builder.source import Source

# With fewer characters than this, starting processes takes longer than they save.
MUCH = 100_000


def draft_all(sources: list[Source], roots: frozenset[str], settings: Settings) -> Iterable[Draft]:
    r"""
    ## Draft all

    Large files first, so that no process is left alone with one at the end.
    """
    tasks = [(source, roots, settings.requires_front_matter(source.path)) for source in sources]
    tasks.sort(key=lambda task: -len(task[0].text))
    much = sum(len(source.text) for source in sources) > MUCH
    # A process that has threads (the server's) must not be copied.
    if not much or threading.active_count() > 1 or (os.cpu_count() or 1) == 1:
        return [draft(*task) for task in tasks]
    copy = multiprocessing.get_context("fork") if sys.platform == "linux" else None
    with ProcessPoolExecutor(mp_context=copy) as pool:
        return list(pool.map(draft, *zip(*tasks, strict=True), chunksize=4))
