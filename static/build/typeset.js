// How the builder has KaTeX typeset a formula. This runs while the site is built, and on no page.
//
// The symbols of a page's notation are marked in KaTeX's tree, once it has been laid out: so whatever is marked, not a hair
// of the formula moves. A symbol is known by its structure, whatever its size, inside fractions, scripts and roots too.
const LOOKS = /^(mord|mtight|(katex-)?sizing|(reset-)?size\d+|vlist\S*|)$/;
const BLANK = /^((katex-)?p?strut|mspace|vlist-s|nulldelimiter)$/;

const contents = (node) => (node.children || []).filter((child) => !(child.classes || []).some((name) => BLANK.test(name)));
const meaning = (node) => (node.classes || []).filter((name) => !LOOKS.test(name)).sort();

// A node in words: its letters, their fonts and how they stand to each other.
const spell = (node) => {
  const names = meaning(node).join(".");
  if (node.text !== undefined) {
    const text = node.text.replace(/\u200b/g, "");
    return names === "mathnormal" ? [...text].map((letter) => `${letter}|${names}`).join(" ") : text && `${text}|${names}`;
  }
  const parts = contents(node).map(spell).filter(Boolean);
  return names || parts.length > 1 ? `${names}(${parts.join(" ")})` : parts[0] || "";
};

// Down to the node that says something by itself.
const unwrap = (node) => {
  const parts = contents(node);
  return node.text === undefined && !meaning(node).length && parts.length === 1 ? unwrap(parts[0]) : node;
};

// Base, subscript and superscript of a node that has scripts.
const scripts = (node) => {
  const [base, table, more] = contents(node);
  if (more || !table || !(table.classes || []).includes("msupsub")) return null;
  const list = table.children[0];
  const rows = list.children[0].children[0].children.map((row) => contents(row)[0]);
  const deep = list.classes.includes("vlist-t2");
  return { base, sub: deep ? rows[0] : null, sup: deep ? rows[1] || null : rows[0] };
};

const spelled = new Map();
const symbolsOf = (list) => list.map((tex, index) => {
  if (!spelled.has(tex)) {
    let parts = [];
    try {
      const html = katex.__renderToDomTree(tex, { strict: "ignore" }).children.at(-1);
      parts = html.children.flatMap(contents).map(unwrap);
    } catch { /* Whoever shows the notation says what is wrong with it. */ }
    const found = parts.length === 1 && scripts(parts[0]);
    const said = (node) => (node ? spell(node) : "");
    spelled.set(tex, {
      words: parts.map(spell),
      scripts: found && { base: said(found.base), sub: said(found.sub), sup: said(found.sup) },
    });
  }
  return { index, ...spelled.get(tex) };
}).filter((symbol) => symbol.words.length);

const mark = (node, symbol) => {
  const names = ["sym", `sym-${symbol.index}`];
  if (node.classes && !(node.children && !node.setAttribute)) node.classes = [...node.classes, ...names];
  else contents(node).forEach((child) => mark(child, symbol));
};

// `d_{\text{model}}` is no `d`, and `q'` no `q`; but `m_t` is an `m`, and `Q^\top` a `Q`.
const renames = ({ sub, sup }) => (sub && /text|mathrm|^\((\w\|mathnormal ?){3,}\)$/.test(spell(sub))) || (sup && /′/.test(spell(sup)));

// Neighbouring letters are one text in KaTeX's tree.
const markLetters = (node, symbols, Span) => {
  const letters = [...node.text];
  const found = letters.map((letter) => symbols.find(({ words }) => words.length === 1 && words[0] === `${letter}|mathnormal`));
  if (!found.some(Boolean)) return;
  const { classes, style, italic } = node;
  const children = letters.map((text, at) => Object.assign(Object.create(Object.getPrototypeOf(node)), node, {
    text, italic: 0, style: {}, classes: found[at] ? ["sym", `sym-${found[at].index}`] : [],
  }));
  const margin = italic > 0 ? { marginRight: `${italic}em` } : {};
  Object.setPrototypeOf(node, Object.getPrototypeOf(Span));
  Object.assign(node, { children, classes, attributes: {}, style: { ...margin, ...style } });
  delete node.text;
};

const walk = (outer, symbols, Span) => {
  const node = unwrap(outer);
  const found = scripts(node);
  if (found) {
    const [base, sub, sup] = [found.base, found.sub, found.sup].map((part) => (part ? spell(part) : ""));
    const whole = symbols.find(({ scripts: s }) => s && s.base === base && s.sub === sub && s.sup === sup);
    if (whole) return mark(node, whole);
    const raised = symbols.find(({ scripts: s }) => s && s.base === base && sub && s.sub === sub && !s.sup);
    if (raised) { mark(unwrap(found.base), raised); mark(unwrap(found.sub), raised); }
    else if (!renames(found)) walk(found.base, symbols, Span);
    [!raised && found.sub, found.sup].forEach((part) => part && walk(part, symbols, Span));
    return;
  }
  const said = spell(node);
  const same = symbols.find(({ words }) => words.length === 1 && words[0] === said);
  if (same) return mark(node, same);
  if (node.text !== undefined) return meaning(node).join() === "mathnormal" && markLetters(node, symbols, Span);
  // What wears an accent is another thing than without.
  if (meaning(node).some((name) => /accent$/.test(name))) return;
  const parts = contents(node);
  for (let at = 0; at < parts.length; at++) {
    const run = symbols.find(({ words }) => words.length > 1 && words.every((word, n) => parts[at + n] && spell(parts[at + n]) === word));
    if (!run) walk(parts[at], symbols, Span);
    else { run.words.forEach((_, n) => mark(parts[at + n], run)); at += run.words.length - 1; }
  }
};

function render(tex, displayMode, known, symbols) {
  // As JSON: a string that was joined of many reaches Python as no string otherwise.
  const said = JSON.stringify;
  try {
    const macros = JSON.parse(known);
    const options = { displayMode, macros, globalGroup: true, strict: "ignore" };
    const tree = katex.__renderToDomTree(tex, options);
    const marked = symbolsOf(JSON.parse(symbols));
    // KaTeX's HTML comes last, behind the MathML.
    const katexTree = displayMode ? tree.children[0] : tree;
    if (marked.length) walk(katexTree.children.at(-1), marked, tree);
    // Of a token only its text is needed, and not the formula that it came from.
    const plain = (key, value) => (key == "tokens" ? value.map(({ text }) => ({ text })) : value);
    return said({ html: tree.toMarkup(), macros: said(macros, plain) });
  } catch (error) { return said({ reason: error.message }); }
}
