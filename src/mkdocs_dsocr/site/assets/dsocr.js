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

// Runs once a page, also where a theme replaces the page's content without loading it.
(() => {
  const scripts = new Map();
  const load = (url) => {
    if (!scripts.has(url)) {
      const script = Object.assign(document.createElement("script"), { src: url });
      scripts.set(url, new Promise((done, fail) => Object.assign(script, { onload: done, onerror: fail })));
      document.head.append(script);
    }
    return scripts.get(url);
  };
  // An element names the scripts that it needs, and the function that brings it to life.
  const wake = async () => {
    for (const element of document.querySelectorAll("[data-dsocr-scripts]")) {
      const urls = element.dataset.dsocrScripts.split(" ").map((path) => new URL(path, location).href);
      for (const url of urls) await load(url);
      globalThis[element.dataset.dsocrRun](element);
    }
  };
  if (typeof document$ !== "undefined") document$.subscribe(wake);
  else if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", wake);
  else wake();
})();
