// Paths: which pages were read to their end is kept in this browser and nowhere else, with the path that was gone last.
{
  const list = (key) => { try { return new Set(JSON.parse(store.get(key))); } catch { return new Set(); } };
  const read = list("read");
  const place = (link) => new URL(link.getAttribute("href"), location).pathname;
  const progress = one(".progress");
  const show = () => {
    const steps = all(".step");
    steps.forEach((link) => link.classList.toggle("read", read.has(place(link))));
    if (!progress) return;
    const pages = new Set(steps.map(place));
    const count = [...pages].filter((page) => read.has(page)).length;
    progress.hidden = !count;
    progress.firstElementChild.textContent = word("You have read {0} of these {1} pages to their end; only this browser knows.", count, pages.size);
  };
  const end = one(".turn");
  if (end) new IntersectionObserver(([{ isIntersecting }], watch) => {
    if (!isIntersecting) return;
    store.set("read", JSON.stringify([...read.add(location.pathname)]));
    watch.disconnect();
  }).observe(end);
  progress?.lastElementChild.addEventListener("click", () => {
    read.clear();
    ["read", "route"].forEach((key) => store.set(key, ""));
    show();
    say(word("Forgotten"));
    one("h1").tabIndex = -1;
    one("h1").focus();
  });
  addEventListener("click", (event) => {
    const route = event.target.closest?.("[data-route]");
    // Where several paths lead to the same page, the reader stays on the path of before.
    const slugs = route && event.target.closest("a") ? route.dataset.route.split(" ") : [];
    if (slugs.length && !slugs.includes(store.get("route"))) store.set("route", slugs[0]);
  });
  show();
  // A page that comes back from the browser's memory was not told what was read since.
  addEventListener("pageshow", (event) => { if (event.persisted) { list("read").forEach((page) => read.add(page)); show(); } });
}
