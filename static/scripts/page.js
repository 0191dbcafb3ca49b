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
// Said to those who listen to the page.
const say = (text) => { one("#-status").textContent = text; };
// Which lines of the file a cell of code holds, in words.
const linesOf = (cell) => {
  const found = cell.getElementsByClassName("l");
  const [first, last] = [found[0], found[found.length - 1]].map((line) => line.dataset.n);
  return first === last ? `line ${first}` : `lines ${first} to ${last}`;
};
