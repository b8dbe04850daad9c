// The formulas of the analytic layers, written by their JavaScript visitor: do not edit.
// Each function takes sizes, formats and rates by name; a vN is what stands in a layer's Python.
globalThis.dsocrFormulas = (() => {
"use strict";
const max = Math.max;
const min = Math.min;

// a less its rest is a multiple of b, so the quotient is exact below 2^53.
const ceilDiv = (a, b) => (a - (a % b)) / b + (a % b > 0 ? 1 : 0);

// To the nearest integer, halves to the even one.
const whole = (x) => {
  const near = Math.round(x);
  return near - x === 0.5 && near % 2 !== 0 ? near - 1 : near;
};

// The sum over equally spaced steps of the largest of four, each in a straight line: where the
// same one is largest at both ends it is so between them; otherwise the range is halved.
const seriesOfMaximum = (a, b, c, d, lastA, lastB, lastC, lastD, steps) =>
  series([a, b, c, d], [lastA, lastB, lastC, lastD], steps);
const series = (starts, ends, steps) => {
  const first = max(...starts);
  const last = max(...ends);
  if (steps <= 1 || starts.some((x, i) => x === first && ends[i] === last)) {
    return (steps * (first + last)) / 2;
  }
  const half = Math.floor(steps / 2);
  const line = (step) => starts.map((x, i) => x + ((ends[i] - x) / (steps - 1)) * step);
  return series(starts, line(half - 1), half) + series(line(half), ends, steps - half);
};

/* FORMULAS */
// What the formulas call a workload's sizes and formats and a GPU's rates: milliseconds for one
// FLOP or byte. A format that the GPU's tensor cores do not know has no rate (NaN).
function inputs(workload, gpu) {
  const x = {
    base_size: workload.base_size,
    image_size: workload.image_size,
    crop: +workload.crop_mode,
    text_only: +Boolean(workload.text_only),
    tiles_w: workload.crop_mode ? workload.crop_grid[0] : 1,
    tiles_h: workload.crop_mode ? workload.crop_grid[1] : 1,
    text_tokens: workload.text_tokens,
    max_new_tokens: workload.max_new_tokens,
    batch: workload.batch_size,
    pages_per_prompt: workload.pages_per_prompt ?? 1,
    batched: +(workload.vision_batching === "batched"),
    last_logits: +(workload.logits_positions === "last"),
    cuda_graph: +(workload.host_mode === "cuda_graph"),
    eager: +(workload.traffic === "eager"),
    ...rates(gpu.of),
  };
  const names = Object.keys(FORMATS);
  const codes = {};
  for (const operand of ["weight", "activation", "kv"]) {
    const format = workload[`${operand}_dtype`];
    codes[`${operand}_dtype`] = names.indexOf(format);
    for (const [what, value] of Object.entries(FORMATS[format])) x[`${operand}_${what}`] = value;
  }
  const wide = +(FORMATS[workload.activation_dtype].bytes >= 2);
  for (const [operand, code] of Object.entries(rated({ ...codes, activation_is_wide: wide }))) {
    x[`${operand}_peak_ms`] = gpu.peak_ms[names[code]] ?? NaN;
  }
  return x;
}

// What one batch of prompts comes to: a workload by the names of its file, a GPU's rates a
// millisecond.
function batch(workload, gpu) {
  const x = inputs(workload, gpu);
  const s = sizes(x);
  const load = LOADS.get(JSON.stringify(workload.expert_load ?? null));
  if (!load) throw new RangeError("expert_load: only that of a workload of this site is known here");
  const programs = { vision, projector, prefill, decode };
  const found = { ...x, steps: s.steps, image_tokens: s.image_tokens };
  for (const [name, stage] of Object.entries(PASSES)) {
    const inputs = { ...x };
    for (const [key, value] of Object.entries(s)) {
      if (key.startsWith(`${name}_`)) inputs[key.slice(name.length + 1)] = value;
    }
    if ("tokens" in inputs) Object.assign(inputs, load(inputs));
    found[`${name}_calls`] = inputs.calls;
    const result = programs[stage](inputs);
    if (inputs.calls && !result.is_known) throw new RangeError(`${name}: no formula is of these sizes`);
    for (const [key, value] of Object.entries(result)) found[`${name}_${key}`] = value;
  }
  return { ...s, ...totals(found) };
}
return { batch, grid };
})();
