// The board without reloads: a click on a header, a tab or "more", and every change of a filter, fetches the page that the link
// or the form names and puts its table in place; the address bar follows. Without this file they are links and a form.
"use strict";

const view = document.getElementById("board-view");
const filters = document.getElementById("filters");

if (view && filters) {
  let latest = 0;

  async function show(to) {
    latest += 1;
    const mine = latest;
    view.setAttribute("aria-busy", "true");
    let next;
    try {
      const answer = await fetch(to, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      next = answer.ok && page.getElementById("board-view");
    } catch {
      next = null;
    }
    if (mine !== latest) return;
    if (!next) {
      // The way it goes without script also says what is wrong.
      window.location.assign(to);
      return;
    }
    const key = view.contains(document.activeElement) && document.activeElement.dataset.key;
    const left = view.querySelector(".table-box")?.scrollLeft ?? 0;
    view.replaceChildren(...document.adoptNode(next).childNodes);
    view.dataset.address = next.dataset.address;
    view.removeAttribute("aria-busy");
    const box = view.querySelector(".table-box");
    if (box) box.scrollLeft = left;
    // What the link took away is taken from the form, too.
    const at = filters.elements.namedItem("at");
    const moment = new URLSearchParams(next.dataset.address).get("at");
    if (!moment) at.value = "";
    if (key) view.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
    const query = view.dataset.address;
    window.history.replaceState(null, "", query === "?" ? window.location.pathname : query);
    view.dispatchEvent(new CustomEvent("board-shown", { bubbles: true }));
  }

  view.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-swap]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    show(link.href);
  });

  const address = () => `?${new URLSearchParams(new FormData(filters))}`;
  let soon = 0;
  function ask() {
    window.clearTimeout(soon);
    show(address());
  }
  filters.addEventListener("input", (event) => {
    if (event.target.type !== "search") return;
    window.clearTimeout(soon);
    soon = window.setTimeout(ask, 200);
  });
  // What is typed was asked for already when the field is left.
  filters.addEventListener("change", (event) => {
    if (event.target.type !== "search") ask();
  });
  filters.addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  filters.querySelector("[data-plain]").hidden = true;

  // A list that hangs over the table goes when one turns to something else.
  const columns = filters.querySelector(".columns");
  const close = (event) => {
    if (columns.open && !columns.contains(event.target)) columns.open = false;
  };
  document.addEventListener("click", close);
  document.addEventListener("focusin", close);
  columns.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    columns.open = false;
    columns.querySelector("summary").focus();
  });

  const copy = document.getElementById("copy-link");
  // Browsers hand the clipboard to safe origins only.
  if (navigator.clipboard) {
    copy.hidden = false;
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(window.location.href);
        copy.textContent = say("Copied");
      } catch {
        copy.textContent = say("Copy it from the address bar");
      }
      window.setTimeout(() => (copy.textContent = say("Copy link")), 2500);
    });
  }
}
