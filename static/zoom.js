// The part of a plot that is looked at, larger: marks keep their size, and move with the axes, the front and the cross-hair;
// labels are set where there is room for them. The whole is the server's picture, untouched. Wheel, touch and drag are d3-zoom's.
"use strict";

const zoomable = (() => {
  const MOST = 32;
  // Characters of a label, distances and heights in the picture's own units, as src/web/plot has them.
  const LABEL = 20;
  const LINE = 14;
  const SVG = "http://www.w3.org/2000/svg";
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const pen = document.createElement("canvas").getContext("2d");
  // What was looked at: a board that is sorted anew shows the same plot.
  const views = new Map();
  let clips = 0;

  function made(name, attributes, text = "") {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.textContent = text;
    return node;
  }

  const numbers = (text) => text.split(" ").map(Number);

  // Values to places and back.
  function axis(kind, [low, high], [from, to]) {
    const [of, back] = kind === "log" ? [Math.log10, (place) => 10 ** place] : [Number, Number];
    const [first, span] = [of(low), of(high) - of(low)];
    return {
      place: (value) => from + ((of(value) - first) / span) * (to - from),
      value: (place) => back(first + ((place - from) / (to - from)) * span),
    };
  }

  function equal(low, high, about) {
    const values = d3.ticks(low, high, about);
    const decimals = values.length > 1 ? Math.max(0, -Math.floor(Math.log10(values[1] - values[0]) + 1e-9)) : 3;
    return values.map((value) => [value, value.toFixed(decimals)]);
  }

  function short(value) {
    const [by, unit] = [[1e9, " G"], [1e6, " M"], [1e3, " k"]].find(([least]) => value >= least) ?? [1, ""];
    return `${Number((value / by).toFixed(6))}${unit}`;
  }

  // 1, 2, 5 of each decade; equal steps where less than half a decade is seen.
  function decades(low, high, about) {
    const span = Math.log10(high / low);
    if (span < 0.5) return equal(low, high, about).map(([value]) => [value, short(value)]);
    const steps = span > 2.2 ? [1] : span > 0.9 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9];
    const values = [];
    for (let decade = Math.floor(Math.log10(low)); decade <= Math.log10(high); decade += 1) {
      values.push(...steps.map((step) => step * 10 ** decade));
    }
    return values.filter((value) => value >= low && value <= high).map((value) => [value, short(value)]);
  }

  const moment = (seconds) => `${new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC`;

  const apart = (a, b) => a[0] >= b[2] || b[0] >= a[2] || a[1] >= b[3] || b[1] >= a[3];

  // `moved` is told after every drawing how large the picture is.
  return (plot, moved) => {
    const [left, top, right, bottom] = numbers(plot.dataset.frame);
    const kind = plot.dataset.zoom;
    const across = axis(kind, numbers(plot.dataset.x), [left, right]);
    const up = axis("linear", numbers(plot.dataset.y), [bottom, top]);
    const part = (css) => plot.querySelector(css);
    const [grid, ticks, inside, front, beaten] = [".grid", ".ticks", ".inside", ".front", ".beaten"].map(part);
    const family = getComputedStyle(plot).fontFamily;
    const key = [plot.getAttribute("aria-label"), plot.getAttribute("class"), plot.dataset.x, plot.dataset.y].join();

    const marks = [...plot.querySelectorAll(".mark")].map((node) => {
      const [x, y] = numbers(node.dataset.at);
      const shape = node.querySelector("circle, rect");
      const of = (name) => Number(shape.getAttribute(name));
      const square = shape.tagName === "rect";
      const text = node.querySelector("text");
      const { name } = node.dataset;
      const below = y < numbers(plot.dataset.y)[0] ? ` ↓ ${y.toFixed(2)}` : "";
      return {
        node,
        stop: node.closest("a") ?? node,
        // In the whole: where it belongs, and where it is drawn.
        at: [across.place(x), up.place(y)],
        drawn: square ? [of("x") + of("width") / 2, of("y") + of("height") / 2] : [of("cx"), of("cy")],
        radius: square ? of("width") / 2 : of("r"),
        leads: node.classList.contains("on-front"),
        first: node.classList.contains("on-front") || square,
        words: ([...name].length > LABEL ? `${[...name].slice(0, LABEL).join("").trimEnd()}…` : name) + below,
        text,
        set: text && ["x", "y", "text-anchor"].map((attribute) => [attribute, text.getAttribute(attribute)]),
      };
    });
    // The front and the baseline get their labels first.
    const order = [...marks].sort((a, b) => b.first - a.first);
    const fronts = marks.filter((mark) => mark.leads).sort((a, b) => a.at[0] - b.at[0]);
    const saved = {
      children: [grid, ticks].map((group) => [group, [...group.childNodes]]),
      points: [front, beaten].filter(Boolean).map((line) => [line, line.getAttribute("points")]),
      cross: [...plot.querySelectorAll(".cross>line")].map((line) => {
        const ends = line.getAttribute("x1") === line.getAttribute("x2") ? ["x1", "x2"] : ["y1", "y2"];
        return [line, ends, Number(line.getAttribute(ends[0]))];
      }),
    };
    const clip = made("clipPath", { id: `plot-inside-${(clips += 1)}` });
    clip.append(made("rect", { x: left, y: top, width: right - left, height: bottom - top }));
    plot.prepend(clip);

    const put = (node, attributes) => attributes.forEach(([name, value]) => node.setAttribute(name, value));

    function whole() {
      for (const [group, nodes] of saved.children) group.replaceChildren(...nodes);
      for (const [line, points] of saved.points) line.setAttribute("points", points);
      for (const [line, ends, at] of saved.cross) put(line, ends.map((end) => [end, at]));
      for (const mark of marks) {
        mark.node.removeAttribute("transform");
        mark.stop.removeAttribute("display");
        if (mark.set) {
          put(mark.text, mark.set);
          mark.text.removeAttribute("display");
        } else {
          mark.text?.remove();
          mark.text = null;
        }
      }
      inside.removeAttribute("clip-path");
      plot.classList.remove("zoomed");
    }

    function axes(view) {
      const lines = [];
      const texts = [];
      const about = right - left > 400 ? 6 : 4;
      const [low, high] = [left, right].map((at) => across.value(view.invertX(at)));
      if (kind === "time") {
        const y = plot.viewBox.baseVal.height - 4;
        texts.push(made("text", { x: left, y }, moment(low)));
        texts.push(made("text", { x: right, y, "text-anchor": "end" }, moment(high)));
      } else {
        pen.font = `11.5px ${family}`;
        let free = -Infinity;
        for (const [value, words] of kind === "log" ? decades(low, high, about) : equal(low, high, about)) {
          const x = view.applyX(across.place(value));
          lines.push(made("line", { x1: x, x2: x, y1: top, y2: bottom }));
          const half = pen.measureText(words).width / 2;
          if (x - half < free) continue;
          free = x + half + 6;
          texts.push(made("text", { x, y: bottom + 18, "text-anchor": "middle" }, words));
        }
      }
      for (const [value, words] of equal(up.value(view.invertY(bottom)), up.value(view.invertY(top)), kind === "time" ? 4 : 5)) {
        const y = view.applyY(up.place(value));
        lines.push(made("line", { x1: left, x2: right, y1: y, y2: y }));
        texts.push(made("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, words));
      }
      grid.replaceChildren(...lines);
      ticks.replaceChildren(...texts);
    }

    // Greedy: each takes the first of its places that is free, the last one first, so that it does not jump about.
    function labels(seen) {
      const taken = seen.map(({ x, y, radius }) => [x - radius - 1, y - radius - 1, x + radius + 1, y + radius + 1]);
      for (const mark of order) {
        if (!mark.seen) continue;
        const { x, y } = mark;
        if (mark.width === undefined) {
          pen.font = `${mark.leads ? 600 : 400} 12px ${family}`;
          mark.width = pen.measureText(mark.words).width + 2;
        }
        const gap = mark.radius + 5;
        const places = [
          [x + gap, y + 4, "start"],
          [x - gap, y + 4, "end"],
          [x + 8, y - gap, "start"],
          [x + 8, y + gap + 8, "start"],
          [x - 8, y - gap, "end"],
          [x - 8, y + gap + 8, "end"],
        ];
        const box = ([at, line, anchor]) => {
          const begin = anchor === "end" ? at - mark.width : at;
          return [begin, line - LINE + 3, begin + mark.width, line + 3];
        };
        const free = (place) => {
          const area = box(place);
          const fits = area[0] >= left + 4 && area[2] <= right && area[1] >= top && area[3] <= bottom;
          return fits && taken.every((other) => apart(area, other));
        };
        const last = places[mark.place];
        const place = last && free(last) ? last : places.find(free);
        mark.place = places.indexOf(place);
        if (place) {
          taken.push(box(place));
          if (!mark.text) mark.node.append((mark.text = made("text", {}, mark.words)));
          const [dx, dy] = [x - mark.drawn[0], y - mark.drawn[1]];
          put(mark.text, [["x", place[0] - dx], ["y", place[1] - dy], ["text-anchor", place[2]]]);
          mark.text.removeAttribute("display");
        } else {
          mark.text?.setAttribute("display", "none");
        }
      }
    }

    function partOf(view) {
      const edge = { left: view.applyX(left), right: view.applyX(right), bottom: view.applyY(bottom) };
      axes(view);
      for (const mark of marks) {
        // What lies beyond the whole stays at its edge.
        mark.x = Math.min(Math.max(view.applyX(mark.at[0]), edge.left + 6), edge.right - 6);
        mark.y = Math.min(view.applyY(mark.at[1]), edge.bottom - 8);
        mark.seen = mark.x >= left && mark.x <= right && mark.y >= top && mark.y <= bottom;
        if (mark.seen) {
          mark.stop.removeAttribute("display");
          mark.node.setAttribute("transform", `translate(${mark.x - mark.drawn[0]} ${mark.y - mark.drawn[1]})`);
        } else {
          mark.stop.setAttribute("display", "none");
        }
      }
      labels(marks.filter((mark) => mark.seen));
      for (const [line, ends, at] of saved.cross) {
        put(line, ends.map((end) => [end, end[0] === "x" ? view.applyX(at) : view.applyY(at)]));
      }
      if (front && fronts.length) {
        const steps = fronts.flatMap(({ x, y }, i) => (i ? [[x, fronts[i - 1].y], [x, y]] : [[x, y]]));
        steps.push([edge.right, fronts.at(-1).y]);
        front.setAttribute("points", steps.join(" "));
        beaten?.setAttribute("points", [...steps, [edge.right, edge.bottom], [fronts[0].x, edge.bottom]].join(" "));
      }
      inside.setAttribute("clip-path", `url(#${clip.id})`);
      plot.classList.add("zoomed");
    }

    let now = d3.zoomIdentity;
    // Where an animation leads: the next step begins there.
    let aim = null;
    const frame = [[left, top], [right, bottom]];
    const behaviour = d3.zoom()
      .extent(frame)
      .translateExtent(frame)
      .scaleExtent([1, MOST])
      .interpolate((from, to) => (share) => from.map((value, i) => value + (to[i] - value) * share))
      .filter((event) => {
        // Without Ctrl the page scrolls, as everywhere; so it does under one finger.
        if (event.type === "wheel") return event.ctrlKey || event.metaKey;
        if (event.type === "touchstart") return event.touches.length > 1;
        return event.type === "mousedown" && event.button === 0 && !event.ctrlKey && now.k > 1;
      })
      .wheelDelta((event) => {
        // A notch of a wheel, or the many small steps of a pinched touch pad.
        const pixels = event.deltaY * (event.deltaMode === 1 ? 25 : event.deltaMode ? 500 : 1);
        return Math.min(Math.max(-pixels * (Math.abs(pixels) < 30 ? 0.02 : 0.005), -0.6), 0.6);
      })
      .on("start", (event) => {
        if (event.sourceEvent) aim = null;
      })
      .on("zoom", (event) => {
        now = event.transform;
        if (now.k > 1) {
          partOf(now);
          views.set(key, now);
        } else {
          whole();
          views.delete(key);
        }
        moved({ least: now.k <= 1, most: now.k >= MOST, words: `${Math.round(now.k * 100)} %` });
      })
      .on("end", () => {
        if (String(aim) === String(now)) aim = null;
      });
    const target = d3.select(plot).call(behaviour).on("dblclick.zoom", null);
    plot.classList.add("live");

    function lead(next) {
      aim = behaviour.constrain()(next, frame, frame);
      const by = still.matches ? target.interrupt() : target.transition().duration(200);
      by.call(behaviour.transform, aim);
    }

    // What is at the place stays there.
    function step(factor, place) {
      const from = aim ?? now;
      const k = Math.min(Math.max(from.k * factor, 1), MOST);
      const [x, y] = from.invert(place);
      lead(d3.zoomIdentity.translate(place[0] - x * k, place[1] - y * k).scale(k));
    }

    function placeOf(mark) {
      const [x, y] = (aim ?? now).apply(mark.at);
      return [Math.min(Math.max(x, left), right), Math.min(Math.max(y, top), bottom)];
    }

    // Beyond the least and the most, too: the page does not grow instead.
    plot.addEventListener("wheel", (event) => {
      if (event.ctrlKey || event.metaKey) event.preventDefault();
    }, { passive: false });
    plot.addEventListener("dblclick", (event) => step(event.shiftKey ? 0.5 : 2, d3.pointer(event, plot)));

    const before = views.get(key);
    if (before) target.call(behaviour.transform, before);
    return {
      // Round a mark: the given one, or that nearest the middle, so that there is something to see.
      step: (factor, node) => {
        const middle = [(left + right) / 2, (top + bottom) / 2];
        const far = (mark) => Math.hypot(...placeOf(mark).map((at, i) => at - middle[i]));
        const seen = marks.filter((mark) => now.k <= 1 || mark.seen);
        const nearest = () => seen.reduce((best, mark) => (far(mark) < far(best) ? mark : best), seen[0]);
        const mark = marks.find((mark) => mark.node === node) ?? nearest();
        step(factor, mark ? placeOf(mark) : middle);
      },
      // By parts of what is seen.
      pan: (x, y) => {
        const from = aim ?? now;
        lead(from.translate((-x * (right - left)) / from.k, (-y * (bottom - top)) / from.k));
      },
      whole: () => lead(d3.zoomIdentity),
    };
  };
})();
