// What the other modules share. All are parts of one script, `site.js`, so what a module declares outside of its block is
// known to those after it, and to nobody else on the page.
const root = document.documentElement;
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector, within = document) => within.querySelector(selector);
const store = {
  get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
  set: (key, value) => { try { value ? localStorage.setItem(key, value) : localStorage.removeItem(key); } catch {} },
};
const make = (tag, content, className = "") => {
  const node = Object.assign(document.createElement(tag), { className });
  node.append(...content);
  return node;
};
// What we say, in the language of the page, with `{0}`, `{1}` … filled in.
const words = JSON.parse(one("#-words")?.textContent || "{}");
const word = (label, ...given) => (words[label] || label).replace(/\{(\d)\}/g, (_, at) => given[at]);
// Said to those who listen to the page.
const say = (text) => { one("#-status").textContent = text; };
// Which lines of the file a cell of code holds, in words.
const linesOf = (cell) => {
  const found = cell.getElementsByClassName("l");
  const [first, last] = [found[0], found[found.length - 1]].map((line) => line.dataset.n);
  return first === last ? word("line {0}", first) : word("lines {0} to {1}", first, last);
};
