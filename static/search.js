// What searches, loaded by `scripts/search.js` when a reader first asks for it: it shows in the dialog of `base.html` what
// Pagefind finds in the index. The field keeps the focus; what is chosen in the list below is said by `aria-activedescendant`.
const site = new URL("..", import.meta.url);
const dialog = document.getElementById("-search");
const [input, close] = dialog.querySelectorAll("input, button");
const [told, list] = dialog.querySelectorAll(".told, #-found");
const PAGES = 8, SECTIONS = 3;
const words = JSON.parse(document.getElementById("-words")?.textContent || "{}");
const word = (label, ...given) => (words[label] || label).replace(/\{(\d)\}/g, (_, at) => given[at]);
const own = document.documentElement.lang;
const pagefind = import(new URL("search/pagefind.js", site)).then(async (library) => {
  const metaWeights = { title: 8, acronyms: 12, about: 0, language: 0 };
  await library.options({ baseUrl: site.pathname, excerptLength: 18, ranking: { metaWeights } });
  return library;
});
// Each sign of a language without blanks is a word of the index.
const SIGN = /[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]/gu;
const WIDE = "[\\u3000-\\u9fff\\uf900-\\ufaff\\uff00-\\uffef]", MARKS = "(?:</?mark>)*";
const SPLIT = new RegExp(`(?<=${WIDE}${MARKS})\\s+(?=${MARKS}${WIDE})`, "gu");
const together = (html) => html.replace(SPLIT, "").replaceAll("</mark><mark>", "");
const find = async (query) => {
  const library = await pagefind, apart = query.replace(SIGN, " $& ").trim();
  const { results } = await library.search(apart);
  if (apart === query || apart.replace(SIGN, "").trim()) return results;
  // Signs are a word where they stand beside each other.
  const there = new Set((await library.search(`"${apart}"`)).results.map(({ id }) => id));
  return results.filter(({ id }) => there.has(id));
};
// All languages are in one index: what is in another than the page's own is for others, and so is what there is in that, too.
const ours = (pages) => pages.filter(({ meta, url }) => {
  const translated = url.replace(site.pathname, `${site.pathname}${own}/`);
  return meta.language ? meta.language === own : !pages.some((page) => page.url === translated);
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
  node("b", { textContent: together(title) }), ...beside ? [node("small", { textContent: together(beside) })] : [], ...html ? [node("span", { innerHTML: together(html) })] : []);
// Who types a whole name means it.
const isCalled = (page, name) => `${together(page.meta.title)}, ${page.meta.acronyms ?? ""}`.toLowerCase().split(", ").includes(name.toLowerCase());
const group = (page) => {
  const { about } = page.meta, title = together(page.meta.title);
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
    const results = await find(query);
    const best = await Promise.all(results.slice(0, PAGES).map((result) => result.data()));
    const pages = ours(best), total = results.length - best.length + pages.length;
    if (asked !== query) return latest;
    pages.sort((one, other) => isCalled(other, query) - isCalled(one, query));
    const count = total === 1 ? word("1 page") : word("{0} pages", total);
    const said = total > PAGES ? word("{0}, the best {1} of them here", count, PAGES) : count;
    show(pages.map(group), total ? said : word("Nothing is called or says “{0}”.", query));
  } catch {
    show([], word("The index of the search could not be loaded. Try again later."));
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
