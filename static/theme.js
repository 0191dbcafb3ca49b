// Runs before the first paint, so that a remembered theme doesn't flash.
{
  const root = document.documentElement;
  root.classList.add("js");
  // From a disk no index can be read.
  if (location.protocol !== "file:") root.classList.add("served");
  try {
    const theme = localStorage.getItem("theme");
    if (theme) root.dataset.theme = theme;
  } catch {
    // Storage is switched off: the system decides.
  }
}
