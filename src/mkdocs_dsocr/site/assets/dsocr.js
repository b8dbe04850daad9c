// A scope of its own: a site's other scripts may have the same names.
{
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
      const rate = Number(row.cells[1].dataset.value);
      const hours = 1000 / rate / 3600;
      const put = (name, input, amount) => {
        const cell = row.querySelector(`td[data-cost=${name}]`);
        cell.textContent = input.value !== "" && rate > 0 ? amount.toPrecision(3) : "";
        cell.dataset.value = cell.textContent;
      };
      put("cost", price, price.valueAsNumber * hours);
      put("energy", watts, (watts.valueAsNumber / 1000) * hours);
    }
    try {
      localStorage.setItem("dsocr-costs", JSON.stringify(kept));
    } catch {
      // Storage may be denied or full: the table works without it.
    }
  };

  // Returns the costs that were kept, an object; an empty one where storage is denied or has something else.
  const keptCosts = () => {
    try {
      const kept = JSON.parse(localStorage.getItem("dsocr-costs"));
      return kept !== null && typeof kept === "object" ? kept : {};
    } catch {
      return {};
    }
  };

  // Shows the points of the batch that a slider chooses. Without scripts the workload's own are shown.
  document.addEventListener("input", (event) => {
    const slider = event.target.closest("[data-dsocr-batches]");
    if (!slider) return;
    const batch = slider.dataset.dsocrBatches.split(" ")[event.target.valueAsNumber];
    slider.querySelector("output").value = Number(batch).toLocaleString("en");
    event.target.setAttribute("aria-valuetext", batch);
    for (const group of slider.parentElement.querySelectorAll("g[data-batch]")) {
      group.classList.toggle("dsocr-off", group.dataset.batch !== batch);
    }
  });

  // Marks every use of the symbol under the pointer in the same part of the page, and its meaning.
  document.addEventListener("mouseover", (event) => {
    const part = event.target.closest?.(".dsocr");
    for (const marked of document.querySelectorAll(".dsocr-symbol")) marked.classList.remove("dsocr-symbol");
    const symbol = event.target.closest?.("math msub, math mi, i");
    if (!part || !symbol) return;
    const name = (symbol.closest("msub") ?? symbol).textContent;
    for (const other of part.querySelectorAll("math mi, math msub, i")) {
      if (other.textContent === name && !other.parentElement.closest("msub")) other.classList.add("dsocr-symbol");
    }
    const row = [...part.querySelectorAll("[data-symbol]")].find((one) => one.dataset.symbol.replace("_", "") === name);
    row?.classList.add("dsocr-symbol");
    const formula = symbol.closest("td, p");
    if (row && formula) formula.title = `${name}: ${row.cells[1].textContent}, here ${row.cells[4].textContent}`;
  });

  // Opens what is collapsed before the page is printed.
  window.addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll(".dsocr details")) part.open = true;
  });

  // Makes a table with data-depth on its rows a tree: opened and closed by button or arrow key, filtered by name.
  const growTree = (tools) => {
    const table = document.getElementById(tools.dataset.dsocrTree);
    if (table.dataset.grown) return;
    table.dataset.grown = "true";
    const rows = [...table.tBodies[0].rows];
    const depth = (row) => Number(row.dataset.depth);
    const parents = new Map();
    const path = [];
    for (const row of rows) {
      path.length = depth(row);
      parents.set(row, path.at(-1));
      path.push(row);
    }
    const inner = new Set(parents.values());
    for (const row of rows) {
      const place = row.cells[0].firstElementChild;
      if (!inner.has(row)) {
        place.insertAdjacentHTML("afterend", '<span class="dsocr-twist-none"></span>');
        continue;
      }
      const twist = Object.assign(document.createElement("button"), { type: "button", className: "dsocr-twist" });
      twist.setAttribute("aria-label", `children of ${row.cells[0].textContent.trim()}`);
      twist.setAttribute("aria-expanded", String(depth(row) < 2));
      place.after(twist);
    }
    const twistOf = (row) => row.querySelector(".dsocr-twist");
    const isOpen = (row) => twistOf(row).getAttribute("aria-expanded") === "true";
    const open = (row, state) => twistOf(row)?.setAttribute("aria-expanded", String(state));
    const show = () => {
      const wanted = tools.elements.name.value.trim().toLowerCase();
      const found = new Set();
      for (const row of rows) {
        if (wanted && `${row.cells[0].textContent} ${row.cells[1].textContent}`.toLowerCase().includes(wanted)) {
          for (let above = row; above && !found.has(above); above = parents.get(above)) found.add(above);
        }
      }
      for (const row of rows) {
        const parent = parents.get(row);
        row.hidden = wanted ? !found.has(row) : Boolean(parent) && (parent.hidden || !isOpen(parent));
      }
      tools.querySelector("output").value = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
    };
    tools.addEventListener("input", show);
    tools.addEventListener("submit", (event) => event.preventDefault());
    tools.addEventListener("click", (event) => {
      const state = event.target.dataset.open;
      if (!state) return;
      for (const row of inner) if (row) open(row, state === "all");
      show();
    });
    table.addEventListener("click", (event) => {
      if (!event.target.classList.contains("dsocr-twist")) return;
      const row = event.target.closest("tr");
      open(row, !isOpen(row));
      show();
    });
    table.addEventListener("keydown", (event) => {
      if (!event.target.classList.contains("dsocr-twist")) return;
      const row = event.target.closest("tr");
      const seen = rows.filter((other) => !other.hidden && twistOf(other));
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) twistOf(seen[seen.indexOf(row) + step] ?? row).focus();
      else if (event.key === "ArrowRight") open(row, true);
      else if (event.key === "ArrowLeft" && isOpen(row)) open(row, false);
      else if (event.key === "ArrowLeft" && parents.get(row)) twistOf(parents.get(row)).focus();
      else return;
      event.preventDefault();
      show();
    });
    show();
  };

  // Shows a page for another workload or GPU of the site: what changes is in a script for each pair.
  const kept = new Map(); // the nodes that each address came with
  const changing = (form) => {
    const first = form.closest(".dsocr");
    const every = [...first.parentElement.children];
    return every.slice(every.indexOf(first), every.findLastIndex((one) => one.matches(".dsocr")) + 1);
  };
  const selects = (form) => [form.elements.workload, form.elements.gpu];
  const chosenPair = (form) => selects(form).map((select) => select.value);
  const shownPair = (form) => selects(form).map((select) => [...select.options].find((one) => one.defaultSelected).value);
  const theSwitch = () => document.querySelector("form[data-dsocr-switch]");
  let latest = ""; // a reader may choose again while a script is loading
  const switchTo = async (form, pair, load) => {
    latest = String(pair);
    const built = kept.get(location.pathname) ?? { pair: shownPair(form), nodes: changing(form) };
    kept.set(location.pathname, built);
    let nodes = built.nodes;
    if (String(pair) !== String(built.pair)) {
      const url = new URL(form.dataset.dsocrSwitch.replace("*", pair.join("/")), location).href;
      await load(url);
      if (latest !== String(pair)) return;
      const page = document.createElement("template");
      page.innerHTML = globalThis.dsocrPages[url];
      const blocks = built.nodes.filter((one) => one.matches(".dsocr"));
      for (const place of page.content.querySelectorAll("[data-dsocr-same]")) {
        place.replaceWith(blocks[Number(place.dataset.dsocrSame)].cloneNode(true));
      }
      nodes = [...page.content.children];
    }
    const old = changing(theSwitch());
    old[0].before(...nodes);
    for (const node of old) if (!nodes.includes(node)) node.remove();
    for (const link of document.querySelectorAll("nav a[href^='#']:not([href='#'])")) {
      link.parentElement.hidden = !document.getElementById(decodeURIComponent(link.hash.slice(1)));
    }
  };
  const wantedPair = (form) => {
    const named = new URLSearchParams(location.search);
    const stored = (name) => {
      try {
        return sessionStorage.getItem(`dsocr-${name}`);
      } catch {
        return null;
      }
    };
    return selects(form).map((select, index) => {
      const options = [...select.options].map((option) => option.value);
      return [named.get(select.name), stored(select.name)].find((id) => options.includes(id)) ?? shownPair(form)[index];
    });
  };
  const keepPair = (pair) => {
    history.replaceState(history.state, "", `?${new URLSearchParams({ workload: pair[0], gpu: pair[1] })}${location.hash}`);
    try {
      sessionStorage.setItem("dsocr-workload", pair[0]);
      sessionStorage.setItem("dsocr-gpu", pair[1]);
    } catch {
      // Storage may be denied: the address has the choice.
    }
  };

  // Runs once per page, also where a theme replaces the page's content without loading it.
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
    document.addEventListener("change", async (event) => {
      const form = event.target.closest("form[data-dsocr-switch]");
      if (!form) return;
      keepPair(chosenPair(form));
      await wake();
      theSwitch().elements[event.target.name].focus();
    });
    // An element names the scripts that it needs, and the function that brings it to life.
    const wake = async () => {
      const form = theSwitch();
      if (form) {
        const pair = wantedPair(form);
        if (String(pair) !== String(shownPair(form))) await switchTo(form, pair, load);
        theSwitch().reset();
        theSwitch().hidden = false;
      }
      for (const heading of document.querySelectorAll("[data-dsocr-sortable] th")) {
        if (heading.querySelector("button")) continue;
        const button = Object.assign(document.createElement("button"), { type: "button" });
        button.append(...heading.childNodes);
        heading.append(button);
      }
      for (const tools of document.querySelectorAll("[data-dsocr-tree]")) growTree(tools);
      for (const slider of document.querySelectorAll("[data-dsocr-batches]")) slider.hidden = false;
      const costs = document.querySelector("[data-dsocr-cost] table");
      if (costs) {
        const kept = keptCosts();
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
}
