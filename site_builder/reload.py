r"""
# Reload

What keeps an open page up to date: a script that the server adds to it, and the list of the pages
that wait.
"""

from __future__ import annotations

import json
import queue

from site_builder.build import Report

RELOAD = b'<script src="/_reload.js" defer></script></head>'
SCRIPT = b"""\
const at = "place:" + location.pathname
const place = sessionStorage.getItem(at)
if (place) { sessionStorage.removeItem(at); scrollTo({top: +place, behavior: "instant"}) }
let box
const show = problems => {
  box?.remove()
  if (!problems.length) return
  box = document.createElement("pre")
  box.id = "-problems"
  box.setAttribute("role", "alert")
  box.style.cssText = "position:fixed;inset:auto 0 0 0;margin:0;padding:1rem;z-index:99;" +
    "max-height:40vh;overflow:auto;background:#7a1420;color:#fff;" +
    "font:13px/1.5 ui-monospace,monospace;white-space:pre-wrap"
  box.textContent = problems.join("\\n")
  document.body.append(box)
}
const events = new EventSource("/_events")
events.addEventListener("problems", e => show(JSON.parse(e.data)))
events.addEventListener("reload", () => { sessionStorage.setItem(at, scrollY); location.reload() })
"""


class Listeners:
    r"""
    ## The browsers that wait

    Each open page has a queue, and gets the problems when it connects and after each build.
    """

    def __init__(self) -> None:
        self._queues: set[queue.SimpleQueue[tuple[str, str]]] = set()
        self.problems: tuple[str, ...] = ()

    def add(self) -> queue.SimpleQueue[tuple[str, str]]:
        waiting: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        waiting.put(("problems", json.dumps(self.problems)))
        self._queues.add(waiting)
        return waiting

    def remove(self, waiting: queue.SimpleQueue[tuple[str, str]]) -> None:
        self._queues.discard(waiting)

    def tell(self, report: Report) -> None:
        self.problems = tuple(map(str, report.problems))
        for waiting in list(self._queues):
            waiting.put(("problems", json.dumps(self.problems)))
            if report.changed:
                waiting.put(("reload", "{}"))
