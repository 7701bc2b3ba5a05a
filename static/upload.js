// The upload form: bytes, speed and time left while it is sent, and the problems of a refused one in place.
"use strict";

const form = document.getElementById("upload");
if (form) {
  const sending = document.getElementById("sending");
  const bar = sending.querySelector("progress");
  const line = sending.querySelector("p");
  const refused = document.getElementById("refused");
  const button = form.querySelector("button[type=submit]");
  const megabytes = (n) => (n / 1e6).toFixed(1);

  for (const input of form.querySelectorAll("input[type=file]")) {
    const help = document.createElement("p");
    help.className = "chosen";
    input.after(help);
    input.addEventListener("change", () => {
      const file = input.files[0];
      help.textContent = file ? `${megabytes(file.size)} MB` : "";
    });
  }

  const element = (name, kind, text) => {
    const made = document.createElement(name);
    made.className = kind;
    made.textContent = text;
    return made;
  };

  const refuse = (problems) => {
    const list = refused.querySelector("ul");
    list.replaceChildren(
      ...problems.map((problem) => {
        const item = document.createElement("li");
        const said = element("p", "said", "");
        if (problem.where) said.append(element("code", "place", problem.where), " ");
        said.append(problem.message);
        item.append(said);
        if (problem.hint) item.append(element("p", "hint", problem.hint));
        item.append(element("p", "code", problem.code));
        return item;
      }),
    );
    refused.hidden = false;
    sending.hidden = true;
    button.disabled = false;
    refused.tabIndex = -1;
    refused.focus();
    refused.scrollIntoView({ block: "start" });
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const request = new XMLHttpRequest();
    const started = performance.now();
    refused.hidden = true;
    sending.hidden = false;
    button.disabled = true;
    bar.removeAttribute("value");
    line.textContent = "Starting the upload.";

    request.upload.addEventListener("progress", ({ loaded, total }) => {
      const seconds = (performance.now() - started) / 1000;
      const speed = loaded / Math.max(seconds, 0.1);
      bar.value = (100 * loaded) / total;
      const left = Math.ceil((total - loaded) / speed);
      line.textContent =
        loaded < total
          ? `${megabytes(loaded)} of ${megabytes(total)} MB, ${megabytes(speed)} MB/s, ${left} s left`
          : "Sent; the files are being checked.";
    });
    request.addEventListener("load", () => {
      let answer = {};
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        answer = {};
      }
      if (request.status < 300 && answer.url) {
        window.location.assign(answer.url);
      } else {
        refuse(answer.errors ?? [{ code: "internal", message: `The server answered ${request.status}.` }]);
      }
    });
    request.addEventListener("error", () => {
      refuse([{ code: "connection_lost", message: "The connection was lost before the server answered.", hint: "Check the token and the file sizes, then send it again." }]);
    });
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.send(new FormData(form));
  });
}
