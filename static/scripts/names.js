// Names: which thing each name of the code is, and where else it stands. A cell of code says in `data-touch`, for each of
// its lines, at which column a name begins and the number of what it is: see site_builder/render/touch.py.
const names = (() => {
  const WORD = /[^\W\d]\w*/uy;
  const wordAt = (text, column) => { WORD.lastIndex = column; return WORD.exec(text)?.[0] || ""; };
  let lines, places;
  // Read when it is first asked for, and again when cells have been exchanged.
  const read = () => {
    if (lines) return;
    lines = new Map();
    places = new Map();
    for (const cell of all(".rows [data-touch]")) {
      const rows = cell.getElementsByClassName("l");
      cell.dataset.touch.split(";").forEach((list, at) => {
        if (!list) return;
        const spots = list.split(" ").map((spot) => {
          const [column, thing] = spot.split(".").map(Number);
          return { line: rows[at], column, thing, word: wordAt(rows[at].textContent, column) };
        });
        lines.set(rows[at], spots);
        spots.forEach((spot) => (places.get(spot.thing) || places.set(spot.thing, []).get(spot.thing)).push(spot));
      });
    }
  };
  addEventListener("renew", () => { lines = null; });

  // The range of some characters of a line.
  const range = (line, column, length) => {
    const found = document.createRange();
    const texts = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
    let begin = 0, started = false;
    for (let node = texts.nextNode(); node; node = texts.nextNode()) {
      const end = begin + node.length;
      if (!started && column < end) { found.setStart(node, column - begin); started = true; }
      if (started && column + length <= end) { found.setEnd(node, column + length - begin); break; }
      begin = end;
    }
    return found;
  };
  const rangeOf = ({ line, column, word }) => range(line, column, word.length);
  const caret = (x, y) => {
    const at = document.caretPositionFromPoint ? document.caretPositionFromPoint(x, y) : document.caretRangeFromPoint?.(x, y);
    return at && { node: at.offsetNode || at.startContainer, offset: at.offset ?? at.startOffset };
  };
  // Letters of a shape are names too: of a size, or of what the code called so last.
  const inChip = (line, column) => {
    const chip = one(".chip", line);
    const begin = chip ? line.textContent.lastIndexOf(chip.textContent) : Infinity;
    const word = [...line.textContent.matchAll(/[^\W\d]\w*/gu)].find(({ index, 0: { length } }) => index <= column && column <= index + length);
    return column >= begin && word ? { line, column: word.index, word: word[0], thing: before(line, word[0]), chip: true } : null;
  };
  const before = (line, word) => {
    let found;
    for (const [other, spots] of lines) {
      if (other !== line && line.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING) break;
      found = spots.find((spot) => spot.word === word)?.thing ?? found;
    }
    return found;
  };
  // What is under the pointer.
  const at = (x, y) => {
    read();
    const place = caret(x, y);
    const line = place?.node.parentElement?.closest(".rows .l");
    if (!line) return null;
    const start = document.createRange();
    start.setStart(line, 0);
    start.setEnd(place.node, place.offset);
    const column = start.toString().length;
    const spot = inChip(line, column)
      || lines.get(line)?.find((each) => each.column <= column && column <= each.column + each.word.length);
    if (!spot) return null;
    const inside = [...rangeOf(spot).getClientRects()].some((box) => x >= box.left - 1 && x <= box.right + 1 && y >= box.top - 2 && y <= box.bottom + 2);
    return inside ? spot : null;
  };
  // The letters of shapes that are a size, or one of some things.
  const chips = (word, things) => all(".rows .chip").flatMap((chip) => {
    const line = chip.closest(".l"), begin = line.textContent.lastIndexOf(chip.textContent);
    const found = [...chip.textContent.matchAll(/[^\W\d]\w*/gu)].filter(([letter]) => letter === word);
    if (!found.length || (things && !things.has(before(line, word)))) return [];
    return found.map(({ index }) => range(line, begin + index, word.length));
  });
  // The shape of a thing, as the first line that makes it says.
  const shape = (spots) => {
    for (const { line, column, word } of spots) {
      const chip = one(".chip", line);
      const text = line.textContent;
      const made = text.search(/(?<![=!<>])=(?!=)|:/);
      if (!chip || made < column || !text.slice(0, made).split(/\W+/).includes(word)) continue;
      const shapes = chip.textContent.match(/\([^()]*\)/g) || [];
      const order = text.slice(0, made).split(",").findIndex((part) => part.trim().split(/\W/).pop() === word);
      if (shapes.length) return shapes[shapes.length > 1 ? Math.max(order, 0) : 0];
    }
    return "";
  };
  const of = (thing) => { read(); return places.get(thing) || []; };
  const called = (word) => { read(); return [...places.values()].filter(([spot]) => spot.word === word).flat(); };
  const lineSpots = (line) => { read(); return lines.get(line) || []; };
  return { at, of, called, chips, shape, rangeOf, lineSpots };
})();
