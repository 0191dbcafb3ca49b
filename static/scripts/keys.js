// Keys: a letter each, which the reader can switch off.
{
  const page = (rel) => (rel === "next" && one(`.turn [data-route~="${store.get("route")}"]`) || one(`.turn [rel=${rel}]`))?.click();
  const keys = {
    j: () => sections.go(1), k: () => sections.go(-1),
    n: () => page("next"), p: () => page("prev"),
    t: turn,
    u: () => cursor.start(),
    c: sections.toggle,
    "/": search.open,
    s: () => shapes.toggle(), ",": () => shapes.step(-1), ".": () => shapes.step(1),
    "?": () => one("#-keys").togglePopover(),
  };
  const shortcuts = one("#-shortcuts");
  shortcuts.checked = store.get("keys") !== "off";
  shortcuts.addEventListener("change", () => store.set("keys", shortcuts.checked ? "" : "off"));
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, [contenteditable]")) return;
    const act = keys[event.key];
    if (act && (shortcuts.checked || event.key === "?")) { event.preventDefault(); act(); }
  });
}
