// Copying: a button at each cell of code as it comes near, and a selection of code that is code.
// A button of class `copy` gives the text of the element that its `data-copy` names, or else of the one before it.
{
  const write = async (text) => {
    try { await navigator.clipboard.writeText(text); } catch {
      const area = document.body.appendChild(Object.assign(document.createElement("textarea"), { value: text, className: "unseen" }));
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  const add = (cell) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "copy", textContent: word("Copy") });
    button.setAttribute("aria-label", word("Copy {0}", linesOf(cell)));
    cell.append(button);
  };
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) { add(target); near.unobserve(target); }
  }, { rootMargin: "100% 0px" });
  all(".rows .code").forEach((cell) => near.observe(cell));
  addEventListener("click", async (event) => {
    const button = event.target.closest(".copy");
    if (!button) return;
    const text = (button.dataset.copy ? document.getElementById(button.dataset.copy) : button.previousElementSibling).textContent;
    await write(text);
    const face = button.firstChild;
    const before = face.data;
    say(face.data = word("Copied"));
    setTimeout(() => { face.data = before; say(""); }, 1500);
  });
  addEventListener("pointerdown", (event) => {
    const cell = event.target.closest?.(".rows .code, .rows .prose");
    root.dataset.pick = cell ? cell.classList[0] : "";
  });
  addEventListener("copy", (event) => {
    const selection = getSelection();
    const start = selection.anchorNode;
    const from = (start?.nodeType === 1 ? start : start?.parentElement)?.closest(".rows .code");
    if (!from || selection.isCollapsed || event.target.closest?.("textarea")) return;
    const range = selection.getRangeAt(0);
    const piece = range.cloneContents();
    const cells = all(".code pre", piece);
    const text = cells.length ? cells.map((cell) => cell.textContent).join("") : piece.textContent;
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
  });
}
