/* The page without this script is complete but for trials and images, which are drawn from the JSON when asked for. */

const data = JSON.parse(document.getElementById("data").textContent);
/* What is asked for is in the address, so that it can be sent to somebody and survives a refresh. */

const FIELDS = ["board_dataset", "board_protocol", "board_measure", "board_subset", "board_shots", "filter", "category", "method", "shots", "status", "search", "trial", "panel", "a", "b", "kind"];
const state = Object.fromEntries(FIELDS.map((name) => [name, ""]));

function readAddress() {
  const given = new URLSearchParams(location.hash.split("?")[1] ?? "");
  for (const name of FIELDS) state[name] = given.get(name) ?? "";
}

function set(changes, section = location.hash.slice(1).split("?")[0], last = "") {
  Object.assign(state, changes);
  const given = new URLSearchParams(Object.entries(state).filter(([, text]) => text));
  history.replaceState(null, "", `#${section}${given.size ? `?${given}` : ""}`);
  draw(last);
}

/* Filter of all tables of the report. */

function filterTables() {
  const wanted = state.filter.toLowerCase();
  find("#filter").value = state.filter;
  for (const body of all("table.plain tbody")) {
    const group = find("tr.group", body)?.textContent.toLowerCase() ?? "";
    let shown = true;
    for (const row of body.rows) {
      if (row.classList.contains("group")) continue;
      const name = (find("th", row) ?? row.cells[0])?.textContent.toLowerCase() ?? "";
      if (!row.classList.contains("detail")) shown = name.includes(wanted) || group.includes(wanted);
      row.hidden = !shown;
    }
    body.hidden = ![...body.rows].some((row) => !row.hidden && !row.classList.contains("group"));
  }
}

/* Trials. */

const PAGE = 60;
const FULL = 10 ** 9;
const trials = data.trials;
const textOf = (column, i) => column.words[column.index[i]];
const word = (name, i) => textOf(trials.words[name], i);
const shotsWord = (k) => (k === FULL ? "full" : k === 0 ? "zero-shot" : `${k}-shot`);
const shownValue = ({ decimals }, v) => (v == null ? "–" : decimals == null ? (v / 100).toFixed(1) : v.toFixed(decimals));
const measurement = (number) => (number == null ? "–" : String(number));
let shownTrials = PAGE;

/* Words that only a card or a search needs lie in parts of the page where there are many trials. */

const details = trials?.details ? [trials.details] : [];
const detailPart = (i) => (trials.parts ? Math.floor(i / trials.rows) : 0);
const detail = (name, i) => textOf(details[detailPart(i)][name], trials.parts ? i % trials.rows : i);

/** Read what is missing of some parts of the details, then draw again; whether everything is there. */
function haveDetails(numbers) {
  const missing = numbers.filter((n) => !details[n]);
  if (missing.length) withParts(missing.map((n) => trials.parts[n]), (found) => {
    missing.forEach((n, k) => { details[n] = found[k]; });
    drawTrials();
  });
  return !missing.length;
}

let order = { by: null, sign: 1 };

function columns() {
  return [
    ...["variant", "category", "shots", "seed", "status"].map((key) => ({ key, title: key === "variant" ? "method" : key })),
    ...trials.measures.map((measure, m) => ({ key: `m${m}`, title: measure.title, number: true, lower: measure.lower })),
    ...["fit_seconds", "ms_per_image", "peak_rss_mib", "peak_gpu_mib"].map((key) => ({
      key, title: { fit_seconds: "fit, s", ms_per_image: "ms / image", peak_rss_mib: "RSS, MiB", peak_gpu_mib: "GPU, MiB" }[key], number: true,
    })),
  ];
}

function raw(i, key) {
  if (key === "shots") return trials.shots[i];
  if (key.startsWith("m") && /^m\d+$/.test(key)) return trials.measures[key.slice(1)].values[i];
  return key in trials.numbers ? trials.numbers[key][i] : word(key, i);
}

function shownWord(i, key) {
  if (key === "shots") return shotsWord(trials.shots[i]);
  if (/^m\d+$/.test(key)) return shownValue(trials.measures[key.slice(1)], raw(i, key));
  return key in trials.numbers ? measurement(raw(i, key)) : word(key, i);
}

function wantedTrials() {
  const search = state.search.toLowerCase().split(/\s+/).filter(Boolean);
  const known = !search.length || haveDetails(trials.parts ? [...trials.parts.keys()] : [0]);
  const told = (i) => (known ? ["reason", "error_type", "marks", "support"].map((n) => detail(n, i)) : []);
  const text = (i) => [trials.id[i], ...["variant", "category", "status", "seed"].map((n) => word(n, i)), ...told(i)].join(" ").toLowerCase();
  const found = trials.id.map((_, i) => i).filter((i) =>
    (!state.category || word("category", i) === state.category) &&
    (!state.method || word("variant", i) === state.method) &&
    (!state.shots || String(trials.shots[i]) === state.shots) &&
    (!state.status || word("status", i) === state.status) &&
    (!search.length || search.every((part) => text(i).includes(part))));
  if (order.by) found.sort((a, b) => {
    const [x, y] = [raw(a, order.by), raw(b, order.by)];
    return x === null || y === null ? (x === null) - (y === null) : order.sign * compare(x, y);
  });
  return found;
}

function options(select, values, chosen, empty) {
  select.replaceChildren(
    ...[["", empty], ...values].map(([key, title]) => make("option", { value: key, selected: key === chosen }, title)));
}

function drawTrials() {
  const unique = (name) => trials.words[name].words.map((text) => [text, text.replaceAll("_", " ")]);
  options(find("#trial-category"), unique("category"), state.category, "all categories");
  options(find("#trial-method"), trials.words.variant.words.map((t) => [t, t]), state.method, "all methods");
  const shots = [...new Set(trials.shots)].sort((a, b) => a - b);
  options(find("#trial-shots"), shots.map((k) => [String(k), shotsWord(k)]), state.shots, "any shots");
  options(find("#trial-status"), unique("status"), state.status, "any status");
  find("#trial-search").value = state.search;
  const found = wantedTrials();
  find("#trial-count").textContent = `${found.length} of ${trials.id.length} trials`;
  find("#category-methods").replaceChildren(...methodsOfCategory(found));
  const body = make("tbody", {}, ...found.slice(0, shownTrials).flatMap(trialRows));
  find("#trial-table tbody").replaceWith(body);
  find("#more-trials").hidden = found.length <= shownTrials;
}

function trialRows(i) {
  const open = state.trial === trials.id[i];
  const cells = columns().map(({ key, number }) => make("td", { class: number ? "" : "text" }, shownWord(i, key)));
  const toggle = () => set({ trial: open ? "" : trials.id[i] }, "trials");
  const button = make("button", { type: "button", class: "plainbutton", "aria-expanded": String(open), onclick: toggle }, word("variant", i));
  cells[0].replaceChildren(button);
  cells[4].classList.add(`is-${word("status", i)}`);
  const row = make("tr", { class: open ? "open" : "", "data-trial": trials.id[i] }, ...cells);
  return open ? [row, make("tr", { class: "detail" }, make("td", { colspan: cells.length }, trialCard(i)))] : [row];
}

/** A command as a shell takes it: names in a run may hold anything. */
function shell(...words) {
  const plain = /^[\w@%+=:,./-]+$/;
  return words.map((w) => (plain.test(w) ? w : `'${w.replaceAll("'", "'\"'\"'")}'`)).join(" ");
}

function trialCard(i) {
  if (!haveDetails([detailPart(i)])) return make("div", { class: "card" }, "Reading …");
  const run = trials.runs[trials.run[i]];
  const facts = [
    ["trial", trials.id[i]],
    ["marks", detail("marks", i)], ["support", detail("support", i)],
    ["parameters", Object.entries(JSON.parse(detail("params", i) || "{}")).map(([k, v]) => `${k}=${JSON.stringify(v)}`).join("  ")],
    ["weights", detail("weights", i)], ["data set", detail("dataset", i)],
    ["device", detail("device", i)], ["host", detail("host", i)], ["code", detail("git_commit", i)], ["ended", detail("finished_at", i)],
    ["reason", [detail("error_type", i), detail("reason", i)].filter(Boolean).join(": ")],
    ["look closer", shell("python", "-m", "harness.show", run.path, trials.id[i])],
    ["run again", shell("python", "-m", "harness.sweep", run.sweep, "out=runs/again", "--only", `id=${trials.id[i]}`)],
  ].filter(([, text]) => text);
  const list = make("dl", {}, ...facts.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
  const traceback = detail("traceback", i);
  return make("div", { class: "card" }, list, traceback ? make("pre", { tabindex: 0 }, traceback) : null);
}

/** Mean and standard deviation by method and shots, of what is shown of one category. */
function methodsOfCategory(found) {
  if (!state.category || !trials.measures.length) return [];
  const groups = Map.groupBy(found, (i) => `${word("variant", i)}\n${trials.shots[i]}`);
  const rows = [...groups.values()].map((some) => {
    const stats = trials.measures.map(({ values }) => meanOf(some.map((i) => values[i]).filter((v) => v != null)));
    const pick = () => set({ method: word("variant", some[0]), shots: String(trials.shots[some[0]]) }, "trials");
    const name = make("button", { type: "button", class: "plainbutton", onclick: pick }, word("variant", some[0]));
    const cells = stats.map(({ mean, std }, m) => {
      const words = (v) => shownValue(trials.measures[m], v);
      return make("td", {}, `${words(mean)} `, make("span", { class: "sd" }, std == null ? "" : `± ${words(std)}`));
    });
    const worst = trials.measures[0].lower ? Infinity : -Infinity;
    return { mean: stats[0].mean ?? worst, row: make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "text" }, shotsWord(trials.shots[some[0]])), make("td", {}, String(stats[0].n)), ...cells) };
  });
  const head = ["method", "shots", "seeds", ...trials.measures.map((m) => m.title)];
  const sign = trials.measures[0].lower ? -1 : 1;
  const body = rows.sort((a, b) => (a.mean === b.mean ? 0 : sign * (b.mean - a.mean))).map(({ row }) => row);
  const lower = (i) => trials.measures[i - 3]?.lower;
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...head.map((t, i) => make("th", { scope: "col", class: i > 1 ? "" : "text", "data-lower": lower(i) }, t)))), make("tbody", {}, ...body));
  makeSortable(table);
  const pictures = all("#pictures article").find((a) => find("h3", a).textContent.startsWith(state.category.replaceAll("_", " ")));
  return [
    make("h3", {}, state.category.replaceAll("_", " ")),
    make("p", { class: "caption" }, "Mean ± standard deviation over the trials listed below. ",
      pictures ? make("a", { href: `#${pictures.id}` }, "Pictures") : null),
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Methods in this category" }, table),
  ];
}

function meanOf(values) {
  const n = values.length;
  const mean = n ? values.reduce((a, b) => a + b, 0) / n : null;
  const std = n > 1 ? Math.sqrt(values.reduce((s, v) => s + (v - mean) ** 2, 0) / (n - 1)) : null;
  return { mean, std, n };
}

/* Images: what one method finds and another misses. */

const FOUND = 950; // thousandths of the good images below it
const KINDS = {
  differ: ["A finds, B misses", (a, b, bad) => bad && a >= FOUND && b < FOUND],
  missed: ["both miss", (a, b, bad) => bad && a < FOUND && b < FOUND],
  alarms: ["good, high in A", (a, b, bad) => !bad && a >= FOUND],
  all: ["all images", () => true],
};

function drawImages() {
  const panel = data.images.find((p) => panelName(p) === state.panel) ?? data.images[0];
  if (panel.part) {
    withParts([panel.part], ([rest]) => { Object.assign(panel, rest, { part: "" }); drawImages(); });
    return;
  }
  options(find("#image-category"), data.images.map((p) => [panelName(p), panelName(p).replaceAll("_", " ")]).slice(1), state.panel, panelName(data.images[0]).replaceAll("_", " "));
  const index = (given, other) => (panel.methods[Number(given)] && given !== "" ? Number(given) : Math.min(other, panel.methods.length - 1));
  const [a, b] = [index(state.a, 0), index(state.b, 1)];
  for (const [id, chosen] of [["#image-a", a], ["#image-b", b]]) {
    find(id).replaceChildren(...panel.methods.map((m, i) => make("option", { value: i, selected: i === chosen }, `${m.name}, ${m.shots}`)));
  }
  find("#image-kind").replaceChildren(...Object.entries(KINDS).map(([key, [title]]) => make("option", { value: key, selected: key === (state.kind || "differ") }, title)));
  const label = (i) => panel.labels.words[panel.labels.index[i]];
  const [A, B] = [panel.methods[a].above, panel.methods[b].above];
  const wanted = KINDS[state.kind || "differ"][1];
  const found = panel.names.map((_, i) => i).filter((i) => wanted(A[i] ?? 0, B[i] ?? 0, label(i) !== "good"));
  found.sort((x, y) => (A[y] - B[y]) - (A[x] - B[x]));
  find("#image-count").textContent = `${found.length} of ${panel.names.length} images`;
  find("#image-table tbody").replaceWith(make("tbody", {}, ...found.slice(0, 4 * PAGE).map((i) => imageRow(panel, i, a, b, label(i)))));
  find("#image-a-head").textContent = panel.methods[a].name;
  find("#image-b-head").textContent = panel.methods[b].name;
}

const panelName = (panel) => (new Set(data.images.map((p) => p.dataset)).size > 1 ? `${panel.category} · ${panel.dataset}` : panel.category);

function imageRow(panel, i, a, b, label) {
  const picture = find(`tr[data-image="${CSS.escape(`${panel.category}/${panel.names[i]}`)}"] img`);
  const bars = [a, b].map((m) => {
    const share = panel.methods[m].above[i];
    return make("td", {}, share == null ? "–" : make("span", { class: "bar", style: `--share:${share / 10}%` }, `${(share / 10).toFixed(1)} %`));
  });
  const look = picture ? make("a", { href: `#${(picture.closest("tr").id)}` }, make("img", { src: picture.src, alt: picture.alt, loading: "lazy" })) : null;
  return make("tr", {}, make("th", { scope: "row" }, look, make("span", {}, panel.names[i])), make("td", { class: "text" }, label), ...bars);
}

/* Putting it together. */

function draw(last = "") {
  drawBoard(last);
  filterTables();
  if (trials?.id.length) drawTrials();
  if (data.images?.length) drawImages();
}

function listen(id, event, name, section, more = {}) {
  find(id)?.addEventListener(event, (e) => { shownTrials = PAGE; set({ [name]: e.target.value, ...more }, section); });
}

function prepare() {
  prepareBoards();
  for (const table of all("table.plain")) makeSortable(table);
  for (const fold of all("details[data-part]")) fold.addEventListener("toggle", () => bring(fold));
  for (const section of all("[data-needs]")) section.hidden = !(data[section.dataset.needs]?.id ?? data[section.dataset.needs])?.length;
  for (const link of all("nav a")) link.hidden = find(link.getAttribute("href"))?.hidden ?? true;
  const head = columns().map(({ key, title, number, lower }) => {
    const button = make("button", { type: "button", class: "sort" }, title);
    const heading = make("th", { scope: "col", class: number ? "" : "text" }, button);
    button.addEventListener("click", () => {
      order = { by: key, sign: order.by === key ? -order.sign : lower ? -1 : 1 };
      for (const other of all("#trial-table th")) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", order.sign > 0 ? "descending" : "ascending");
      drawTrials();
    });
    return heading;
  });
  find("#trial-table thead tr")?.replaceChildren(...head);
  listen("#filter", "input", "filter");
  for (const name of ["category", "method", "shots", "status"]) listen(`#trial-${name}`, "change", name, "trials");
  listen("#trial-search", "input", "search", "trials");
  listen("#image-category", "change", "panel", "images", { a: "", b: "" });
  for (const name of ["a", "b", "kind"]) listen(`#image-${name}`, "change", name, "images");
  find("#more-trials")?.addEventListener("click", () => { shownTrials += 5 * PAGE; drawTrials(); });
  find("#clear-trials")?.addEventListener("click", () => { shownTrials = PAGE; set({ category: "", method: "", shots: "", status: "", search: "", trial: "" }, "trials"); });
  for (const form of all("form")) form.addEventListener("submit", (e) => e.preventDefault());
  addEventListener("hashchange", () => { readAddress(); draw(); unfold(); });
  const seconds = Number(document.body.dataset.watched);
  if (seconds) setTimeout(() => location.reload(), 1000 * seconds);
}

/** Tables of a large page come when they are unfolded. */
function bring(fold) {
  if (!fold.open || !fold.dataset.part) return;
  withParts([fold.dataset.part], ([markup]) => {
    delete fold.dataset.part;
    fold.querySelector(".later").outerHTML = markup;
    for (const table of all("table.plain", fold)) makeSortable(table);
    filterTables();
  });
}

/** A link into a folded table opens it. */
function unfold() {
  const target = document.getElementById(location.hash.slice(1).split("?")[0]);
  if (target?.tagName === "DETAILS") target.open = true;
  target?.scrollIntoView();
}

