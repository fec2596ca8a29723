/* The pages without this script are complete: every leaderboard is shown, one below the other. */

function shownBoard() {
  const boards = all(".board");
  if (!boards.length) return;
  const [shots, subset] = [find("#shots"), find("#subset")];
  const given = new URLSearchParams(location.hash.split("?")[1] ?? "");
  for (const [select, name] of [[shots, "shots"], [subset, "subset"]]) {
    if ([...select.options].some((option) => option.value === given.get(name))) select.value = given.get(name);
  }
  const wanted = boards.find((b) => b.dataset.shots === shots.value && b.dataset.subset === subset.value) ?? boards[0];
  for (const board of boards) board.hidden = board !== wanted;
  const told = `${find("h2", wanted).textContent}: ${wanted.dataset.methods} methods`;
  if (find("#shown").textContent !== told) find("#shown").textContent = told;
}

function switched() {
  const given = new URLSearchParams({ shots: find("#shots").value, subset: find("#subset").value });
  history.replaceState(null, "", `#?${given}`);
  shownBoard();
}

for (const form of all("form")) {
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", switched);
}
for (const table of all("table.plain")) makeSortable(table);
addEventListener("hashchange", shownBoard);
shownBoard();
const seconds = Number(document.body.dataset.watched);
if (seconds) setTimeout(() => location.reload(), 1000 * seconds);
