/* Charts of the board that is shown. Every point can be focused and says what it is; the table has all of it. */

const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a63c9", "#7f7f7f"];
const BOX = { width: 640, height: 380, left: 52, right: 20, top: 16, bottom: 44 };

// As the browser calls it: the page itself names no address.
const SVG = Object.assign(document.createElement("template"), { innerHTML: "<svg></svg>" }).content.firstChild.namespaceURI;

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, text] of Object.entries(attributes)) if (text != null) element.setAttribute(key, text);
  element.append(...children.filter((child) => child != null));
  return element;
}

const canvas = (label, height = BOX.height) => svg("svg", { viewBox: `0 0 ${BOX.width} ${height}`, role: "group", "aria-label": label });

/** From values to places on an axis; logarithmic where asked. */
function axisOf(values, from, to, log) {
  const f = log ? Math.log10 : (v) => v;
  let [low, high] = [Math.min(...values), Math.max(...values)].map(f);
  const pad = (high - low || (log ? 1 : Math.abs(high) || 1)) * 0.06;
  [low, high] = [low - pad, high + pad];
  return { at: (v) => from + ((f(v) - low) / (high - low)) * (to - from), low, high, log };
}

function ticksOf({ low, high, log }) {
  if (log) {
    const found = [];
    for (let power = Math.floor(low); power <= Math.ceil(high); power += 1) for (const m of [1, 2, 5]) {
      const v = m * 10 ** power;
      if (Math.log10(v) >= low && Math.log10(v) <= high) found.push(v);
    }
    return found.length > 8 ? found.filter((v) => Number.isInteger(Number(Math.log10(v).toFixed(9)))) : found;
  }
  const step = [1, 2, 5, 10].map((m) => m * 10 ** Math.floor(Math.log10((high - low) / 4))).find((s) => (high - low) / s <= 6) ?? (high - low) / 4;
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.max(0, Math.floor(high / step) - first + 1) }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

function frame(image, x, y, xTitle, yTitle, xTicks = null) {
  const [right, bottom] = [BOX.width - BOX.right, BOX.height - BOX.bottom];
  for (const v of ticksOf(y)) image.append(
    svg("line", { class: "grid", x1: BOX.left, x2: right, y1: y.at(v), y2: y.at(v) }),
    svg("text", { class: "soft", x: BOX.left - 6, y: y.at(v) + 4, "text-anchor": "end" }, String(v)));
  for (const [v, title] of xTicks ?? ticksOf(x).map((t) => [t, String(t)])) image.append(
    svg("line", { class: "axis", x1: x.at(v), x2: x.at(v), y1: bottom, y2: bottom + 4 }),
    svg("text", { class: "soft", x: x.at(v), y: bottom + 17, "text-anchor": "middle" }, title));
  image.append(
    svg("line", { class: "axis", x1: BOX.left, x2: right, y1: bottom, y2: bottom }),
    svg("line", { class: "axis", x1: BOX.left, x2: BOX.left, y1: BOX.top, y2: bottom }),
    svg("text", { class: "soft", x: (BOX.left + right) / 2, y: BOX.height - 8, "text-anchor": "middle" }, xTitle),
    svg("text", { class: "soft", transform: `translate(13 ${(BOX.top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, yTitle));
}

const overlap = (a, b) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
const shortName = (v, most = 26) => { const name = data.boards.variants[v]; return name.length > most ? `${name.slice(0, most - 1)}…` : name; };

/** Where a label fits without lying on another or on a point: the nearest of rings of places around its point. */
function placeLabel(x, y, text, taken) {
  const [w, h] = [text.length * 6.3 + 4, 14];
  for (let ring = 0; ring < 7; ring += 1) for (const [dx, dy] of [[1, 0], [-1, 0], [0, -1], [0, 1], [0.8, -0.8], [0.8, 0.8], [-0.8, -0.8], [-0.8, 0.8]]) {
    const reach = 9 + ring * 15;
    const box = { x: x + dx * reach - (dx < 0 ? w : dx ? 0 : w / 2), y: y + dy * reach - h / 2, w, h };
    const inside = box.x > BOX.left && box.x + w < BOX.width - 4 && box.y > 2 && box.y + h < BOX.height - BOX.bottom;
    if (inside && !taken.some((other) => overlap(box, other))) { taken.push(box); return { ...box, far: ring > 0 }; }
  }
  return null;
}

/* Quality against cost. */

function drawFront(board) {
  const column = find("#front-cost").value === "hours" ? 9 : 8;
  const number = (text) => Number(text.replaceAll(",", ""));
  const points = board.lines.filter((l) => l[2] && l[column] && number(l[column]) > 0)
    .map((l) => ({ v: l[0], x: number(l[column]), y: Number(l[2]), value: l[2], low: l[4] && Number(l[4]), high: l[5] && Number(l[5]), cost: l[column] }));
  if (!points.length) { find("#front").replaceChildren(make("p", { class: "empty" }, "No ranked method with a cost.")); return; }
  const sign = board.lower ? -1 : 1;
  const [metric, unit] = [find("#board-measure").selectedOptions[0].textContent, column === 9 ? board.unit : "seconds per image"];
  const image = canvas(`${metric} against ${unit}`);
  const x = axisOf(points.map((p) => p.x), BOX.left, BOX.width - BOX.right, true);
  const y = axisOf(points.flatMap((p) => [p.y, p.low || p.y, p.high || p.y]), BOX.height - BOX.bottom, BOX.top, false);
  frame(image, x, y, unit, metric);
  const front = points.filter((p) => !points.some((q) => q.x <= p.x && sign * q.y >= sign * p.y && (q.x < p.x || q.y !== p.y)));
  front.sort((a, b) => a.x - b.x);
  image.append(svg("path", { class: "front", d: front.map((p, i) => `${i ? `H${x.at(p.x)}V` : `M${x.at(p.x)} `}${y.at(p.y)}`).join("") }));
  const taken = points.map((p) => ({ x: x.at(p.x) - 6, y: y.at(p.y) - 6, w: 12, h: 12 }));
  const ordered = [...points].sort((a, b) => front.includes(b) - front.includes(a));
  for (const p of ordered) image.append(frontPoint(p, x.at(p.x), y, front.includes(p), taken, unit));
  find("#front").replaceChildren(image);
}

function frontPoint(p, x, y, best, taken, unit) {
  const told = `${data.boards.variants[p.v]}: ${p.value}${p.low ? ` (${p.low} – ${p.high})` : ""}, ${p.cost} ${unit}`;
  const label = shortName(p.v);
  const box = placeLabel(x, y.at(p.y), label, taken);
  return svg("g", { class: `dot${best ? " best" : ""}`, tabindex: 0, role: "img", "aria-label": told }, svg("title", {}, told),
    p.low ? svg("line", { class: "whisker", x1: x, x2: x, y1: y.at(p.low), y2: y.at(p.high) }) : null,
    box?.far ? svg("line", { class: "lead", x1: x, y1: y.at(p.y), x2: Math.max(box.x, Math.min(x, box.x + box.w)), y2: box.y + box.h / 2 }) : null,
    svg("circle", { cx: x, cy: y.at(p.y), r: 4.5 }),
    box ? svg("text", { x: box.x + 2, y: box.y + 11 }, label) : null);
}

/* By number of shots: the same board with every other number of shots. */

function drawShots(board) {
  const alike = boards.filter((b) => [0, 1, 2, 3].every((i) => b.at[i] === board.at[i])).sort((a, b) => a.at[4] - b.at[4]);
  find("#shots-article").hidden = alike.length < 2;
  if (alike.length < 2) return;
  const lines = new Map();
  alike.forEach((b, k) => b.lines.forEach((l) => { if (l[2]) lines.set(l[0], [...(lines.get(l[0]) ?? []), [k, Number(l[2])]]); }));
  const metric = find("#board-measure").selectedOptions[0].textContent;
  const image = canvas(`${metric} by number of shots`);
  const values = [...lines.values()].flat().map(([, v]) => v);
  if (!values.length) { find("#by-shots").replaceChildren(make("p", { class: "empty" }, "No method has all of its trials.")); return; }
  const x = axisOf(alike.map((_, k) => k), BOX.left, BOX.width - 150, false);
  const y = axisOf(values, BOX.height - BOX.bottom, BOX.top, false);
  frame(image, x, y, "training images", metric, alike.map((b, k) => [k, [...find("#board-shots").options].find((o) => o.value === b.at[4]).textContent]));
  const best = board.lines.filter((l) => l[1]).slice(0, COLOURS.length).map((l) => l[0]);
  const taken = [];
  const drawn = [...lines].sort(([a], [b]) => best.includes(a) - best.includes(b));
  for (const [v, points] of drawn) image.append(shotsLine(v, points, x, y, best.indexOf(v), taken, alike));
  find("#by-shots").replaceChildren(image);
}

function shotsLine(v, points, x, y, colour, taken, alike) {
  const told = `${data.boards.variants[v]}: ${points.map(([k, value]) => `${value} (${[...find("#board-shots").options].find((o) => o.value === alike[k].at[4]).textContent})`).join(", ")}`;
  const stroke = colour < 0 ? "var(--faint)" : COLOURS[colour];
  const [k, value] = points.at(-1);
  let label = null;
  if (colour >= 0) {
    let at = y.at(value);
    while (taken.some((other) => Math.abs(other - at) < 13)) at += 13;
    if (at < BOX.height - BOX.bottom + 8) { taken.push(at); label = svg("text", { x: x.at(alike.length - 1) + 12, y: at + 4 }, shortName(v, 20)); }
  }
  return svg("g", { class: `line${colour < 0 ? " rest" : ""}`, tabindex: 0, role: "img", "aria-label": told }, svg("title", {}, told),
    svg("path", { stroke, d: points.map(([at, value], i) => `${i ? "L" : "M"}${x.at(at)} ${y.at(value)}`).join("") }),
    ...points.map(([at, value]) => svg("circle", { cx: x.at(at), cy: y.at(value), r: 3, fill: stroke })),
    label ? svg("line", { class: "lead", x1: x.at(k) + 4, y1: y.at(value), x2: x.at(alike.length - 1) + 10, y2: Number(label.getAttribute("y")) - 4 }) : null, label);
}

/* Mean ranks, and the difference that would be needed. */

function drawCritical(board) {
  const { why, needed, ranks } = board.critical;
  find("#critical-words").textContent = why;
  if (!needed) { find("#critical").replaceChildren(); return; }
  const height = 70 + 15 * ranks.length;
  const image = canvas("Mean ranks", height);
  const x = axisOf(ranks.map(([, r]) => r), 210, BOX.width - 210, false);
  const half = Math.ceil(ranks.length / 2);
  image.append(svg("line", { class: "axis", x1: 205, x2: BOX.width - 205, y1: 34, y2: 34 }));
  for (const v of ticksOf(x)) image.append(svg("text", { class: "soft", x: x.at(v), y: 26, "text-anchor": "middle" }, String(v)));
  const bars = alikeBars(ranks.map(([, r]) => r), needed);
  bars.forEach(([a, b], i) => image.append(svg("line", { class: "bar-of-alike", x1: x.at(a) - 3, x2: x.at(b) + 3, y1: 42 + 6 * i, y2: 42 + 6 * i })));
  ranks.forEach(([v, r], i) => {
    const left = i < half;
    const y = 60 + 6 * bars.length + 22 * (left ? i : ranks.length - 1 - i);
    image.append(svg("path", { class: "lead", fill: "none", d: `M${x.at(r)} 34V${y}H${left ? 200 : BOX.width - 200}` }),
      svg("text", { x: left ? 196 : BOX.width - 196, y: y + 4, "text-anchor": left ? "end" : "start" }, `${shortName(v, 22)} ${r.toFixed(1)}`));
  });
  image.setAttribute("viewBox", `0 0 ${BOX.width} ${80 + 6 * bars.length + 22 * half}`);
  find("#critical").replaceChildren(image);
}

/** The longest runs of mean ranks within the critical difference. */
function alikeBars(ranks, needed) {
  const found = [];
  ranks.forEach((low, i) => {
    const end = ranks.findLastIndex((r) => r - low <= needed);
    if (end > i && !found.some(([, , last]) => last >= end)) found.push([low, ranks[end], end]);
  });
  return found;
}

/* Win rates. */

function drawWins(board) {
  const rates = data.boards.wins.find((w) => w.dataset === board.at[0] && w.protocol === board.at[1] && w.subset === board.at[3]);
  const table = find("#wins");
  find("#wins-article").hidden = !rates;
  find("#wins-told").textContent = "";
  if (!rates) return;
  find("#wins-units").textContent = `subset: ${find("#board-subset").selectedOptions[0].textContent}`;
  const name = (v) => data.boards.variants[v];
  table.tHead.replaceChildren(make("tr", {}, make("th", { class: "stub", scope: "col" }, "wins against"), ...rates.variants.map((v) => make("th", { scope: "col" }, name(v)))));
  table.tBodies[0].replaceChildren(...rates.variants.map((v, i) => make("tr", {}, make("th", { scope: "row" }, name(v)),
    ...rates.variants.map((w, j) => winCell(rates.cells[i][j], i === j, `${name(v)} against ${name(w)}`)))));
}

function winCell(cell, self, pair) {
  if (self || !cell) return make("td", { class: "self" }, self ? "" : "–");
  const [rate, low, high, units] = cell;
  const told = `${pair}: wins ${rate} % (${low} – ${high}) of ${units}`;
  const side = low > 50 ? "above" : high < 50 ? "below" : "unsure";
  const shown = make("td", { class: side, tabindex: 0, title: told, onfocus: () => tellWins(told), onmouseenter: () => tellWins(told) }, String(rate));
  shown.style.setProperty("--far", Math.round(8 + Math.abs(rate - 50) / 2));
  return shown;
}

const tellWins = (told) => { find("#wins-told").textContent = told; };

function drawComparison(board) {
  find("#comparison-name").textContent = board.name;
  drawFront(board);
  drawShots(board);
  drawCritical(board);
  drawWins(board);
}
