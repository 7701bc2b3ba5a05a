// A form with large files: sent with a bar that moves, and refused without losing what was filled in. Without this file the
// plain form does the same.
"use strict";

for (const form of document.querySelectorAll("form[data-send]")) {
  const sending = document.getElementById("sending");
  const refused = document.getElementById("refused");
  const bar = sending.querySelector("progress");
  const line = sending.querySelector("[role=status]");
  const button = form.querySelector("button[type=submit]");
  const megabytes = (n) => `${(n / 1e6).toFixed(n < 1e7 ? 2 : 0)} MB`;

  function refuse(problems) {
    refused.querySelector("ul").replaceChildren(...problems.map(problemItem));
    refused.hidden = false;
    sending.hidden = true;
    button.disabled = false;
    refused.tabIndex = -1;
    refused.focus();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    refused.hidden = true;
    sending.hidden = false;
    button.disabled = true;
    bar.value = 0;
    line.textContent = "Sending.";
    const began = Date.now();
    const request = new XMLHttpRequest();
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      bar.value = (100 * loaded) / total;
      const rate = loaded / Math.max(1, (Date.now() - began) / 1000);
      const left = Math.ceil((total - loaded) / Math.max(1, rate));
      const time = left < 90 ? `${left} s` : `${Math.ceil(left / 60)} min`;
      line.textContent = `${megabytes(loaded)} of ${megabytes(total)}, ${megabytes(rate)}/s, ${time} left`;
    });
    request.addEventListener("load", () => {
      let answer = null;
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        // Told below.
      }
      if (request.status < 300 && answer) window.location.assign(answer.url);
      else refuse(answer?.errors ?? [answer?.error ?? { code: "internal", message: `The server answered ${request.status}.` }]);
    });
    request.addEventListener("error", () => {
      refuse([{ code: "upload_broken", message: "The connection was lost.", hint: "Send it again; nothing was stored." }]);
    });
    request.open("POST", form.dataset.send);
    request.setRequestHeader("Accept", "application/json");
    request.send(new FormData(form));
  });
}
