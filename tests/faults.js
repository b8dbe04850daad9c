// What is wrong with the look of a page of ours, in words; `width` is that of the window.
(width) => {
  const found = [];
  // What is collapsed has a look too.
  for (const part of document.querySelectorAll(".dsocr details")) part.open = true;
  const name = (e) => `${e.tagName.toLowerCase()}.${e.getAttribute("class") ?? ""} ${(e.textContent ?? "").trim().slice(0, 40)}`;
  const root = document.querySelector("article") ?? document.body;
  if (document.documentElement.scrollWidth > document.documentElement.clientWidth) found.push("the page scrolls sideways");
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) found.push(`id twice: ${id}`);
  // Prose of the reference may speak of NaN; a figure is in a block of ours, or a cell of its own.
  const cells = [...root.querySelectorAll("td")].filter((cell) => !cell.textContent.trim().includes(" "));
  const figures = [...root.querySelectorAll(".dsocr"), ...cells].map((e) => e.innerText).join("\n");
  if (/\bNaN\b|undefined|Infinity/.test(figures)) found.push("NaN or undefined in the text");
  const isShown = (e) => e.checkVisibility() && e.getBoundingClientRect().width > 0;
  for (const table of root.querySelectorAll("table")) {
    if (!table.tBodies[0]?.rows.length && !table.closest("[data-planner-on]")) found.push(`empty table: ${name(table)}`);
    const frame = table.closest(".dsocr-scroll, .md-typeset__scrollwrap");
    if (!isShown(table)) continue;
    if (width >= 1280 && frame && frame.scrollWidth > frame.clientWidth + 1) found.push(`columns are hidden (${frame.scrollWidth} > ${frame.clientWidth}): ${name(table)}`);
    if (!frame && table.getBoundingClientRect().right > root.getBoundingClientRect().right + 1) found.push(`table overflows: ${name(table)}`);
  }
  // Text of charts: inside the frame of its chart, and readable on what is behind it.
  const rgb = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const over = (top, below) => { const a = top[3] ?? 1; return [0, 1, 2].map((i) => a * top[i] + (1 - a) * below[i]); };
  const page = rgb(getComputedStyle(document.body).backgroundColor);
  const ground = page.length === 4 && page[3] === 0 ? [255, 255, 255] : page;
  for (const svg of root.querySelectorAll(".dsocr svg")) {
    if (!isShown(svg)) continue;
    const box = svg.getBoundingClientRect();
    const frame = svg.closest(".dsocr-wide, .dsocr-scroll, .dsocr-switch > div");
    if (!frame && box.right > root.getBoundingClientRect().right + 1) found.push(`svg overflows: ${name(svg)}`);
    // Lines over axes shrink with the screen; other charts scroll where it is small.
    if (svg.matches(".dsocr-plot:not(.dsocr-roofline)") && box.width > frame.clientWidth + 1) found.push(`chart is cropped (${Math.round(box.width)} > ${frame.clientWidth}): ${name(svg)}`);
    const boxes = [...svg.querySelectorAll("rect")].map((r) => [r.getBoundingClientRect(), r]);
    for (const text of svg.querySelectorAll("text")) {
      const t = text.getBoundingClientRect();
      if (!t.width) continue;
      if (t.left < box.left - 1 || t.right > box.right + 1 || t.top < box.top - 2 || t.bottom > box.bottom + 2) found.push(`text is cut: ${name(text)} in ${name(svg)}`);
      if (t.height < 8) found.push(`text of ${t.height.toFixed(1)} px: ${name(text)}`);
      const behind = boxes.filter(([b]) => b.left <= t.left + 1 && b.right >= t.right - 1 && b.top <= t.top + 3 && b.bottom >= t.bottom - 3);
      let colour = ground;
      for (const [, rect] of behind) {
        const style = getComputedStyle(rect);
        const fill = rgb(style.fill);
        if (fill.length > 2) colour = over([...fill.slice(0, 3), (fill[3] ?? 1) * Number(style.fillOpacity)], colour);
      }
      const ink = rgb(getComputedStyle(text).fill);
      const [a, b] = [light(over(ink, colour)), light(colour)].sort((x, y) => y - x);
      if ((a + 0.05) / (b + 0.05) < 4.5) found.push(`contrast ${((a + 0.05) / (b + 0.05)).toFixed(1)}: ${name(text)} in ${name(svg)}`);
    }
    for (const rect of svg.querySelectorAll("rect")) {
      if (rect.parentElement === svg && Number(rect.getAttribute("width")) < 0) found.push(`negative width: ${name(svg)}`);
    }
  }
  return found;
}
