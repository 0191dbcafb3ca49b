// Card: a few words beside what the pointer or the focus is on. It adds to what can be read elsewhere on the page.
const card = (() => {
  const box = Object.assign(document.createElement("div"), { id: "-card", popover: "manual", role: "tooltip" });
  one("main").append(box);
  let described, beside;
  const hide = () => {
    if (box.matches(":popover-open")) box.hidePopover();
    described?.removeAttribute("aria-describedby");
    described = beside = null;
  };
  const put = () => {
    const rect = [...beside.getClientRects()][0];
    const { offsetWidth: width, offsetHeight: height } = box;
    const room = root.clientWidth;
    const left = Math.min(Math.max(rect.left + rect.width / 2 - width / 2, 8), Math.max(room - width - 8, 8));
    const above = rect.top - height - 8 > one(".bar").offsetHeight;
    box.style.left = `${left + scrollX}px`;
    box.style.top = `${(above ? rect.top - height - 8 : rect.bottom + 8) + scrollY}px`;
  };
  // Rows above that are laid out only now move what it stands beside.
  new ResizeObserver(() => { if (beside?.getClientRects().length) put(); }).observe(root);
  // `place` is an element or a range, `content` some nodes.
  const show = (place, content) => {
    hide();
    if (!place.getClientRects().length || !content.length) return;
    box.replaceChildren(...content);
    box.showPopover();
    beside = place;
    put();
    if (place === document.activeElement) {
      described = place;
      place.setAttribute("aria-describedby", box.id);
    }
  };
  return { show, hide };
})();
