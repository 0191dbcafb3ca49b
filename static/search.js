// What searches, loaded by `scripts/search.js` when a reader first asks for it: it shows in the dialog of `base.html` what
// Pagefind finds in the index. The field keeps the focus; what is chosen in the list below is said by `aria-activedescendant`.
const site = new URL("..", import.meta.url);
const dialog = document.getElementById("-search");
const [input, close] = dialog.querySelectorAll("input, button");
const [told, list] = dialog.querySelectorAll(".told, #-found");
const PAGES = 8, SECTIONS = 3;
const pagefind = import(new URL("search/pagefind.js", site)).then(async (library) => {
  const metaWeights = { title: 8, acronyms: 12, about: 0 };
  await library.options({ baseUrl: site.pathname, excerptLength: 18, ranking: { metaWeights } });
  return library;
});

// Behind a section's prose the index has the names of its code, in ⟦brackets⟧ of which an excerpt may show a piece.
const excerpt = (html) => {
  const names = [];
  const piece = /(?:^(?=[^⟦]*⟧)|⟦)([^⟦⟧]*)(?:⟧|$)/g;
  const prose = html.replace(piece, (_, words) => { names.push(...words.match(/<mark>.*?<\/mark>/g) ?? []); return " "; });
  return names.length && !prose.includes("<mark>") ? names.map((name) => `<code>${name}</code>`).join(" ") : prose.replace(/[⟦⟧]/g, "");
};
const node = (tag, fields, ...children) => {
  const made = Object.assign(document.createElement(tag), fields);
  made.append(...children);
  return made;
};
const option = (url, title, html, beside) => node("a", { href: url, role: "option", id: "", ariaSelected: "false", tabIndex: -1 },
  node("b", { textContent: title }), ...beside ? [node("small", { textContent: beside })] : [], ...html ? [node("span", { innerHTML: html })] : []);
// Who types a whole name means it.
const isCalled = (page, name) => `${page.meta.title}, ${page.meta.acronyms ?? ""}`.toLowerCase().split(", ").includes(name.toLowerCase());
const group = (page) => {
  const { title, about } = page.meta;
  const [whole, ...rest] = page.sub_results[0]?.anchor ? [null, ...page.sub_results] : page.sub_results;
  const first = option(page.url, title, whole && excerpt(whole.excerpt), about);
  return node("div", { role: "group", ariaLabel: title },
    first, ...rest.slice(0, SECTIONS).map((part) => option(part.url, part.title, excerpt(part.excerpt))));
};

let chosen, latest = Promise.resolve(), asked = "";
const choose = (next) => {
  chosen?.setAttribute("aria-selected", "false");
  chosen = next;
  next?.setAttribute("aria-selected", "true");
  next?.scrollIntoView({ block: "nearest" });
  if (next) input.setAttribute("aria-activedescendant", next.id);
  else input.removeAttribute("aria-activedescendant");
};
const show = (groups, words) => {
  list.replaceChildren(...groups);
  list.dataset.answers = asked;
  const options = [...list.querySelectorAll("a")];
  options.forEach((each, at) => { each.id = `-found-${at}`; });
  list.scrollTop = 0;
  input.setAttribute("aria-expanded", String(options.length > 0));
  choose(options[0]);
  told.textContent = words;
};
const look = async (query) => {
  asked = query;
  if (!query) return show([], "");
  try {
    const { results } = await (await pagefind).search(query);
    const pages = await Promise.all(results.slice(0, PAGES).map((result) => result.data()));
    if (asked !== query) return latest;
    pages.sort((one, other) => isCalled(other, query) - isCalled(one, query));
    const count = results.length === 1 ? "1 page" : `${results.length} pages`;
    const words = results.length > PAGES ? `${count}, the best ${PAGES} of them here` : count;
    show(pages.map(group), results.length ? words : `Nothing is called or says “${query}”.`);
  } catch {
    show([], "The index of the search could not be loaded. Try again later.");
  }
};
const update = () => { const query = input.value.trim(); if (query !== asked) latest = look(query); };
const step = (by) => {
  const options = [...list.querySelectorAll("a")];
  const at = options.indexOf(chosen) + by;
  choose(options[(at + options.length) % options.length]);
};
// A fast typist asks before the answer is there.
export const go = async () => {
  update();
  await latest;
  chosen?.click();
};

input.addEventListener("input", update);
input.addEventListener("keydown", (event) => {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (by) { event.preventDefault(); step(by); }
});
list.addEventListener("click", (event) => { if (event.target.closest("a") && !(event.ctrlKey || event.metaKey || event.shiftKey)) dialog.close(); });
list.addEventListener("pointermove", (event) => { const over = event.target.closest("a"); if (over && over !== chosen) choose(over); });
close.addEventListener("click", () => dialog.close());
// Beside the dialog is its backdrop.
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
update();
