// The page "What if": reads the form, evaluates the formulas (formulas.js, generated from the layer
// definitions), shows the results, and keeps the choices in the page's address. The limits of the
// fields are attributes of the form, made from the same table as the checks of workload files.
globalThis.dsocrPlanner = (form) => {
  const STAGES = ["vision", "projector", "prefill", "decode"];
  const OWN = ["tensor_tflops", "cuda_tflops", "bandwidth_gb_s", "memory_gb", "dispatch_us", "synchronise_us"];
  const most = (name) => Number(form.dataset[name]);
  const field = (name) => form.elements[name];
  const place = (name) => form.querySelector(`[data-planner="${name}"]`);
  const layers = JSON.parse(form.dataset.layers);
  const start = Object.fromEntries(new FormData(form));

  // Integers above 2^53 are rounded by the browser: they are marked.
  const inexact = (value) => (value > Number.MAX_SAFE_INTEGER ? "≈ " : "");
  const significant = (value) => {
    if (!Number.isFinite(value)) return "–";
    if (value === 0 || Math.abs(value) >= 100) return Math.round(value).toLocaleString("en-US");
    return String(+value.toPrecision(3));
  };
  const scaled = (value, unit) => {
    const step = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([size]) => Math.abs(value) >= size);
    return inexact(value) + (step ? `${significant(value / step[0])} ${step[1]}${unit}` : `${significant(value)} ${unit}`);
  };
  const milliseconds = (value) => {
    const step = [[1e3, "s"], [1, "ms"], [1e-3, "µs"]].find(([size]) => value >= size);
    return step ? `${significant(value / step[0])} ${step[1]}` : value === 0 ? "0" : "–";
  };
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const integer = (value) => inexact(value) + Math.round(value).toLocaleString("en-US");

  const workload = () => {
    const number = (name) => field(name).valueAsNumber;
    const result = {
      ...JSON.parse(form.dataset.fixed),
      base_size: number("base_size"),
      image_size: number("image_size"),
      crop_mode: field("crop_mode").checked,
      crop_grid: [number("tiles_w"), number("tiles_h")],
    };
    for (const name of ["text_tokens", "max_new_tokens", "batch_size"]) result[name] = number(name);
    for (const select of form.querySelectorAll("select[data-workload]")) result[select.name] = select.value;
    return result;
  };

  // The chosen GPU with the user's own figures in place of its own. Products in fp32 run on CUDA
  // cores; the formats of tensor cores are in proportion.
  const gpu = () => {
    const profile = structuredClone(dsocrGpus[field("gpu").value].rates);
    const own = (name) => (field(name).value === "" ? null : field(name).valueAsNumber);
    if (own("tensor_tflops") !== null) {
      const scale = 1e-9 / own("tensor_tflops") / (profile.peak_ms.bf16 ?? profile.peak_ms.fp16);
      for (const name in profile.peak_ms) if (name !== "fp32") profile.peak_ms[name] *= scale;
    }
    if (own("cuda_tflops") !== null) profile.peak_ms.fp32 = 1e-9 / own("cuda_tflops");
    if (own("memory_gb") !== null) profile.capacity = own("memory_gb") * 1e9 - profile.reserved;
    for (const name in profile.of) if (OWN.includes(name) && own(name) !== null) profile.of[name] = own(name);
    return profile;
  };

  // The footprint grows almost linearly with the batch: two steps of linear interpolation, then one
  // bisection, until the interval is a single batch size.
  const largestBatch = (chosen, rates) => {
    const excess = (batch_size) => dsocrFormulas.batch({ ...chosen, batch_size }, rates).footprint_bytes - rates.capacity;
    let [low, high] = [1, most("batches")];
    let [below, above] = [excess(low), excess(high)];
    if (!(below <= 0)) return 0;
    if (above <= 0) return high;
    for (let turn = 1; high - low > 1; turn++) {
      const part = turn % 3 ? -below / (above - below) : 0.5;
      const next = Math.min(high - 1, Math.max(low + 1, low + Math.floor(part * (high - low))));
      const found = excess(next);
      if (found <= 0) [low, below] = [next, found];
      else [high, above] = [next, found];
    }
    return low;
  };

  const row = (...cells) => {
    const line = document.createElement("tr");
    for (const cell of cells) {
      const element = line.insertCell();
      element.append(cell);
      if (typeof cell === "string" && line.cells.length > 1) element.className = "n";
    }
    return line;
  };
  const SVG = "http://www.w3.org/2000/svg";
  // A bar of parts: label, amount and class of colour of each.
  const strip = (name, parts, whole) => {
    let x = 0;
    const drawn = parts.filter(([, amount]) => amount > 0).map(([label, amount, kind]) => {
      const bar = document.createElementNS(SVG, "rect");
      const width = (100 * amount) / whole;
      for (const [key, value] of Object.entries({ x, y: 0, width, height: 9, class: kind })) bar.setAttribute(key, value);
      bar.append(Object.assign(document.createElementNS(SVG, "title"), { textContent: label }));
      x += width;
      return bar;
    });
    place(name).replaceChildren(...drawn);
    place(name).setAttribute("aria-label", parts.map(([label]) => label).join(", "));
    place(`${name}_key`).replaceChildren(...parts.flatMap(([label, , kind]) => {
      const square = Object.assign(document.createElement("span"), { className: `dsocr-key ${kind}` });
      return [Object.assign(document.createElement("span"), { textContent: ` ${label}` })].map((text) => (text.prepend(square), text));
    }));
  };

  const compared = (ratio) => {
    if (!Number.isFinite(ratio) || Math.abs(ratio - 1) < 5e-4) return "";
    if (ratio >= 2) return `× ${significant(ratio)}`;
    return `${ratio > 1 ? "+" : "−"}${percent(Math.abs(ratio - 1))}`;
  };

  const FACTS = {
    ttft_ms: milliseconds,
    middle_time_ms: milliseconds,
    tokens_per_s: significant,
    pages_per_s: significant,
    pages_per_day: integer,
    time_ms: milliseconds,
    floor_time_ms: milliseconds,
    image_tokens: integer,
    seq_len: integer,
    footprint_bytes: (value) => scaled(value, "B"),
    largest_batch: (value) => (value === most("batches") ? "at least " : "") + integer(value),
  };
  const MEMORY_FACTS = ["image_tokens", "seq_len", "footprint_bytes", "largest_batch"];
  const RATES = ["tokens_per_s", "pages_per_s", "pages_per_day"];
  const evaluate = () => {
    const [chosen, rates] = [workload(), gpu()];
    const found = dsocrFormulas.batch(chosen, rates);
    if (!found.steps) found.middle_time_ms = found.tokens_per_s = NaN;
    found.pages_per_day = 86400 * found.pages_per_s;
    found.largest_batch = largestBatch(chosen, rates);
    return [chosen, rates, found];
  };
  let before = {};

  // Two scenarios side by side: the inputs in which they differ, and all figures.
  let kept = null;
  const inputs = () => [...form.elements].filter((element) => element.name).map((element) => {
    const label = element.closest("label").textContent.replace(element.textContent, "").trim();
    if (element.type === "checkbox") return [label, element.checked ? "yes" : "no", ""];
    if (element.selectedOptions) return [label, element.selectedOptions[0].textContent, ""];
    const value = element.value || element.placeholder;
    return [label, value ? Number(value).toLocaleString("en-US", { maximumSignificantDigits: 6 }) : "–", ""];
  });
  const figures = () => Object.keys(FACTS).map((name) => {
    const label = place(name).closest("div").firstElementChild.textContent;
    return [label, place(name).textContent, place(`${name}_change`).textContent];
  });
  const showPair = () => {
    place("pair").hidden = kept === null;
    if (kept === null) return;
    const differing = inputs().filter(([label, value]) => kept.get(label) !== value);
    const rows = [...differing, ...figures()];
    place("pair_rows").replaceChildren(...rows.map(([label, value, change]) => row(label, kept.get(label), value, change)));
  };
  const compareWith = (found, scenario) => {
    [before, kept] = [found, scenario];
    place("reference").textContent = kept ? "the kept scenario" : place("reference").dataset.first;
  };

  // What is wrong with the value of one field, in words; empty where nothing is.
  const fault = (element) => {
    const { validity, value } = element;
    const isTooLow = element.step === "any" && value !== "" && Number(value) <= Number(element.min);
    if (!element.willValidate || (validity.valid && !isTooLow)) return "";
    const found = Number(value).toLocaleString("en-US", { maximumFractionDigits: 20 });
    return `Found ${validity.badInput ? "no number" : value === "" ? "nothing" : found}; allowed: ${element.dataset.allowed}.`;
  };
  // What is wrong with all fields, by name; of values that are allowed one by one, together.
  const faults = () => {
    const numbers = [...form.querySelectorAll("input[data-allowed]")];
    const result = Object.fromEntries(numbers.map((element) => [element.name, fault(element)]));
    if (Object.values(result).some(Boolean)) return result;
    const { crop_grid: [across, down], crop_mode } = workload();
    if (crop_mode && across * down > most("tiles")) {
      result.tiles_h = `Found ${integer(across * down)} views; allowed: at most ${integer(most("tiles"))}.`;
    }
    return result;
  };
  const tell = (result) => {
    for (const [name, text] of Object.entries(result)) {
      const note = form.querySelector(`#dsocr-fault-${name}`);
      note.textContent = text;
      note.hidden = !text;
      field(name).setAttribute("aria-invalid", String(Boolean(text)));
      field(name).setAttribute("aria-describedby", note.id);
    }
    return Object.values(result).some(Boolean);
  };
  const refuse = (why) => {
    form.result = null;
    place("message").textContent = `Not computed: ${why}`;
    place("message").hidden = false;
    place("inexact").hidden = place("results").hidden = true;
    for (const name of Object.keys(FACTS)) place(name).textContent = "–";
    for (const name of Object.keys(FACTS)) place(`${name}_change`).textContent = "";
  };

  const show = () => {
    field("tiles_w").disabled = field("tiles_h").disabled = !field("crop_mode").checked;
    if (tell(faults())) return refuse("a value is outside its limits; the field says which are allowed.");
    let evaluated;
    try {
      evaluated = evaluate();
    } catch (error) {
      return refuse(error.message);
    }
    const [chosen, rates, found] = evaluated;
    const tokens = found.seq_len + chosen.max_new_tokens;
    if (tokens > most("tokens")) {
      const text = `Found ${integer(tokens)} tokens per prompt, image and new tokens included; allowed: at most ${integer(most("tokens"))}.`;
      tell({ max_new_tokens: text });
      return refuse("a page has more tokens than are allowed.");
    }
    place("results").hidden = false;
    place("inexact").hidden = !Object.values(found).some(inexact);
    form.result = found;
    // Times need tensor cores for the formats; rates need a batch that fits.
    const isKnown = Number.isFinite(found.time_ms);
    const fits = found.footprint_bytes <= rates.capacity;
    const isShown = (name) => (MEMORY_FACTS.includes(name) ? true : RATES.includes(name) ? isKnown && fits : isKnown);
    for (const [name, write] of Object.entries(FACTS)) {
      place(name).textContent = isShown(name) ? write(found[name]) : "–";
      place(`${name}_change`).textContent = isShown(name) ? compared(found[name] / before[name]) : "";
    }
    const told = [];
    if (!isKnown) told.push("No times: the tensor cores of this GPU do not support a chosen format.");
    const usable = `${scaled(rates.capacity, "B")}${rates.reserved ? `, without the ${scaled(rates.reserved, "B")} that CUDA reserves` : ""}`;
    if (!fits) told.push(`Does not fit: the batch needs ${scaled(found.footprint_bytes, "B")}, the GPU has ${usable}.${isKnown ? " Times are those of the same GPU with enough memory." : ""}`);
    place("message").textContent = told.join(" ");
    place("message").hidden = !told.length;
    for (const timed of form.querySelectorAll("[data-planner-timed]")) timed.hidden = !isKnown;
    if (isKnown) strip("time_strip", STAGES.map((stage) => [`${stage} ${milliseconds(found[`${stage}_time_ms`])}`, found[`${stage}_time_ms`], `dsocr-stage-${stage}`]), found.time_ms);
    const peak = STAGES.reduce((most, stage) => (found[`${stage}_footprint_bytes`] > found[`${most}_footprint_bytes`] ? stage : most));
    const room = Math.max(rates.capacity, found.footprint_bytes);
    strip("memory_strip", [
      ["weights", found.weight_bytes],
      ["KV cache", found[`${peak}_kvcache_bytes`]],
      ["waiting image tokens", found[`${peak}_waiting_bytes`]],
      ["activations", found[`${peak}_activation_bytes`]],
      ["free", Math.max(0, rates.capacity - found.footprint_bytes)],
    ].map(([label, size], index) => [`${label} ${scaled(size, "B")}`, size, index < 4 ? `dsocr-c${index}` : "dsocr-idle"]), room);
    place("memory_note").textContent = `The peak is in ${peak}: ${scaled(found.footprint_bytes, "B")} of ${usable}.`;
    place("memory_note").classList.toggle("dsocr-bad", !fits);
    place("stages").replaceChildren(...STAGES.map((stage) => {
      const of = (name) => found[`${stage}_${name}`];
      const binds = of("host_time_ms") > of("device_time_ms") ? "host" : "GPU";
      const times = [milliseconds(of("time_ms")), percent(of("time_ms") / found.time_ms), of("time_ms") ? binds : "",
        milliseconds(of("device_time_ms")), milliseconds(of("host_time_ms")), milliseconds(of("floor_time_ms"))];
      return row(stage, ...(isKnown ? times : times.map(() => "–")),
        integer(of("dispatches")), scaled(of("tensor_core_flops") + of("cuda_core_flops"), "FLOP"), scaled(of("io_bytes"), "B"), scaled(of("footprint_bytes"), "B"));
    }));
    const device = STAGES.reduce((sum, stage) => sum + found[`${stage}_device_time_ms`], 0);
    const classes = Object.entries(found).flatMap(([key, time]) => {
      const [stage, name] = key.split("_class_");
      return name && time ? [[name, stage, time]] : [];
    });
    classes.sort((a, b) => b[2] - a[2]);
    place("modules").replaceChildren(...classes.slice(0, 10).map(([name, stage, time]) => {
      const link = Object.assign(document.createElement("a"), { href: layers[name] ?? "", textContent: name });
      return row(layers[name] ? link : name, stage, milliseconds(time), percent(time / device));
    }));
    place("yaml").textContent = yaml(chosen);
    showPair();
    remember();
  };

  const yaml = (chosen) => {
    const views = ["image_size", "crop_mode"];
    const crops = ["base_size", "crop_grid", "max_tiles"];
    const unused = [...(chosen.text_only ? views : []), ...(chosen.crop_mode ? [] : crops)];
    const tiles = chosen.crop_grid[0] * chosen.crop_grid[1];
    const all = tiles > most("max_tiles") ? { ...chosen, max_tiles: tiles } : chosen;
    const written = Object.entries(all).filter(([name]) => !unused.includes(name));
    const rates = field("gpu").value;
    const changed = OWN.filter((name) => field(name).value !== "").map((name) => `${name} ${field(name).value}`);
    const lines = [`# on ${rates}${changed.length ? `, with ${changed.join(", ")}` : ""}`, "profile_id: planned"];
    for (const [name, value] of written) lines.push(`${name}: ${Array.isArray(value) ? `[${value.join(", ")}]` : value}`);
    return `${lines.join("\n")}\n`;
  };

  // The address holds what differs from the page's own workload.
  const remember = () => {
    const now = new FormData(form);
    const changed = new URLSearchParams();
    for (const element of form.elements) {
      if (!element.name) continue;
      const value = element.type === "checkbox" ? String(element.checked) : now.get(element.name) ?? element.value;
      const first = element.type === "checkbox" ? String(element.defaultChecked) : start[element.name] ?? element.defaultValue;
      if (value !== first) changed.set(element.name, value);
    }
    const query = changed.size ? `?${changed}` : "";
    if (query !== location.search) history.replaceState(history.state, "", `${location.pathname}${query}${location.hash}`);
  };
  const recall = () => {
    const query = new URLSearchParams(location.search);
    for (const [name, value] of query) {
      const element = field(name);
      if (!element) continue;
      if (element.type === "checkbox") element.checked = value === "true";
      else if (element.tagName !== "SELECT" || [...element.options].some((option) => option.value === value)) element.value = value;
    }
    if ((query.has("page_w") || query.has("page_h")) && !query.has("tiles_w") && !query.has("tiles_h")) follow("page_w");
  };

  const modes = JSON.parse(form.dataset.modes);
  const follow = (name) => {
    if (name === "mode" && modes[field(name).value]) {
      const [base, image, crop] = modes[field("mode").value];
      [field("base_size").value, field("image_size").value, field("crop_mode").checked] = [base, image, crop];
    }
    const isPage = ["page_w", "page_h", "mode"].includes(name);
    const [width, height] = [field("page_w").valueAsNumber, field("page_h").valueAsNumber];
    const hasRule = field("crop_mode").checked && field("image_size").value === form.dataset.tile;
    if (isPage && hasRule && width > 0 && height > 0) {
      const grid = dsocrFormulas.grid({ width, height, max_tiles: most("max_tiles") });
      [field("tiles_w").value, field("tiles_h").value] = [grid.tiles_w, grid.tiles_h];
    }
    if (["tiles_w", "tiles_h"].includes(name)) field("page_w").value = field("page_h").value = "";
    if (["base_size", "image_size", "crop_mode"].includes(name) && field("mode")) field("mode").value = "";
    if (name === "gpu") for (const own of OWN) field(own).value = "";
    const profile = dsocrGpus[field("gpu").value].own;
    for (const own of OWN) field(own).placeholder = profile[own] ?? "";
  };

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    follow(event.target.name);
    show();
  });
  let first = {};
  form.addEventListener("reset", () => setTimeout(() => { compareWith(first, null); follow(""); show(); }));
  place("keep").addEventListener("click", () => {
    if (!form.result) return;
    compareWith(form.result, new Map([...inputs(), ...figures()].map(([label, value]) => [label, value])));
    show();
  });
  place("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText(place("yaml").textContent);
    place("copied").textContent = "copied";
  });
  follow("");
  try {
    before = first = evaluate()[2];
  } catch {
    // The message appears below, where the same is evaluated again.
  }
  recall();
  follow("");
  form.querySelector("[data-planner-off]").hidden = true;
  for (const hidden of form.querySelectorAll("[data-planner-on]")) hidden.hidden = false;
  show();
};
