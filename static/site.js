// What a script adds to a page that reads without one: a theme switch, the current place, keys, copying, notation.
{
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (selector) => document.querySelector(selector);
  const store = {
    get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
    set: (key, value) => { try { value ? localStorage.setItem(key, value) : localStorage.removeItem(key); } catch {} },
  };
  const say = (text) => { one("#-status").textContent = text; };

  // Theme: system, light, dark.
  const themes = ["", "light", "dark"];
  const theme = one("button.theme");
  const label = () => { theme.firstElementChild.textContent = `Theme: ${root.dataset.theme || "system"}`; };
  const turn = () => {
    const next = themes[(themes.indexOf(root.dataset.theme || "") + 1) % 3];
    if (next) root.dataset.theme = next; else delete root.dataset.theme;
    store.set("theme", next);
    label();
    say(theme.textContent);
  };
  theme.addEventListener("click", turn);
  label();

  // The current place: the section whose rows cross a line in the upper third of the window.
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
  if (contents) {
    const owner = new Map([[one(".head"), 0]]);
    let last = 0;
    for (const row of all(".rows > .row, .record")) {
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

  // Keys.
  const go = (index) => {
    const place = places[index];
    if (!place) return;
    history.replaceState(null, "", index ? links[index].hash : location.pathname + location.search);
    if (index) place.scrollIntoView(); else scrollTo(0, 0);
    place.tabIndex = -1;
    place.focus({ preventScroll: true });
    mark(index);
  };
  const page = (rel) => one(`.turn [rel=${rel}]`)?.click();
  const keys = {
    j: () => go(current + 1), k: () => go(Math.max(current - 1, 0)),
    n: () => page("next"), p: () => page("prev"),
    t: turn,
    c: () => one("button.contents")?.offsetParent && contents.togglePopover(),
    "?": () => one("#-keys").togglePopover(),
  };
  const shortcuts = one("#-shortcuts");
  shortcuts.checked = store.get("keys") !== "off";
  shortcuts.addEventListener("change", () => store.set("keys", shortcuts.checked ? "" : "off"));
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, [contenteditable]")) return;
    const act = keys[event.key];
    if (act && (shortcuts.checked || event.key === "?")) { event.preventDefault(); act(); }
  });

  // Copying code gives code.
  const lines = (cell) => {
    const found = cell.getElementsByClassName("l");
    const [first, last] = [found[0], found[found.length - 1]].map((line) => line.dataset.n);
    return first === last ? `line ${first}` : `lines ${first} to ${last}`;
  };
  const write = async (text) => {
    try { await navigator.clipboard.writeText(text); } catch {
      const area = document.body.appendChild(Object.assign(document.createElement("textarea"), { value: text, className: "unseen" }));
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  const addCopy = (cell) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "copy", textContent: "Copy" });
    button.setAttribute("aria-label", `Copy ${lines(cell)}`);
    cell.append(button);
  };
  addEventListener("click", async (event) => {
    const button = event.target.closest(".copy");
    if (!button) return;
    const text = (button.dataset.copy ? document.getElementById(button.dataset.copy) : button.previousElementSibling).textContent;
    await write(text);
    const face = button.firstChild;
    const before = face.data;
    face.data = "Copied";
    say("Copied");
    setTimeout(() => { face.data = before; say(""); }, 1500);
  });
  addEventListener("pointerdown", (event) => {
    const cell = event.target.closest?.(".rows .code, .rows .prose");
    root.dataset.pick = cell ? cell.classList[0] : "";
  });
  addEventListener("copy", (event) => {
    const selection = getSelection();
    const start = selection.anchorNode;
    const from = (start?.nodeType === 1 ? start : start?.parentElement)?.closest(".rows .code");
    if (!from || selection.isCollapsed || event.target.closest?.("textarea")) return;
    const range = selection.getRangeAt(0);
    const piece = range.cloneContents();
    const cells = all(".code pre", piece);
    const text = cells.length ? cells.map((cell) => cell.textContent).join("") : piece.textContent;
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
  });

  // What scrolls sideways is a stop of the Tab key; what doesn't is none. Lines of code are counted, not measured, and the
  // rest is measured when it comes near: a long page is not laid out for this.
  const cells = all(".rows .code");
  let boxes, longest;
  const stop = (box, name) => {
    if (!name) return ["tabindex", "role", "aria-label"].forEach((key) => box.removeAttribute(key));
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", name);
  };
  const names = { table: "Table", math: "Formula" };
  const count = () => {
    boxes = all(".table, .math, .prose pre");
    longest = cells.map((cell) => Math.max(...cell.textContent.split("\n").map((line) => line.replace(/[^\0-\x7f]/g, "  ").length)));
  };
  count();
  const reach = () => {
    const pre = cells[0]?.firstElementChild;
    const size = pre && parseFloat(getComputedStyle(pre).fontSize);
    const room = pre && (pre.clientWidth - parseFloat(getComputedStyle(pre).paddingRight)) / size;
    cells.forEach((cell, index) => stop(cell.firstElementChild, 3.3 + (longest[index] + 1) * .6 > room && `Code, ${lines(cell)}`));
    boxes.forEach((box) => { stop(box, names[box.className] || "Code"); near.unobserve(box); near.observe(box); });
  };
  const measure = (seen) => {
    // A formula a little too wide for its column gets a little smaller.
    const formulas = seen.filter((box) => box.className === "math");
    formulas.forEach((box) => { box.style.fontSize = ""; });
    const fits = formulas.map((box) => Math.max(box.clientWidth / box.scrollWidth, .78));
    formulas.forEach((box, index) => { if (fits[index] < 1) box.style.fontSize = `${fits[index] - .005}em`; });
    const fine = seen.filter((box) => box !== document.activeElement && box.scrollWidth <= box.clientWidth);
    fine.forEach((box) => stop(box));
  };
  const near = new IntersectionObserver((entries) => {
    const seen = entries.filter((entry) => entry.isIntersecting).map((entry) => entry.target);
    measure(seen.filter((box) => !box.classList.contains("code")));
    for (const cell of seen) if (cell.classList.contains("code")) { addCopy(cell); near.unobserve(cell); }
  }, { rootMargin: "100% 0px" });
  cells.forEach((cell) => near.observe(cell));
  let width = 0;
  new ResizeObserver(() => { if (width !== (width = innerWidth)) reach(); }).observe(root);
  // While a page is written, its cells may be exchanged.
  addEventListener("renew", () => { count(); reach(); });
  document.fonts.ready.then(() => boxes.forEach((box) => { near.unobserve(box); near.observe(box); }));

  // Notation: a symbol lights up its name in the code, a name shows its symbol.
  const entries = new Map(all(".notation .pair").map((entry) => [entry.dataset.name, entry]));
  if (entries.size) {
    const uses = new Map();
    const find = () => {
      entries.forEach((_, name) => uses.set(name, []));
      for (const token of all(".rows .code .n, .rows .code .nb, .rows .code .nv")) {
        const name = token.textContent;
        if (uses.get(name)) { uses.get(name).push(token); token.dataset.symbol = name; }
      }
    };
    find();
    addEventListener("renew", find);
    let tip;
    const light = (name, on) => {
      if (!name) return;
      const held = entries.get(name).getAttribute("aria-pressed") === "true";
      [entries.get(name), ...uses.get(name)].forEach((node) => node.classList.toggle("lit", on || held));
    };
    const nameOf = (node) => node.closest?.("[data-symbol], .notation .pair");
    const enter = (event) => {
      const node = nameOf(event.target);
      if (!node) return;
      light(node.dataset.symbol || node.dataset.name, true);
      if (!node.dataset.symbol) return;
      const box = node.getBoundingClientRect();
      tip?.remove();
      tip = Object.assign(document.createElement("div"), { id: "-tip" });
      tip.append(entries.get(node.dataset.symbol).firstElementChild.cloneNode(true));
      tip.setAttribute("aria-hidden", "true");
      tip.style.left = `${box.left + box.width / 2 + scrollX}px`;
      tip.style.top = `${box.top + scrollY}px`;
      document.body.append(tip);
    };
    const leave = (event) => {
      const node = nameOf(event.target);
      if (node) light(node.dataset.symbol || node.dataset.name, false);
      tip?.remove();
    };
    addEventListener("mouseover", enter);
    addEventListener("mouseout", leave);
    addEventListener("focusin", enter);
    addEventListener("focusout", leave);
    const hold = (event) => {
      const entry = event.target.closest?.(".notation .pair");
      if (!entry || (event.type === "keydown" && event.key !== "Enter" && event.key !== " ")) return;
      event.preventDefault();
      entry.setAttribute("aria-pressed", entry.getAttribute("aria-pressed") !== "true");
      light(entry.dataset.name, true);
    };
    addEventListener("click", hold);
    addEventListener("keydown", hold);
    entries.forEach((entry) => {
      entry.tabIndex = 0;
      entry.setAttribute("role", "button");
      entry.setAttribute("aria-pressed", "false");
    });
  }
}
