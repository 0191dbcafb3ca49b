// Search: a dialog, which a button or a key opens. What searches is loaded only then.
const search = (() => {
  const script = document.currentScript.src;
  const dialog = one("#-search");
  const button = one("button.search");
  const load = () => import(script.replace("site.js", "search.js"));
  const open = () => {
    if (!button?.offsetParent || dialog.open) return;
    dialog.showModal();
    one("input", dialog).select();
    load();
  };
  button?.addEventListener("click", open);
  dialog?.addEventListener("keydown", async (event) => {
    if (event.key !== "Enter" || event.isComposing || event.target.localName !== "input") return;
    event.preventDefault();
    (await load()).go();
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
    event.preventDefault();
    open();
  });
  return { open };
})();
