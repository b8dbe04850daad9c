// Filters the rows of a table by what is chosen above it. Without scripts every row is shown.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-dsocr-filters]");
  if (!form) return;
  const wanted = [...new FormData(form)].filter(([, value]) => value);
  const rows = [...document.getElementById(form.dataset.dsocrFilters).tBodies[0].rows];
  for (const row of rows) {
    row.hidden = wanted.some(([name, value]) => row.dataset[name] !== value);
  }
  const shown = rows.filter((row) => !row.hidden).length;
  form.querySelector("output").value = `${shown} of ${rows.length}`;
});
