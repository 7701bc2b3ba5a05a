// The images of an entry side by side: one zoom and one place for all, and any two of them under a slider. Without this file
// they are plain images.
"use strict";

const MOST = 32;

function viewer(root) {
  const panes = [...root.querySelectorAll(".pane")];
  const bar = root.querySelector(".viewer-bar");
  const view = { zoom: 1, x: 0, y: 0 };
  const images = () => root.querySelectorAll(".pane img");

  function draw() {
    // Never beyond an edge: x and y are the left upper corner, as parts of the image.
    const most = 1 - 1 / view.zoom;
    view.x = Math.min(Math.max(view.x, 0), most);
    view.y = Math.min(Math.max(view.y, 0), most);
    for (const image of images()) {
      image.style.transform = `scale(${view.zoom}) translate(${-100 * view.x}%, ${-100 * view.y}%)`;
      image.style.imageRendering = view.zoom >= 2 ? "pixelated" : "auto";
    }
    for (const pane of root.querySelectorAll(".pane")) pane.style.touchAction = view.zoom > 1 ? "none" : "manipulation";
    level.textContent = `${Math.round(view.zoom * 100)} %`;
  }

  // Keeps the place (u, v) of the pane, 0 to 1, where it is.
  function zoom(to, u = 0.5, v = 0.5) {
    const next = Math.min(Math.max(to, 1), MOST);
    view.x += u / view.zoom - u / next;
    view.y += v / view.zoom - v / next;
    view.zoom = next;
    draw();
  }

  function pan(dx, dy) {
    view.x += dx / view.zoom;
    view.y += dy / view.zoom;
    draw();
  }

  function button(name, label, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "quiet";
    made.textContent = name;
    made.setAttribute("aria-label", label);
    made.addEventListener("click", act);
    return made;
  }

  function choice(label, chosen) {
    const field = document.createElement("label");
    const list = document.createElement("select");
    panes.forEach((pane, at) => list.append(new Option(pane.dataset.name, String(at), false, at === chosen)));
    field.append(`${label} `, list);
    return [field, list];
  }

  const level = document.createElement("output");
  level.setAttribute("aria-live", "polite");
  const help = document.createElement("p");
  help.className = "help";
  help.textContent = "Drag to move; Ctrl and the wheel, or a double click, to zoom. By keyboard: arrows, + and −, 0 for the whole.";
  const [leftField, left] = choice("Slider: left", 0);
  const [rightField, right] = choice("right", 1);
  const slide = document.createElement("input");
  slide.type = "range";
  slide.min = "0";
  slide.max = "100";
  slide.value = "50";
  slide.setAttribute("aria-label", "How much of the left image is seen");
  bar.append(
    button("−", "Zoom out", () => zoom(view.zoom / 2)),
    level,
    button("+", "Zoom in", () => zoom(view.zoom * 2)),
    button("Whole", "Show the whole images", () => zoom(1)),
    leftField,
    rightField,
  );
  bar.hidden = false;

  // Two images on top of each other; what the upper one hides is decided by the slider.
  const figure = document.createElement("figure");
  figure.className = "slider";
  const stage = document.createElement("div");
  stage.className = "pane";
  const [under, upper] = [new Image(), new Image()];
  const window_ = document.createElement("div");
  window_.className = "window";
  window_.append(upper);
  stage.append(under, window_);
  const caption = document.createElement("figcaption");
  figure.append(stage, slide, caption);
  root.append(figure, help);

  function pick() {
    const [a, b] = [panes[left.value], panes[right.value]];
    upper.src = a.querySelector("img").src;
    under.src = b.querySelector("img").src;
    upper.alt = a.querySelector("img").alt;
    under.alt = b.querySelector("img").alt;
    caption.textContent = `Left ${a.dataset.name}, right ${b.dataset.name}`;
  }

  function cut() {
    window_.style.clipPath = `inset(0 ${100 - Number(slide.value)}% 0 0)`;
  }

  left.addEventListener("change", pick);
  right.addEventListener("change", pick);
  slide.addEventListener("input", cut);

  for (const pane of [...panes, stage]) {
    pane.tabIndex = 0;
    pane.setAttribute("role", "group");
    pane.setAttribute("aria-label", pane.dataset.name ? `${pane.dataset.name}: arrows move, plus and minus zoom` : "Slider: arrows move, plus and minus zoom");
    const place = (event) => {
      const box = pane.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    pane.addEventListener("wheel", (event) => {
      // Without Ctrl the page scrolls, as everywhere.
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      zoom(view.zoom * (event.deltaY < 0 ? 1.25 : 0.8), ...place(event));
    }, { passive: false });
    pane.addEventListener("dblclick", (event) => zoom(view.zoom * 2, ...place(event)));
    pane.addEventListener("pointerdown", (event) => {
      if (view.zoom <= 1 || event.button !== 0) return;
      event.preventDefault();
      pane.focus();
      pane.setPointerCapture(event.pointerId);
      let last = place(event);
      const move = (next) => {
        const now = place(next);
        pan(last[0] - now[0], last[1] - now[1]);
        last = now;
      };
      const end = () => {
        pane.removeEventListener("pointermove", move);
        pane.removeEventListener("pointerup", end);
        pane.removeEventListener("pointercancel", end);
      };
      pane.addEventListener("pointermove", move);
      pane.addEventListener("pointerup", end);
      pane.addEventListener("pointercancel", end);
    });
    pane.addEventListener("keydown", (event) => {
      const acts = {
        "+": () => zoom(view.zoom * 2),
        "=": () => zoom(view.zoom * 2),
        "-": () => zoom(view.zoom / 2),
        "0": () => zoom(1),
        ArrowLeft: () => pan(-0.1, 0),
        ArrowRight: () => pan(0.1, 0),
        ArrowUp: () => pan(0, -0.1),
        ArrowDown: () => pan(0, 0.1),
      };
      const act = acts[event.key];
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      // At the whole image there is nowhere to move to: the page scrolls.
      if (event.key.startsWith("Arrow") && view.zoom <= 1) return;
      event.preventDefault();
      act();
    });
  }
  pick();
  cut();
  draw();
}

document.querySelectorAll("[data-viewer]").forEach(viewer);
for (const select of document.querySelectorAll(".viewer-section select[name=image]")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}
