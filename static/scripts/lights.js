// Lights: shows where a thing stands. What is lit is a list of elements and of ranges in the code; `near` is lit while the
// pointer or the focus is on it, and `held` until it is let go. Ranges are highlighted without touching the page; a browser
// that cannot do so gets marks around them.
const lights = (() => {
  const layers = { near: [], held: [] };
  const wrap = (range) => {
    const node = document.createElement("span");
    node.className = "lit";
    try { range.surroundContents(node); } catch { return null; }
    return node;
  };
  const undo = (node) => { const parent = node.parentNode; node.replaceWith(...node.childNodes); parent?.normalize(); };
  const set = (layer, things) => {
    layers[layer].marks?.forEach(undo);
    layers[layer] = things;
    const lit = new Set([...layers.near, ...layers.held].filter((thing) => thing instanceof Element));
    all(".lit").forEach((node) => { if (!lit.has(node)) node.classList.remove("lit"); });
    lit.forEach((node) => node.classList.add("lit"));
    const ranges = things.filter((thing) => thing instanceof Range);
    if (CSS.highlights) CSS.highlights.set(layer, new Highlight(...ranges));
    // From the last to the first, since a mark divides the text that it stands in.
    else things.marks = ranges.reverse().map(wrap).filter(Boolean);
  };
  return { set, clear: (layer) => { if (layers[layer].length) set(layer, []); } };
})();
