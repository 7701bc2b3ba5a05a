// A plot under the pointer and the keyboard: one stop for Tab, arrows from mark to mark, the figures beside it, a space to choose
// marks for a comparison. Without this file every mark is a link with a tooltip.
"use strict";

// Entries that the page of comparisons takes.
const MOST_COMPARED = 4;

function live(figure) {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  const bar = document.createElement("p");
  bar.className = "help";
  bar.setAttribute("role", "status");
  const hint = say("Arrows go from mark to mark, Enter opens an entry, Space chooses it for a comparison.");
  bar.textContent = hint;
  figure.querySelector("figcaption").after(bar);
  figure.append(tip);
  const chosen = new Map();

  function point(mark) {
    const words = mark.dataset.words;
    tip.textContent = words;
    tip.hidden = false;
    const frame = figure.getBoundingClientRect();
    const at = mark.querySelector("circle, rect").getBoundingClientRect();
    // Beside the mark, on the side that has room.
    const left = at.right - frame.left + 8;
    const fits = left + tip.offsetWidth < frame.width;
    tip.style.left = `${fits ? left : Math.max(0, at.left - frame.left - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.max(0, at.top - frame.top - tip.offsetHeight - 4)}px`;
  }

  function choose(mark) {
    const { id } = mark.dataset;
    if (!id || (!chosen.has(id) && chosen.size >= MOST_COMPARED)) return;
    if (chosen.has(id)) chosen.delete(id);
    else chosen.set(id, mark.dataset.words.split(":")[0]);
    for (const same of figure.querySelectorAll(`.mark[data-id="${CSS.escape(id)}"]`)) same.classList.toggle("chosen", chosen.has(id));
    if (!chosen.size) {
      bar.textContent = hint;
      return;
    }
    const names = [...chosen.values()].join(say(", "));
    if (chosen.size < 2) {
      bar.textContent = say("Chosen: %{names}. Choose another to compare them.", { names });
      return;
    }
    const query = new URLSearchParams([...chosen.keys()].map((entry, i) => ["abcd"[i], entry]));
    const link = document.createElement("a");
    link.href = `${figure.dataset.compare}?${query}`;
    link.textContent = say("Compare %{names}", { names });
    bar.replaceChildren(link);
  }

  for (const plot of figure.querySelectorAll("svg")) {
    const marks = [...plot.querySelectorAll(".mark")];
    for (const mark of marks) {
      const title = mark.querySelector("title");
      mark.dataset.words = title.textContent;
      // The browser's own tooltip would cover ours; the name stays for readers of the screen.
      title.remove();
      const link = mark.closest("a") ?? mark;
      link.setAttribute("aria-label", mark.dataset.words);
      if (link === mark) mark.setAttribute("role", "img");
      link.setAttribute("tabindex", "-1");
    }
    const place = (mark) => {
      const { x, y, width, height } = mark.querySelector("circle, rect").getBBox();
      return [x + width / 2, y + height / 2];
    };
    const stop = (mark) => mark.closest("a") ?? mark;
    const sorted = () => [...marks].sort((a, b) => place(a)[0] - place(b)[0]);
    // The first mark of the front is where Tab comes in.
    const first = marks.find((mark) => mark.classList.contains("on-front")) ?? marks[0];
    if (first) stop(first).setAttribute("tabindex", "0");

    function go(from, key) {
      const order = key === "ArrowUp" || key === "ArrowDown" ? [...marks].sort((a, b) => place(b)[1] - place(a)[1]) : sorted();
      const step = key === "ArrowRight" || key === "ArrowUp" ? 1 : -1;
      const next = order[order.indexOf(from) + step];
      if (!next) return;
      stop(from).setAttribute("tabindex", "-1");
      stop(next).setAttribute("tabindex", "0");
      stop(next).focus();
    }

    plot.addEventListener("pointerover", (event) => {
      const mark = event.target.closest(".mark");
      if (mark) point(mark);
    });
    plot.addEventListener("pointerleave", () => (tip.hidden = true));
    plot.addEventListener("focusin", (event) => {
      const mark = event.target.closest(".mark") ?? event.target.querySelector?.(".mark");
      if (mark) point(mark);
    });
    plot.addEventListener("focusout", () => (tip.hidden = true));
    plot.addEventListener("keydown", (event) => {
      const mark = event.target.closest(".mark") ?? event.target.querySelector?.(".mark");
      if (!mark || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key.startsWith("Arrow")) go(mark, event.key);
      else if (event.key === " ") choose(mark);
      else if (event.key === "Escape") tip.hidden = true;
      else return;
      event.preventDefault();
    });
  }
}

const enliven = (root) => root.querySelectorAll("[data-plot]").forEach(live);
enliven(document);
document.addEventListener("board-shown", (event) => enliven(event.target));
