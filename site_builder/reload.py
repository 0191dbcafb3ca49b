r"""
# Reload

What keeps an open page up to date: a script that the server adds to it, and the list of the pages
that wait.
"""

from __future__ import annotations

import json
import queue

RELOAD = b'<script src="/_reload.js" defer></script></head>'
SCRIPT = b"""\
{
const at = "place:" + location.pathname
const rows = () => [...document.querySelectorAll(".row, .cards li")]
const height = row => row.getBoundingClientRect().top
const find = () => {
  const all = rows(), n = all.findIndex(row => row.getBoundingClientRect().bottom > 80)
  return scrollY && n >= 0 ? {n, id: all[n].id, top: height(all[n])} : null
}
// A row that was not on the screen has no size yet; it gets one as it comes there.
const put = (place, tries) => {
  const row = place.id && document.getElementById(place.id) || rows()[place.n]
  if (row) scrollBy({top: height(row) - place.top, behavior: "instant"})
  if (row && tries) requestAnimationFrame(() => put(place, tries - 1))
}
history.scrollRestoration = "manual"
const place = JSON.parse(sessionStorage.getItem(at))
sessionStorage.removeItem(at)
if (place) put(place, 9)
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
events.addEventListener("reload", () => {
  sessionStorage.setItem(at, JSON.stringify(find()))
  location.reload()
})
}
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

    def tell(self, problems: tuple[str, ...], changed: bool) -> None:
        news = problems != self.problems or changed
        self.problems = problems
        for waiting in list(self._queues) if news else ():
            waiting.put(("problems", json.dumps(problems)))
            if changed:
                waiting.put(("reload", "{}"))
