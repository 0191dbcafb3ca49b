// What keeps an open page up to date: the server adds this script to each page that it sends.
//
// Of most edits only a paragraph or a few lines of code come out differently. Then the cells that
// hold them are exchanged, and the page stays as it is. Where anything around the cells has
// changed, the page is loaded again, and scrolled to where it was.
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
  box.textContent = problems.join("\n")
  document.body.append(box)
}
const cells = body => [...body.querySelectorAll(".row > .prose, .row > .code > pre")]
// What stands in the cells of a page, and what is left without them.
const take = (head, body) => {
  const all = cells(body), inside = all.map(cell => cell.innerHTML)
  all.forEach(cell => cell.replaceChildren())
  // Not what nobody sees: the number of the build, and for machines the day of the last change.
  const unseen = part => part.type === "application/ld+json" || part.src?.includes("/_reload.js")
  const seen = [...head.children].filter(part => !unseen(part))
  return {inside, frame: [...seen, body].map(part => part.outerHTML).join("")}
}
let known = take(document.head, document.body.cloneNode(true))
const exchange = now => {
  if (now.frame !== known.frame) return false
  const all = cells(document.body)
  now.inside.forEach((html, n) => { if (html !== known.inside[n]) all[n].innerHTML = html })
  known = now
  dispatchEvent(new Event("renew"))
  return true
}
const renew = async () => {
  const text = await fetch(location.href).then(answer => answer.text())
  const page = new DOMParser().parseFromString(text, "text/html")
  if (exchange(take(page.head, page.body))) return
  sessionStorage.setItem(at, JSON.stringify(find()))
  location.reload()
}
let renewed = Promise.resolve(), build = document.currentScript.src.split("?")[1]
const listen = () => {
  const events = new EventSource("/_events")
  events.addEventListener("problems", e => show(JSON.parse(e.data)))
  // Told on connecting too: a build may have come between the page and its connection.
  events.addEventListener("built", e => {
    if (e.data === build) return
    build = e.data
    renewed = renewed.then(renew, renew)
  })
}
// A browser without a window is there to take a picture, and may wait until no connection is open.
if (!navigator.userAgent.includes("Headless")) listen()
}
