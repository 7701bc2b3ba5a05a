// The texts of scripts, times in the reader's zone, and tables that sort. Every page is whole without this file.
"use strict";

// Texts of scripts in the page's language, by their English: the server hands over those that are not English.
const words = JSON.parse(document.body.dataset.words ?? "{}");
const say = (english, values = {}) =>
  (words[english] ?? english).replace(/%\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));

const element = (name, kind, text) => {
  const made = document.createElement(name);
  made.className = kind;
  made.textContent = text;
  return made;
};

// What was refused, as an item of a list: the place, the sentence, the hint and the code.
const problemItem = (problem) => {
  const item = document.createElement("li");
  const said = element("p", "said", "");
  if (problem.where) said.append(element("code", "place", problem.where), " ");
  said.append(problem.message);
  item.append(said);
  if (problem.hint) item.append(element("p", "hint", problem.hint));
  item.append(element("p", "code", problem.code));
  return item;
};

const two = (n) => String(n).padStart(2, "0");

for (const time of document.querySelectorAll("time[datetime]")) {
  if (time.hasAttribute("data-keep")) continue;
  const at = new Date(time.dateTime);
  if (Number.isNaN(at.getTime())) continue;
  time.textContent =
    `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

// A header with data-sort becomes a button. "rank", "low" and "high" are numbers, best first; rows without a value last.
function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const compare = (kind, up) => (a, b) => {
    if (kind === "text") return a.localeCompare(b, undefined, { numeric: true }) * (up ? 1 : -1);
    if (a === "" || b === "") return (a === "") - (b === "");
    return (Number(a) - Number(b)) * (up ? 1 : -1);
  };
  heads.forEach((head, column) => {
    const kind = head.dataset.sort;
    if (!kind) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const was = head.getAttribute("aria-sort");
      const up = was ? was === "descending" : kind !== "high";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => row.cells[column]?.dataset.value ?? "";
      for (const body of table.tBodies) {
        const rows = [...body.rows].filter((row) => !row.classList.contains("divider"));
        rows.sort((a, b) => compare(kind, up)(value(a), value(b)));
        body.append(...rows);
      }
    });
  });
}
document.querySelectorAll("table[data-sortable]").forEach(sortable);

// What moves on by itself is looked at again.
if (document.querySelector("[data-again]")) window.setTimeout(() => window.location.reload(), 2000);

for (const button of document.querySelectorAll("button[data-confirm]")) {
  button.addEventListener("click", (event) => {
    if (!window.confirm(button.dataset.confirm)) event.preventDefault();
  });
}
