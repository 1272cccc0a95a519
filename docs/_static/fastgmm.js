// The arrows that unfold the navigation have no text: they are named after the page beside them.
document.addEventListener("DOMContentLoaded", () => {
  for (const arrow of document.querySelectorAll("summary:has(.toctree-toggle)")) {
    const page = arrow.closest("li").querySelector("a").textContent;
    arrow.setAttribute("aria-label", `Pages of ${page}`);
  }
});
