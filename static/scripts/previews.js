// Previews: beside a link to a place of this site, what is there.
{
  const said = new Map(all("#-previews > p").map((line) => [line.dataset.to, line]));
  const of = (target) => {
    const link = target.closest?.("main a[href]");
    const line = link && said.get(link.getAttribute("href"));
    return line && { link, line };
  };
  let shown;
  const show = ({ link, line }) => {
    shown = link;
    card.show(link, [line.cloneNode(true)]);
  };
  const leave = () => { if (shown) { shown = null; card.hide(); } };
  addEventListener("pointerover", (event) => {
    const found = event.pointerType !== "touch" && of(event.target);
    // A page that scrolls to what has the focus moves under a pointer that rests.
    if (!found) { if (shown !== document.activeElement) leave(); }
    else if (found.link !== shown) show(found);
  });
  addEventListener("focusin", (event) => { const found = event.target.matches(":focus-visible") && of(event.target); if (found) show(found); });
  addEventListener("focusout", leave);
  addEventListener("keydown", (event) => { if (event.key === "Escape") leave(); });
}
