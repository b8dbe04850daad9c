// The section "How many GPUs": the fewest GPUs of each profile for a target, from the steady states that
// the build evaluated. The same rules as serving/planning.py.
globalThis.dsocrFleets = (form) => {
  const engines = JSON.parse(form.dataset.engines);
  const limits = JSON.parse(form.dataset.limits);
  const body = form.querySelector("tbody");
  const message = form.querySelector("[role=status]");
  const limit = (name) => (form.elements[name].value === "" ? Infinity : form.elements[name].valueAsNumber);

  const fleet = (engine, target) => {
    const none = { ...engine, gpus: null };
    if (engine.why) return { ...none, binds: engine.why };
    const slow = ([, , ttft, tpot]) =>
      ttft > target.ttft_ms ? "TTFT target" : tpot > target.tpot_ms ? "TPOT target" : "";
    const allowed = engine.rows.filter((row) => !slow(row));
    if (!allowed.length) return { ...none, binds: slow(engine.rows[0]) };
    const best = allowed.reduce((most, row) => (row[1] > most[1] ? row : most));
    const next = engine.rows[engine.rows.indexOf(best) + 1];
    const gpus = Math.ceil(target.pages_per_day / 86400 / best[1]);
    const each = target.pages_per_day / 86400 / gpus;
    // The concurrency at the target's rate, on a straight line between those that were evaluated.
    const rising = allowed.filter((row) => row[0] <= best[0]);
    const found = rising.findIndex((row) => row[1] >= each);
    const place = found < 0 ? rising.length - 1 : found;
    const [low, high] = [place ? rising[place - 1] : [0, 0], rising[place]];
    const share = Math.min(1, (each - low[1]) / (high[1] - low[1]));
    return {
      ...engine,
      gpus,
      most_gpus: Math.ceil(target.pages_per_day / 86400 / best[1] / (1 - engine.error)),
      concurrency: Math.ceil((low[0] + share * (high[0] - low[0])).toFixed(6)),
      pages_per_s: best[1],
      ttft_ms: high[2],
      tpot_ms: high[3],
      binds: limits[best[4]] || (next && slow(next)) || "GPU",
      usd_per_hour: engine.usd && gpus * engine.usd,
      kwh: engine.watts && (gpus * engine.watts * 24) / target.pages_per_day,
    };
  };

  const text = (value) => {
    if (value === null || value === undefined) return "–";
    return value >= 100 ? Math.round(value).toLocaleString("en-US") : String(+value.toPrecision(3));
  };
  const number = ({ gpus, most_gpus }) =>
    [gpus, ...(most_gpus > gpus ? [most_gpus] : [])].map((value) => value.toLocaleString("en-US")).join("–");
  const milliseconds = (value) => (value === null ? "–" : `${text(value)} ms`);
  const row = (one) => {
    const line = document.createElement("tr");
    const cells = one.gpus
      ? [number(one), one.concurrency.toLocaleString("en-US"), text(one.pages_per_s),
        milliseconds(one.ttft_ms), milliseconds(one.tpot_ms), text(one.usd_per_hour), text(one.kwh)]
      : ["none", "", "", "", "", "", ""];
    line.insertCell().textContent = one.name;
    for (const words of cells) {
      const cell = line.insertCell();
      cell.className = "n";
      cell.textContent = words;
    }
    line.insertCell().textContent = one.binds;
    return line;
  };

  const show = () => {
    const wrong = [...form.elements].find((input) => input.name && !input.checkValidity());
    message.hidden = !wrong;
    if (wrong) {
      message.textContent = `${wrong.parentElement.firstChild.textContent.trim()}: ${wrong.validationMessage}`;
      return;
    }
    const target = { pages_per_day: limit("pages_per_day"), ttft_ms: limit("ttft_ms"), tpot_ms: limit("tpot_ms") };
    const order = (one) => [one.gpus === null, one.usd_per_hour ?? Infinity, one.gpus ?? 0];
    const fleets = engines.map((engine) => fleet(engine, target)).sort((a, b) => {
      const [x, y] = [order(a), order(b)];
      const place = x.findIndex((value, index) => value !== y[index]);
      return place < 0 ? 0 : x[place] < y[place] ? -1 : 1;
    });
    body.replaceChildren(...fleets.map(row));
    form.result = fleets;
  };
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
};
