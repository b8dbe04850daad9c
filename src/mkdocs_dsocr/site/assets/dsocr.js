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

// Sorts the rows of a table by the column whose heading is pressed: the largest first, then the smallest.
document.addEventListener("click", (event) => {
  const heading = event.target.closest("[data-dsocr-sortable] th > button")?.parentElement;
  if (!heading) return;
  const table = heading.closest("table");
  const descending = heading.getAttribute("aria-sort") !== "descending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const value = (row) => {
    const cell = row.cells[heading.cellIndex];
    const input = cell?.querySelector("input");
    const text = input ? input.value : cell?.dataset.value ?? cell?.textContent ?? "";
    return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
  };
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
    return descending ? -order : order;
  });
  table.tBodies[0].append(...rows);
});

// Cost and energy of 1,000 pages from prices and watts that the reader puts in, kept in the browser.
document.addEventListener("input", (event) => {
  const table = event.target.closest("[data-dsocr-cost] table");
  if (table) showCosts(table);
});
const showCosts = (table) => {
  const kept = {};
  for (const row of table.tBodies[0].rows) {
    const [price, watts] = row.querySelectorAll("input");
    for (const input of [price, watts]) if (input.value !== "") kept[input.name] = input.value;
    const rate = Number(row.querySelector("[data-cost=price]").previousElementSibling.dataset.value);
    const hours = 1000 / rate / 3600;
    const put = (name, input, amount) => {
      const cell = row.querySelector(`td[data-cost=${name}]`);
      cell.textContent = input.value !== "" && rate > 0 ? amount.toPrecision(3) : "";
      cell.dataset.value = cell.textContent;
    };
    put("cost", price, price.valueAsNumber * hours);
    put("energy", watts, (watts.valueAsNumber / 1000) * hours);
  }
  localStorage.setItem("dsocr-costs", JSON.stringify(kept));
};

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
    for (const heading of document.querySelectorAll("[data-dsocr-sortable] th")) {
      if (heading.querySelector("button")) continue;
      const button = Object.assign(document.createElement("button"), { type: "button" });
      button.append(...heading.childNodes);
      heading.append(button);
    }
    const costs = document.querySelector("[data-dsocr-cost] table");
    if (costs) {
      const kept = JSON.parse(localStorage.getItem("dsocr-costs") ?? "{}");
      for (const input of costs.querySelectorAll("input")) input.value = kept[input.name] ?? "";
      showCosts(costs);
    }
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
