// Sections: which one is read now, as the contents show it, and how to get to the next.
const sections = (() => {
  const contents = one("#-contents");
  const links = contents ? all("a", contents) : [];
  const places = links.map((link) => document.getElementById(decodeURIComponent(link.hash.slice(1))));
  let current = -1;
  const mark = (index) => {
    if (index === current || index < 0) return;
    links[current]?.removeAttribute("aria-current");
    links[current = index].setAttribute("aria-current", "location");
    one("button.contents .place").textContent = index ? links[index].textContent : "";
    const top = links[index].offsetTop;
    if (top < contents.scrollTop || top > contents.scrollTop + contents.clientHeight - 80) contents.scrollTop = top - contents.clientHeight / 3;
  };
  const go = (step) => {
    const index = Math.max(current + step, 0);
    const place = places[index];
    if (!place) return;
    history.replaceState(null, "", index ? links[index].hash : location.pathname + location.search);
    if (index) place.scrollIntoView(); else scrollTo(0, 0);
    place.tabIndex = -1;
    place.focus({ preventScroll: true });
    mark(index);
  };
  const toggle = () => one("button.contents")?.offsetParent && contents.togglePopover();
  if (contents) {
    // The section whose rows cross a line in the upper third of the window.
    const owner = new Map([[one(".head, .opening"), 0]]);
    let last = 0;
    for (const row of all(".rows > .row, .record, .part")) {
      const index = places.indexOf(row);
      if (index > 0) last = index;
      else all("[id]", row).forEach((heading) => { last = Math.max(last, places.indexOf(heading)); });
      owner.set(row, last);
    }
    const watch = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) mark(owner.get(entry.target));
    }, { rootMargin: "-22% 0px -77% 0px" });
    owner.forEach((_, row) => watch.observe(row));
    contents.addEventListener("click", (event) => {
      if (event.target.closest("a") && contents.matches(":popover-open")) contents.hidePopover();
    });
  }
  return { go, toggle };
})();
