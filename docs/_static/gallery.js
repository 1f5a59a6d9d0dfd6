// The filter of the gallery and of the table of "Where it runs". Without this script the page shows
// all functions.
const form = document.querySelector(".gallery-filter");
const cards = [...document.querySelectorAll(":is(.gallery, .where-matrix) [data-text]")];

function matches(card, wanted) {
  const { family, traits, libraries, year, text } = card.dataset;
  const has = (list, word) => list.split(" ").includes(word);
  return (
    wanted.get("text").toLowerCase().split(/\s+/).every((word) => text.includes(word)) &&
    (!wanted.get("family") || family === wanted.get("family")) &&
    (!wanted.get("library") || has(libraries, wanted.get("library"))) &&
    (!wanted.get("from") || (year && Number(year) >= Number(wanted.get("from")))) &&
    (!wanted.get("to") || (year && Number(year) <= Number(wanted.get("to")))) &&
    wanted.getAll("trait").every((word) => has(traits, word))
  );
}

function show() {
  const wanted = new FormData(form);
  let count = 0;
  for (const card of cards) {
    card.hidden = !matches(card, wanted);
    count += !card.hidden;
  }
  form.querySelector("output").textContent = `${count} function${count === 1 ? "" : "s"}`;
  const given = new URLSearchParams([...wanted].filter(([, value]) => value));
  history.replaceState(null, "", `#${given}`);
}

for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
  for (const field of form.elements) {
    if (field.name !== name) continue;
    if (field.type !== "checkbox") field.value = value;
    else if (field.value === value) field.checked = true;
  }
}
form.hidden = false;
form.addEventListener("input", show);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(show));
show();
