"use strict";
/* What every page needs: finding and making elements, tables that can be sorted. */

const find = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

/** An element with attributes and children; words are never markup. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/* Sorting: a button in every heading; groups of rows stay apart, unfolded texts stay below their rows. */

function value(cell) {
  const text = (cell?.firstChild?.textContent ?? "").trim().replace(/,/g, "").replace("−", "-");
  const number = Number.parseFloat(text);
  return text === "" || text === "–" ? null : Number.isNaN(number) ? cell.textContent.trim() : number;
}

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number" && typeof b === "number") return b - a;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

function sortRows(body, column, order) {
  const rows = [];
  for (const row of body.rows) {
    if (row.classList.contains("group")) continue;
    if (row.classList.contains("detail")) rows.at(-1).below.push(row);
    else rows.push({ row, below: [], place: Number((row.dataset.place ??= rows.length)) });
  }
  const keyed = rows.map((entry) => ({ ...entry, key: value(entry.row.cells[column]) }));
  const sign = (a, b) => (a.key === null || b.key === null ? 1 : order === "ascending" ? -1 : 1);
  keyed.sort((a, b) => (order && sign(a, b) * compare(a.key, b.key)) || a.place - b.place);
  for (const { row, below } of keyed) body.append(row, ...below);
}

function sortBy(table, heading, column) {
  const [best, worst] = "lower" in heading.dataset ? ["ascending", "descending"] : ["descending", "ascending"];
  const next = { none: best, [best]: worst, [worst]: "none" };
  const order = next[heading.getAttribute("aria-sort") ?? "none"];
  for (const other of all("th[aria-sort]", table)) other.removeAttribute("aria-sort");
  if (order !== "none") heading.setAttribute("aria-sort", order);
  for (const body of table.tBodies) sortRows(body, column, order === "none" ? "" : order);
}

function makeSortable(table) {
  const lines = [...table.tHead.rows];
  for (const [depth, line] of lines.entries()) {
    [...line.cells].forEach((heading, i) => {
      if (heading.tagName !== "TH" || heading.classList.contains("span")) return;
      const button = make("button", { type: "button", class: "sort" }, ...heading.childNodes);
      button.addEventListener("click", () => sortBy(table, heading, depth ? i + 1 : i));
      heading.append(button);
    });
  }
}
