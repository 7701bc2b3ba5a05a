// The submission page while its evaluation waits or runs: the server sends the steps as it would draw them.
"use strict";

const section = document.querySelector("[data-live]");
if (section) {
  const line = section.querySelector(".live-line");
  const bar = section.querySelector("progress");
  const source = new EventSource(section.dataset.live);
  let lost = 0;

  source.addEventListener("state", (event) => {
    lost = 0;
    const now = JSON.parse(event.data);
    if (now.final) {
      source.close();
      line.textContent = say("Done; the results are being shown.");
      window.location.reload();
      return;
    }
    for (const step of now.steps) {
      const item = section.querySelector(`[data-step="${CSS.escape(step.name)}"]`);
      if (!item) continue;
      item.className = step.status;
      if (step.status === "current") item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
      item.querySelector(".step-detail").textContent = step.detail;
    }
    bar.value = now.percent;
    if (line.textContent !== now.line) line.textContent = now.line;
    const pill = document.querySelector("h1 .pill");
    if (pill) {
      pill.textContent = section.dataset[now.state] ?? now.state;
      pill.className = `pill ${now.state}`;
    }
  });

  source.addEventListener("error", () => {
    lost += 1;
    line.textContent = say("The connection was lost; trying again.");
    if (lost > 5) {
      source.close();
      window.setTimeout(() => window.location.reload(), 10000);
    }
  });
}
