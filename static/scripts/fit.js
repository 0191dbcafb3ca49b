// Fit: what scrolls sideways is a stop of the Tab key, what doesn't is none, and a formula a little too wide is made smaller.
// Lines of code are counted, not measured, and the rest is measured when it comes near: a long page is not laid out for this.
{
  const cells = all(".rows .code");
  let boxes, longest;
  const stop = (box, name) => {
    if (!name) return ["tabindex", "role", "aria-label"].forEach((key) => box.removeAttribute(key));
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", name);
  };
  const names = { table: "Table", math: "Formula" };
  const count = () => {
    boxes = all(".table, .math, .prose pre");
    longest = cells.map((cell) => Math.max(...cell.textContent.split("\n").map((line) => line.replace(/[^\0-\x7f]/g, "  ").length)));
  };
  const again = () => boxes.forEach((box) => { near.unobserve(box); near.observe(box); });
  const reach = () => {
    const pre = cells[0]?.firstElementChild;
    const size = pre && parseFloat(getComputedStyle(pre).fontSize);
    const room = pre && (pre.clientWidth - parseFloat(getComputedStyle(pre).paddingRight)) / size;
    cells.forEach((cell, index) => stop(cell.firstElementChild, 3.3 + (longest[index] + 1) * .6 > room && `Code, ${linesOf(cell)}`));
    boxes.forEach((box) => stop(box, names[box.className] || "Code"));
    again();
  };
  const measure = (seen) => {
    const formulas = seen.filter((box) => box.className === "math");
    formulas.forEach((box) => { box.style.fontSize = ""; });
    const fits = formulas.map((box) => Math.max(box.clientWidth / box.scrollWidth, .78));
    formulas.forEach((box, index) => { if (fits[index] < 1) box.style.fontSize = `${fits[index] - .005}em`; });
    const fine = seen.filter((box) => box !== document.activeElement && box.scrollWidth <= box.clientWidth);
    fine.forEach((box) => stop(box));
  };
  const near = new IntersectionObserver((entries) => {
    measure(entries.filter((entry) => entry.isIntersecting).map((entry) => entry.target));
  }, { rootMargin: "100% 0px" });
  count();
  let width = 0;
  new ResizeObserver(() => { if (width !== (width = innerWidth)) reach(); }).observe(root);
  // While a page is written, its cells may be exchanged.
  addEventListener("renew", () => { count(); reach(); });
  document.fonts.ready.then(again);
}
