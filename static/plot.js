// A plot under the pointer and the keyboard: one stop for Tab, arrows from mark to mark, the figures beside it, a space to choose
// marks for a comparison, a part of it larger (zoom.js). Without this file every mark is a link with a tooltip.
"use strict";

// Entries that the page of comparisons takes.
const MOST_COMPARED = 4;

function live(figure) {
  const tip = element("div", "tip", "");
  tip.hidden = true;
  // A finger has no keys and no wheel.
  const touch = window.matchMedia("(pointer: coarse)").matches;
  const hint = touch
    ? say("A tap on a mark opens its entry.")
    : say("Arrows go from mark to mark, Enter opens an entry, Space chooses it for a comparison.");
  const bar = element("p", "help", hint);
  bar.setAttribute("role", "status");
  const ways = element("p", "help", touch
    ? say("To zoom: the buttons or two fingers, which also move the picture.")
    : say("To zoom: the buttons, Ctrl (⌘) and the wheel, two fingers, a double click, or + and − at a mark; to move: drag, or Shift and an arrow; 0 shows all."));
  figure.querySelector("figcaption").after(bar, ways);
  figure.append(tip);
  const chosen = new Map();
  const zooms = new Map();

  function button(sign, label, act) {
    const made = element("button", "quiet", sign);
    made.type = "button";
    made.setAttribute("aria-label", label);
    made.title = label;
    made.addEventListener("click", () => {
      // Of the two pictures the page shows the one that fits.
      for (const [plot, zoom] of zooms) if (plot.getClientRects().length) act(zoom);
    });
    return made;
  }
  const level = document.createElement("output");
  level.setAttribute("aria-live", "polite");
  const smaller = button("−", say("Zoom out"), (zoom) => zoom.step(0.5));
  const larger = button("+", say("Zoom in"), (zoom) => zoom.step(2));
  const all = button(say("All"), say("Show all"), (zoom) => zoom.whole());
  const tools = element("div", "plot-bar", "");
  tools.setAttribute("role", "group");
  tools.setAttribute("aria-label", say("Zoom"));
  tools.append(level, smaller, larger, all);
  figure.prepend(tools);

  function sized({ least, most, words }) {
    level.textContent = words;
    // They keep the focus, so they are not disabled for good.
    for (const [made, off] of [[smaller, least], [larger, most], [all, least]]) made.setAttribute("aria-disabled", String(off));
  }
  sized({ least: true, most: false, words: "" });

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
    else chosen.set(id, mark.dataset.name);
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

  // Not on the picture itself: Chromium gives the focus, and a frame, to an SVG that listens for it and is clicked.
  figure.addEventListener("focusin", (event) => {
    const mark = event.target.closest(".mark") ?? event.target.querySelector(".mark");
    if (mark) point(mark);
  });
  figure.addEventListener("focusout", () => (tip.hidden = true));

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
    // In the whole picture: the order is the same in every part of it.
    const place = (mark) => {
      const shape = mark.querySelector("circle, rect");
      const [x, y] = shape.tagName === "rect" ? [shape.x, shape.y] : [shape.cx, shape.cy];
      const half = shape.tagName === "rect" ? shape.width.baseVal.value / 2 : 0;
      return [x.baseVal.value + half, y.baseVal.value + half];
    };
    const stop = (mark) => mark.closest("a") ?? mark;
    // What lies beyond the part that is seen is out of reach.
    const seen = () => marks.filter((mark) => !stop(mark).hasAttribute("display"));
    const focused = () => marks.find((mark) => stop(mark) === document.activeElement);

    // Where Tab comes in.
    function enter(mark) {
      for (const other of marks) stop(other).setAttribute("tabindex", other === mark ? "0" : "-1");
    }
    const first = (list) => list.find((mark) => mark.classList.contains("on-front")) ?? list[0];
    enter(first(marks));

    function go(from, key) {
      const by = key === "ArrowUp" || key === "ArrowDown" ? (a, b) => place(b)[1] - place(a)[1] : (a, b) => place(a)[0] - place(b)[0];
      const order = seen().sort(by);
      const step = key === "ArrowRight" || key === "ArrowUp" ? 1 : -1;
      const next = order[order.indexOf(from) + step];
      if (!next) return;
      enter(next);
      stop(next).focus();
    }

    function moved(size) {
      sized(size);
      tip.hidden = true;
      const left = seen();
      const at = focused();
      if (at && !left.includes(at)) {
        // The focus does not stay on what is out of sight.
        const [x, y] = place(at);
        const far = (mark) => Math.hypot(place(mark)[0] - x, place(mark)[1] - y);
        const next = left.reduce((best, mark) => (best && far(best) <= far(mark) ? best : mark), null);
        enter(next);
        (next ? stop(next) : all).focus({ preventScroll: true });
      } else if (at) {
        point(at);
      } else if (!left.some((mark) => stop(mark).getAttribute("tabindex") === "0")) {
        enter(first(left));
      }
    }
    zooms.set(plot, zoomable(plot, moved));
    const zoom = zooms.get(plot);
    const keys = {
      "+": (mark) => zoom.step(2, mark),
      "=": (mark) => zoom.step(2, mark),
      "-": (mark) => zoom.step(0.5, mark),
      "0": () => zoom.whole(),
    };
    const pans = { ArrowLeft: [-0.25, 0], ArrowRight: [0.25, 0], ArrowUp: [0, -0.25], ArrowDown: [0, 0.25] };

    plot.addEventListener("pointerover", (event) => {
      const mark = event.target.closest(".mark");
      if (mark) point(mark);
    });
    plot.addEventListener("pointerleave", () => (tip.hidden = true));
    plot.addEventListener("keydown", (event) => {
      const mark = event.target.closest(".mark") ?? event.target.querySelector?.(".mark");
      if (!mark || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.shiftKey && pans[event.key]) zoom.pan(...pans[event.key]);
      else if (event.key.startsWith("Arrow")) go(mark, event.key);
      else if (event.key === " ") choose(mark);
      else if (event.key === "Escape") tip.hidden = true;
      else if (keys[event.key]) keys[event.key](mark);
      else return;
      event.preventDefault();
    });
  }
}

const enliven = (root) => root.querySelectorAll("[data-plot]").forEach(live);
enliven(document);
document.addEventListener("board-shown", (event) => enliven(event.target));
