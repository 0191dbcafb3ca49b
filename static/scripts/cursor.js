// Cursor: the keyboard's pointer to symbols and names. One key brings it, arrows move it, Enter holds what it is on and Escape
// takes it away; so a page full of names has no more stops of the Tab key than before.
const cursor = (() => {
  const box = Object.assign(document.createElement("button"), { type: "button", id: "-cursor", hidden: true });
  one("main").append(box);
  const rows = all(".rows > .row");
  let row, stops, index, from;
  const stopsOf = (row) => [
    ...all(".prose .sym", row).filter(symbols.isMarked).map((node) => ({ place: node, thing: symbols.ofMark(node) })),
    ...all(".code .l", row).filter((line) => !line.closest("details:not([open])")).flatMap((line) => [
      ...names.lineSpots(line).map((spot) => ({ place: names.rangeOf(spot), spot, line, thing: symbols.ofName(spot) })),
      ...(shapes.at(line).length ? [{ place: line, line, thing: symbols.ofLine(line) }] : []),
    ]),
  ];
  // Code that scrolls sideways brings its names into view.
  const reveal = ({ place, line }) => {
    (line || place).scrollIntoView({ block: "nearest" });
    const pane = line?.closest("pre");
    const [shown, name] = [pane?.getBoundingClientRect(), place.getBoundingClientRect()];
    if (pane && (name.right > shown.right || name.left < shown.left)) pane.scrollLeft += name.left - shown.left - shown.width / 2;
  };
  const put = () => {
    const stop = stops[index];
    reveal(stop);
    const { left, top, width, height } = stop.place.getBoundingClientRect();
    Object.assign(box.style, { left: `${left + scrollX}px`, top: `${top + scrollY}px`, width: `${width}px`, height: `${height}px` });
    box.hidden = false;
    const { name, made = [], line } = stop.thing;
    box.setAttribute("aria-label", [...(made.length && !line ? [] : [name]), ...made.map(({ told }) => told)].join(", "));
    box.focus({ preventScroll: true });
    symbols.show(stop);
  };
  // To the row's first stop or its last, or on to the next row that has one.
  const enter = (at, step) => {
    for (; rows[at]; at += step) {
      const found = stopsOf(rows[at]);
      if (!found.length) continue;
      [row, stops, index] = [at, found, step > 0 ? 0 : found.length - 1];
      return put();
    }
  };
  const move = (step) => {
    if (stops[index + step]) { index += step; put(); } else enter(row + step, step);
  };
  const moveLine = (step) => {
    const { line } = stops[index];
    let at = index;
    while (stops[at] && stops[at].line === line) at += step;
    if (!line) return move(step);
    if (!stops[at]) return enter(row + step, step);
    index = at;
    while (step < 0 && stops[index - 1]?.line === stops[at].line && stops[at].line) index--;
    put();
  };
  const end = () => { if (!box.hidden) { box.hidden = true; symbols.leave(); } };
  const start = () => {
    from = document.activeElement;
    const near = rows.indexOf(from.closest?.(".row"));
    enter(near < 0 ? rows.findIndex((row) => row.getBoundingClientRect().bottom > 120) : near, 1);
  };
  const steps = { ArrowRight: () => move(1), ArrowLeft: () => move(-1), ArrowDown: () => moveLine(1), ArrowUp: () => moveLine(-1) };
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { end(); from?.focus({ preventScroll: true }); }
    if (!steps[event.key]) return;
    event.preventDefault();
    steps[event.key]();
  });
  box.addEventListener("click", () => symbols.hold(stops[index]));
  box.addEventListener("blur", end);
  return { start };
})();
