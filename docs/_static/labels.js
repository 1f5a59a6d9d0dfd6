// Names the buttons of the theme that open a part of the navigation by the page beside them.
for (const button of document.querySelectorAll("summary:has(> .toctree-toggle)")) {
  const page = button.closest("li").querySelector("a").textContent.trim();
  button.setAttribute("aria-label", `Pages of ${page}`);
}
