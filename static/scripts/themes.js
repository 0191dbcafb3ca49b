// Themes: a button that turns from the system's to the light one, to the dark one and back.
const turn = (() => {
  const themes = ["", "light", "dark"];
  const button = one("button.theme");
  const label = () => { button.firstElementChild.textContent = word(`Theme: ${root.dataset.theme || "system"}`); };
  const turn = () => {
    const next = themes[(themes.indexOf(root.dataset.theme || "") + 1) % 3];
    if (next) root.dataset.theme = next; else delete root.dataset.theme;
    store.set("theme", next);
    label();
    say(button.textContent);
  };
  button.addEventListener("click", turn);
  label();
  return turn;
})();
