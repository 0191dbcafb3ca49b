// Symbols: a symbol in a formula, its name in the code, its letters in shapes and its row in the table of sizes are one
// thing. The pointer or the focus on one of them lights up all, and a click holds them; so it does with any name of the code.
const symbols = (() => {
  const pairs = all(".notation .pair");
  // The tables of sizes: each letter's cells, of which the first is a button.
  const sizes = new Map();
  const press = (node, on) => { if (node.ariaPressed) node.setAttribute("aria-pressed", on); };
  const enable = (node) => {
    node.tabIndex = 0;
    node.setAttribute("role", "button");
    node.setAttribute("aria-pressed", "false");
  };
  const addSize = (code, cells) => {
    const letters = code.textContent.match(/[^\W\d]\w*/gu) || [];
    letters.forEach((letter) => sizes.set(letter, cells));
    code.dataset.size = letters.join(" ");
    enable(code);
  };
  const readSizes = () => {
    for (const table of all(".prose table")) {
      const heads = all("th", table).map((head) => head.textContent.trim().toLowerCase());
      for (const row of all("tbody tr", table)) {
        const cells = [...row.cells];
        cells.forEach((cell, at) => { if (heads[at] === word("size")) all("code", cell).forEach((code) => addSize(code, cells.slice(at, at + 2))); });
      }
    }
  };
  readSizes();
  pairs.forEach(enable);
  const ofPair = new Map(pairs.map((pair, index) => [pair, index]));
  const spotsOf = (index) => (pairs[index].dataset.things || "").split(" ").filter(Boolean).flatMap((thing) => names.of(Number(thing)));
  const tied = (word, thing) => pairs.map((_, index) => index).filter((index) =>
    pairs[index].dataset.name === word || (thing !== undefined && (pairs[index].dataset.things || "").split(" ").includes(String(thing))));

  // A thing: `symbols` by number, `words` that are sizes, `spots` in the code.
  const ofSymbol = (index) => {
    const word = pairs[index].dataset.name;
    return { symbols: [index], words: sizes.has(word) ? [word] : [], spots: spotsOf(index), name: word };
  };
  const isMarked = (node) => pairs.length > 0 && !node.closest("a, .notation");
  const ofMark = (node) => ofSymbol(Number(/\bsym-(\d+)/.exec(node.className)[1]));
  const ofSize = (words) => ({
    symbols: words.flatMap((word) => tied(word)), words, spots: words.flatMap((word) => names.called(word)), name: words.join(", "),
  });
  const ofName = (spot) => {
    const { word, thing } = spot, made = spot.chip ? [] : shapes.of(spot);
    if (sizes.has(word)) return { ...ofSize([word]), made };
    const indices = tied(undefined, thing);
    const spots = indices.length ? indices.flatMap(spotsOf) : thing === undefined ? [] : names.of(thing);
    return { symbols: indices, words: [], spots, name: word, made };
  };
  const ofLine = (line) => ({ symbols: [], words: [], spots: [], name: word("line {0}", line.dataset.n), made: shapes.at(line), line });
  const places = ({ symbols, words, spots }) => [
    ...symbols.flatMap((index) => [pairs[index], ...all(`.prose .sym-${index}`)]),
    ...words.flatMap((word) => [...sizes.get(word), ...names.chips(word)]),
    ...(words.length || !spots.length ? [] : names.chips(spots[0].word, new Set(spots.map(({ thing }) => thing)))),
    ...[...new Set(spots)].map(names.rangeOf),
  ];

  const copies = (node) => {
    const copy = node?.cloneNode(true);
    if (copy) all(".lit, [id]", copy).forEach((part) => { part.classList.remove("lit"); part.removeAttribute("id"); });
    return [...(copy?.childNodes || [])];
  };
  const describe = ({ symbols, words, spots, name, made = [], line }) => {
    if (line) return made.flatMap((thing) => shapes.nodes(thing, true));
    const [first] = words;
    const shape = words.length ? "" : made[0]?.shape || names.shape(spots);
    const uses = new Set(spots).size;
    const count = symbols.length || words.length || uses < 2 ? [] : [make("small", [word("{0} places", uses)])];
    const head = make("p", [
      ...symbols.map((index) => make("span", copies(one(".symbol", pairs[index])), "symbol")),
      make("code", [name]), ...(shape ? [make("span", [shape], "chip")] : []), ...count,
    ]);
    const meaning = first ? copies(sizes.get(first)[1]) : [];
    return [head, ...(meaning.length ? [make("p", meaning)] : []), ...made.flatMap((thing) => shapes.nodes(thing, made.length > 1))];
  };

  // What an element or a place in the code is part of.
  const find = (event) => {
    const node = event.target;
    if (!node.closest || node.closest("#-card")) return null;
    const pair = node.closest(".notation .pair"), size = node.closest("[data-size]");
    // Boxes of a formula lie over each other.
    const symbol = event.clientX !== undefined && node.closest(".prose")
      && document.elementsFromPoint(event.clientX, event.clientY).find((part) => part.matches(".prose .sym"));
    if (pair) return { place: pair, button: pair, thing: ofSymbol(ofPair.get(pair)) };
    if (size) return { place: size, button: size, thing: ofSize(size.dataset.size.split(" ")) };
    if (symbol && isMarked(symbol)) return { place: symbol, thing: ofMark(symbol) };
    const spot = node.closest(".rows .code") && event.clientX !== undefined ? names.at(event.clientX, event.clientY) : null;
    if (spot) return { place: names.rangeOf(spot), spot, link: node.closest("a"), thing: ofName(spot) };
    const line = node.closest(".rows .l");
    return line && shapes.at(line).length ? { place: line, thing: ofLine(line) } : null;
  };
  const same = (one, other) => Boolean(one && other) && one.thing.name === other.thing.name
    && one.thing.symbols.join() === other.thing.symbols.join() && one.thing.spots[0] === other.thing.spots[0];

  let held = null, under = null, later;
  // The table of sizes says by itself what a card would.
  const introduce = ({ place, thing }) => (place.dataset?.size ? card.hide() : card.show(place, describe(thing)));
  const show = (found) => {
    under = found;
    lights.set("near", places(found.thing));
    introduce(found);
  };
  const leave = () => {
    clearTimeout(later);
    if (!under) return;
    under = null;
    lights.set("near", []);
    if (held) introduce(held); else card.hide();
  };
  const hold = (found) => {
    const on = same(held, found) ? null : found;
    if (held?.button) press(held.button, false);
    held = on;
    if (on?.button) press(on.button, true);
    lights.set("held", on ? places(on.thing) : []);
    root.classList.toggle("holding", Boolean(on));
    if (on) introduce(on); else if (!under) card.hide();
    say(on ? [word("{0}: {1} places", on.thing.name, places(on.thing).length), ...(on.thing.made || []).map(({ told }) => told)].join(", ") : "");
  };
  const drop = () => { if (held) hold(held); };

  const moved = (one, other) => one.place !== other.place && (!one.spot || one.spot !== other.spot);
  addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch" || event.buttons) return;
    const found = find(event);
    root.classList.toggle("on-thing", Boolean(found && !found.link && !found.thing.line));
    const tied = found?.thing.symbols.length || found?.thing.words.length;
    if (!tied && !found?.thing.made?.length) leave();
    else if (!under || moved(under, found)) {
      leave();
      // Most of a page is names: a shape waits until the pointer rests.
      if (tied) show(found); else later = setTimeout(show, 300, found);
    }
  });
  root.addEventListener("pointerleave", leave);
  addEventListener("click", (event) => {
    if (event.target.closest?.("button, summary, label, #-card") || !getSelection().isCollapsed) return;
    const found = find(event);
    if (found && !found.link && (found.thing.line || places(found.thing).length)) hold(found);
    else if (!event.target.closest?.("a")) drop();
  });
  const isButton = (node) => node.matches?.("[data-size], .notation .pair");
  addEventListener("focusin", (event) => { if (isButton(event.target)) show(find(event)); });
  addEventListener("focusout", (event) => { if (isButton(event.target)) leave(); });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") { leave(); drop(); card.hide(); }
    if (!isButton(event.target) || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    hold(find(event));
  });
  // While a page is written, its cells may be exchanged: what was lit is gone.
  addEventListener("renew", () => { leave(); drop(); readSizes(); });
  return { ofName, ofLine, ofMark, isMarked, hold, show, leave };
})();
