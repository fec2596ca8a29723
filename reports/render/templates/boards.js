/* Leaderboards: what can be switched without another page. Numbers come printed, as the first board's did. */

const boards = data.boards?.boards ?? [];
const AXES = ["dataset", "protocol", "measure", "subset", "shots"];
const boardField = (axis) => `board_${axis}`;
let shownBoard = null;
let comparedBoard = null;

/** The board of these choices, or the one nearest to them that has what was chosen last. */
function chosenBoard(last = "") {
  const wanted = AXES.map((axis) => state[boardField(axis)] || null);
  const fits = (board) => AXES.reduce((sum, axis, i) =>
    sum + (wanted[i] === null || board.at[i] === wanted[i] ? (axis === last ? 100 : 10 - i) : 0), 0);
  return boards.reduce((best, board) => (fits(board) > fits(best) ? board : best), boards[0]);
}

/** A name with what its settings differ in on a line of its own. */
function named(variant) {
  const at = variant.indexOf("[");
  const end = variant.lastIndexOf("]");
  return at < 0 ? [variant] : [variant.slice(0, at) + variant.slice(end + 1), make("small", {}, variant.slice(at + 1, end))];
}

function boardRow(line, letters) {
  const [v, rank, value, std, low, high, meanRank, gain, seconds, hours, ok, short, marks, why, share] = line;
  const badges = data.boards.badges[v].flatMap((b) => [" ", make("span", { class: "badge" }, b)]);
  const name = make("th", { scope: "row" }, ...linked(v),
    marks.length ? make("sup", {}, marks.map((m) => letters[m]).join(",")) : null, ...badges,
    why ? make("small", { class: "why" }, `not ranked: ${why}`) : null);
  const range = make("span", { class: "range" });
  if (share.length) { range.style.setProperty("--from", `${share[0]}%`); range.style.setProperty("--wide", `${share[1]}%`); }
  return make("tr", { class: rank ? null : "unranked" },
    make("td", { class: "rank" }, rank || "–"), name,
    make("td", { class: "statistic" }, value, ...(std ? [" ", make("span", { class: "sd" }, `± ${std}`)] : [])),
    make("td", { class: "text ends" }, ...(low ? [range, ` ${low} – ${high}`] : [])),
    ...[meanRank, gain, seconds, hours].map((text) => make("td", {}, text)),
    make("td", { class: short ? "short" : null }, ok));
}

const linked = (v) => {
  const page = data.pages?.methods?.[data.boards.methods[v]];
  return page ? [make("a", { href: page.split("/").map(encodeURIComponent).join("/") }, ...named(data.boards.variants[v]))] : named(data.boards.variants[v]);
};

function drawBoard(last) {
  if (!boards.length) return;
  const board = chosenBoard(last);
  for (const [i, axis] of AXES.entries()) find(`#board-${axis}`).value = board.at[i];
  if (board !== comparedBoard) { comparedBoard = board; drawComparison(board); }
  if (board === shownBoard) return;
  shownBoard = board;
  const used = [...new Set(board.lines.flatMap((line) => line[12]))].sort((a, b) => a - b);
  const letters = Object.fromEntries(used.map((m, i) => [m, String.fromCharCode(97 + (i % 26))]));
  find("#board-name").textContent = board.name;
  all("#board-told dd").forEach((dd, i) => { dd.textContent = board.told[i]; });
  find("#board-value .sort").textContent = find("#board-measure").selectedOptions[0].textContent;
  find("#board-value").toggleAttribute("data-lower", board.lower);
  find("#board-hours .sort").textContent = board.unit;
  for (const heading of all("#board-table th[aria-sort]")) heading.removeAttribute("aria-sort");
  find("#board-table tbody").replaceChildren(...board.lines.map((line) => boardRow(line, letters)));
  find("#board-notes").replaceChildren(...boardNotes(board, used, letters));
  drawStrip(board);
}

const boardNotes = (board, used, letters) => [
  ...used.map((m) => make("li", {}, make("sup", {}, letters[m]), ` ${data.boards.marks[m]}`)),
  ...board.notes.map((note) => make("li", {}, note)),
];

/** The anomalous pictures that the best method puts above most good ones, and above fewest. */
function drawStrip(board) {
  const best = board.lines[0] && board.lines[0][1] ? data.boards.variants[board.lines[0][0]] : null;
  const shots = [];
  for (const panel of all("#pictures article[data-dataset]")) {
    if (panel.dataset.dataset !== board.at[0]) continue;
    const column = all("thead th", panel).findIndex((th) => th.dataset.variant === best);
    if (column < 1) continue;
    for (const row of all("tbody tr[data-image]", panel)) {
      const share = row.cells[column]?.dataset.share;
      if (share && row.dataset.label !== "good") shots.push({ row, cell: row.cells[column], share: Number(share) });
    }
  }
  const order = (sign) => shots.reduce((a, b) => (sign * b.share > sign * a.share ? b : a), shots[0]);
  const pair = shots.length > 1 && order(1) !== order(-1) ? [["Caught", order(1)], ["Missed", order(-1)]] : [];
  find("#board-strip").replaceChildren(...pair.map(([kind, shot]) => stripShot(kind, shot)));
}

function stripShot(kind, { row, cell }) {
  const copy = (img) => make("img", { src: img.src, alt: img.alt });
  const place = row.dataset.image.slice(0, row.dataset.image.length - find("small", row).textContent.length - 1);
  return make("figure", {},
    make("a", { href: `#${row.id}` }, copy(find("img", row.cells[2]) ?? find("img", row.cells[1])), copy(find("img", cell))),
    make("figcaption", {}, make("strong", { class: kind.toLowerCase() }, kind),
      ` ${place.replaceAll("_", " ")}, ${row.dataset.label}: ${find(".score small", cell)?.textContent ?? ""}`));
}

function prepareBoards() {
  const controls = find("#board-controls");
  if (!controls || !boards.length) return;
  controls.hidden = false;
  find("#comparison").hidden = false;
  find("#front-cost").addEventListener("change", () => drawFront(comparedBoard));
  shownBoard = boards[0];
  for (const axis of AXES) find(`#board-${axis}`).addEventListener("change", (event) => {
    const now = Object.fromEntries(AXES.map((other, i) => [boardField(other), shownBoard.at[i]]));
    set({ ...now, [boardField(axis)]: event.target.value }, "leaderboard", axis);
  });
}
