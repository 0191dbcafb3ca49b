// Shapes: what each line made when the file's example ran, as site_builder/results/shapes.py has it. A card says it of a name
// or of a line, and one switch of all lines.
const shapes = (() => {
  const data = one("#-shapes"), button = one("button.shapes"), made = new Map();
  const at = ({ dataset }) => {
    if (data && !made.size) for (const [lines, text] of Object.entries(JSON.parse(data.textContent))) {
      const [first, last = first] = lines.split("-").map(Number);
      const things = text.split("\n").map((part) => {
        const [name, shape = "", kind = "", values = ""] = part.split("|");
        return { name, shape, kind, last, values: values && values.split(" "), told: `${name} ${shape} ${kind}`.replace("  ", " ") };
      });
      for (let number = first; number <= last; number++) made.set(number, things);
    }
    return made.get(Number(dataset.n)) || [];
  };
  // What a name was when it was last made before this place, or else was first made after it.
  const of = ({ line, word, thing }) => {
    let found = [];
    for (const spot of thing === undefined ? [] : names.of(thing)) {
      const here = at(spot.line).filter(({ name }) => name.replace(/\[.*/, "").split(/[ .]/).pop() === word);
      if (here.length && (!found.length || Number(spot.line.dataset.n) <= Number(line.dataset.n))) found = here;
    }
    return found;
  };
  // The numbers of a small tensor, one place along its first axis at a time.
  const strip = ({ name, kind, values }) => {
    const [count, ...rest] = kind.split(",")[0].split("×").map(Number);
    const steps = rest.length ? count : 1, each = values.length / steps, row = rest.at(-1) || each;
    const most = Math.max(...values.map(Math.abs).filter(isFinite)) || 1;
    const box = make("div", [], "strip"), place = make("span", []), cells = make("div", []);
    let index = 0;
    box.step = (by) => {
      index = (index + by + steps) % steps;
      const shown = values.slice(index * each, (index + 1) * each);
      place.textContent = word("{0} of {1}", `${name}[${index}]`, steps);
      cells.replaceChildren(...shown.flatMap((value, number) => {
        const cell = make("i", [value], value < 0 ? "below" : "");
        cell.style.setProperty("--share", Math.min(Math.abs(value) / most, 1) || 0);
        return [cell, (number + 1) % row ? " " : "\n"];
      }));
      if (by) say(`${place.textContent}: ${shown.join(" ")}`);
    };
    const turn = (by, label, sign) => {
      const node = Object.assign(make("button", [sign]), { type: "button", ariaLabel: label });
      node.onclick = () => box.step(by);
      return node;
    };
    if (steps > 1) box.append(make("p", [turn(-1, word("Previous"), "‹"), place, turn(1, word("Next"), "›")]));
    box.append(cells);
    box.step(0);
    return box;
  };
  const nodes = (thing, head) => [
    make("p", [...(head ? [make("code", [thing.name]), ...(thing.shape ? [make("span", [thing.shape], "chip")] : [])] : []), ` ${thing.kind}`], "made"),
    ...(thing.values.length > 1 ? [strip(thing)] : []),
  ];
  const step = (by) => all("#-card .strip").forEach((box) => box.step(by));
  let on = store.get("shapes") === "on";
  const show = () => {
    root.classList.toggle("shaped", on);
    button.ariaPressed = on;
    if (on) for (const line of all(".rows .l")) {
      const here = at(line);
      if (here[0]?.last !== Number(line.dataset.n)) continue;
      line.dataset.made = here.map(({ told }) => told).join("   ");
      line.style.setProperty("--in", `${line.textContent.search(/\S/)}ch`);
    }
  };
  const toggle = () => {
    if (!button) return;
    on = !on;
    store.set("shapes", on && "on");
    show();
  };
  if (button) {
    button.onclick = toggle;
    addEventListener("renew", show);
    show();
  }
  return { at, of, nodes, step, toggle };
})();
