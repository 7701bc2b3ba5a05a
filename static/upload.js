// The submit page: files are looked at before they are sent, sent in pieces that survive a lost connection, a reload and a
// closed laptop (tus), and then named in the form's own request. Without this file the plain form does the same at once.
"use strict";

const form = document.getElementById("upload");
if (form && window.tus) start(form);

function start(form) {
  const { challenge, phase, endpoint, about } = form.dataset;
  const sending = document.getElementById("sending");
  const bar = sending.querySelector("progress");
  const line = sending.querySelector("[role=status]");
  const pause = sending.querySelector("[data-pause]");
  const cancel = sending.querySelector("[data-cancel]");
  const refused = document.getElementById("refused");
  const button = form.querySelector("button[type=submit]");
  const inputs = { results: form.elements.namedItem("results"), model: form.elements.namedItem("model") };
  const limits = { results: Number(form.dataset.resultsLimit), model: Number(form.dataset.modelLimit) };

  const megabytes = (n) => (n / 1e6).toFixed(n < 1e7 ? 2 : 1);
  const size = (n) => (n < 1e5 ? `${(n / 1e3).toFixed(1)} kB` : `${megabytes(n)} MB`);
  const duration = (seconds) => {
    if (!Number.isFinite(seconds)) return "";
    if (seconds < 90) return say("%{n} s left", { n: Math.ceil(seconds) });
    if (seconds < 5400) return say("%{n} min left", { n: Math.ceil(seconds / 60) });
    return say("%{n} h left", { n: (seconds / 3600).toFixed(1) });
  };

  const tooLarge = (n, limit) =>
    say("%{n} MB is more than the %{limit} MB that are allowed.", { n: megabytes(n), limit: megabytes(limit) });

  // ---- What was chosen, looked at before it is sent ---------------------------------------------------------------------

  // Names of the images that are asked for; null where they could not be had.
  let asked = null;
  const images = () => {
    asked ??= fetch(about, { headers: { Accept: "application/json" } })
      .then((answer) => answer.json())
      .then((detail) => {
        const found = detail.phases.find((p) => p.slug === phase);
        return { scale: found.scale, names: found.images.map((image) => image.name) };
      })
      .catch(() => null);
    return asked;
  };

  const bytesOf = async (file, from, to) => new DataView(await file.slice(Math.max(0, from), to).arrayBuffer());

  // The central directory of a zip: names and where each lies. Null where it has an odd form; the server decides then.
  async function entries(file) {
    const tail = await bytesOf(file, file.size - 65557, file.size);
    let end = -1;
    for (let i = tail.byteLength - 22; i >= 0; i -= 1) {
      if (tail.getUint32(i, true) === 0x06054b50) {
        end = i;
        break;
      }
    }
    if (end < 0) throw new Error(say("not a zip archive"));
    const [count, length, offset] = [tail.getUint16(end + 10, true), tail.getUint32(end + 12, true), tail.getUint32(end + 16, true)];
    if (count === 0xffff || length === 0xffffffff || offset === 0xffffffff || length > 8e6) return null;
    const list = await bytesOf(file, offset, offset + length);
    const found = [];
    for (let at = 0; found.length < count; ) {
      if (at + 46 > list.byteLength || list.getUint32(at, true) !== 0x02014b50) throw new Error(say("its list is damaged"));
      const [name, extra, comment] = [28, 30, 32].map((i) => list.getUint16(at + i, true));
      if (at + 46 + name > list.byteLength) throw new Error(say("its list is damaged"));
      found.push({
        name: new TextDecoder().decode(new Uint8Array(list.buffer, list.byteOffset + at + 46, name)),
        method: list.getUint16(at + 10, true),
        packed: list.getUint32(at + 20, true),
        offset: list.getUint32(at + 42, true),
      });
      at += 46 + name + extra + comment;
    }
    return found;
  }

  // The text of a small entry; empty where it cannot be had.
  async function textOf(file, entry) {
    if (entry.packed > 1e6) return "";
    const head = await bytesOf(file, entry.offset, entry.offset + 30);
    const from = entry.offset + 30 + head.getUint16(26, true) + head.getUint16(28, true);
    let stream = file.slice(from, from + entry.packed).stream();
    if (entry.method === 8) stream = stream.pipeThrough(new DecompressionStream("deflate-raw"));
    else if (entry.method !== 0) return "";
    return new Response(stream).text();
  }

  const listed = (names) => names.slice(0, 5).join(", ") + (names.length > 5 ? say(" and %{n} more", { n: names.length - 5 }) : "");

  // As the server pairs them: by id, in any folder and any case, with or without the scale.
  async function lookAtResults([file]) {
    if (!file) return [];
    if (!/\.zip$/i.test(file.name)) return [["bad", say("The results are a .zip archive.")]];
    if (file.size > limits.results) return [["bad", tooLarge(file.size, limits.results)]];
    let found;
    try {
      found = await entries(file);
    } catch (error) {
      return [["bad", say("This zip cannot be read: %{why}.", { why: error.message })]];
    }
    const wanted = await images();
    if (!found || !wanted) return [["", say("%{size}; the server will look inside.", { size: size(file.size) })]];
    const ids = new Map();
    for (const name of wanted.names) ids.set(`${name}x${wanted.scale}`.toLowerCase(), name);
    for (const name of wanted.names) ids.set(name.toLowerCase(), name);
    const seen = new Set();
    const others = [];
    for (const entry of found) {
      const parts = entry.name.split(/[/\\]/);
      const base = parts.at(-1).toLowerCase();
      const junk = base === "" || base.startsWith("._") || [".ds_store", "thumbs.db", "desktop.ini"].includes(base);
      if (junk || parts.some((part) => part.toLowerCase() === "__macosx")) continue;
      if (base === "readme.txt") {
        textOf(file, entry).then(prefill).catch(() => {});
        continue;
      }
      const image = base.endsWith(".png") ? ids.get(base.slice(0, -4)) : undefined;
      if (image === undefined) others.push(entry.name);
      else seen.add(image);
    }
    const missing = wanted.names.filter((name) => !seen.has(name));
    const lines = [
      [missing.length ? "bad" : "good", say("%{seen} of %{all} images, %{size}", { seen: seen.size, all: wanted.names.length, size: size(file.size) })],
    ];
    if (missing.length) lines.push(["bad", say("Missing: %{names}.", { names: listed(missing) })]);
    if (others.length) lines.push(["bad", say("Not among the images: %{names}.", { names: listed(others) })]);
    return lines;
  }

  async function lookAtModel(files) {
    if (files.length === 0) return [];
    const bytes = files.reduce((sum, file) => sum + file.size, 0);
    if (bytes > limits.model) return [["bad", tooLarge(bytes, limits.model)]];
    const graphs = files.filter((file) => /\.onnx$/i.test(file.name));
    if (files.length > 2) return [["bad", say("A model is one file, or an .onnx file and its data file.")]];
    if (files.length === 2 && graphs.length !== 1) return [["bad", say("Of two files one is the .onnx graph and one its data.")]];
    if (files.length === 1 && !graphs.length && !/\.zip$/i.test(files[0].name)) {
      return [["bad", say("The model is an .onnx file, or a zip with it and its data file.")]];
    }
    return [["good", `${files.map((file) => file.name).join(say(" and "))}, ${size(bytes)}`]];
  }

  // What the readme says goes into fields that are empty still.
  function prefill(text) {
    for (const words of text.split(/\r?\n/)) {
      const [label, ...rest] = words.split(/[:：]/);
      const value = rest.join(":").trim();
      const set = (key, said) => {
        const field = form.elements.namedItem(key);
        if (field && !field.value && said) field.value = said;
      };
      if (/^\s*extra[ _]data/i.test(label)) set("extra_data", { 0: "no", 1: "yes" }[value[0]]);
      if (/^\s*(other|description)/i.test(label)) set("description", value);
    }
  }

  const looks = { results: lookAtResults, model: lookAtModel };
  for (const [part, input] of Object.entries(inputs)) {
    const list = element("ul", "found", "");
    list.setAttribute("aria-live", "polite");
    const zone = input.closest(".drop");
    zone.append(list);
    input.addEventListener("change", async () => {
      const lines = await looks[part]([...input.files]);
      list.replaceChildren(...lines.map(([kind, text]) => element("li", kind, text)));
      input.setCustomValidity(lines.filter(([kind]) => kind === "bad").map(([, text]) => text).join(" "));
    });
    for (const name of ["dragenter", "dragover"]) {
      zone.addEventListener(name, (event) => {
        event.preventDefault();
        zone.classList.add("over");
      });
    }
    zone.addEventListener("dragleave", (event) => {
      if (!zone.contains(event.relatedTarget)) zone.classList.remove("over");
    });
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      if (!event.dataTransfer.files.length) return;
      input.files = event.dataTransfer.files;
      input.dispatchEvent(new Event("change"));
    });
  }

  // ---- Sending ----------------------------------------------------------------------------------------------------------

  const authorization = () => {
    const token = form.elements.namedItem("token");
    return token?.value ? { Authorization: `Bearer ${token.value.trim()}` } : {};
  };

  // What is being sent: [{ part, file, upload, sent }].
  let jobs = [];
  let paused = false;
  let marks = [];

  function show() {
    const total = jobs.reduce((sum, job) => sum + job.file.size, 0);
    const sent = jobs.reduce((sum, job) => sum + job.sent, 0);
    const now = performance.now();
    marks.push([now, sent]);
    // The speed of the last seconds, not of the whole: it changes on the way.
    while (marks.length > 2 && now - marks[0][0] > 8000) marks.shift();
    const [since, before] = marks[0];
    const speed = now > since ? ((sent - before) * 1000) / (now - since) : 0;
    bar.value = total ? (100 * sent) / total : 0;
    const amount = say("%{sent} of %{total} MB", { sent: megabytes(sent), total: megabytes(total) });
    if (paused) line.textContent = say("Paused at %{amount}. What was sent is kept for a day.", { amount });
    else if (jobs.every((job) => job.whole)) line.textContent = say("Sent; the files are being checked.");
    // The system takes bytes before the network does.
    else if (sent >= total) line.textContent = say("%{amount} on their way.", { amount });
    else if (speed > 0) line.textContent = `${amount}, ${megabytes(speed)} MB/s, ${duration((total - sent) / speed)}`;
    else line.textContent = amount;
  }

  // An answer that another try may change.
  const passes = (status) => status === 0 || [408, 409, 423].includes(status) || (status >= 500 && status !== 507);

  function make(part, file) {
    const job = { part, file, sent: 0, whole: false, started: false, upload: null };
    job.done = new Promise((resolve, reject) => {
      job.upload = new tus.Upload(file, {
        endpoint,
        headers: authorization(),
        metadata: { challenge, phase, part, filename: file.name },
        chunkSize: 16 * 1024 * 1024,
        retryDelays: [0, 500, 1000, 2000, 4000, 8000, 15000, 30000],
        fingerprint: async () => ["upscore", challenge, phase, part, file.name, file.size, file.lastModified].join("|"),
        onShouldRetry: (error) => passes(error.originalResponse?.getStatus() ?? 0),
        onProgress: (sent) => {
          job.sent = sent;
          if (!paused) show();
        },
        onError: (error) => {
          const status = error.originalResponse?.getStatus() ?? 0;
          if (passes(status)) halt(say("The connection is lost. It goes on when it is back, or when you say so."));
          else reject(error);
        },
        onSuccess: () => {
          job.sent = file.size;
          job.whole = true;
          show();
          resolve();
        },
      });
    });
    return job;
  }

  async function run(job) {
    const before = await job.upload.findPreviousUploads();
    if (before.length) job.upload.resumeFromPreviousUpload(before[0]);
    job.started = true;
    job.upload.start();
    await job.done;
  }

  function halt(words) {
    paused = true;
    pause.textContent = say("Go on");
    if (words) line.textContent = words;
    else show();
  }

  function goOn() {
    if (!paused) return;
    paused = false;
    marks = [];
    pause.textContent = say("Pause");
    line.textContent = say("Going on.");
    for (const job of jobs) if (job.started && !job.whole) job.upload.start();
  }

  pause.addEventListener("click", async () => {
    if (paused) {
      goOn();
      return;
    }
    for (const job of jobs) if (job.started) await job.upload.abort();
    halt();
  });
  window.addEventListener("online", goOn);

  cancel.addEventListener("click", async () => {
    const all = jobs;
    jobs = [];
    for (const job of all) {
      // Also on the server; that it cannot be reached is no matter, as uploads expire.
      await job.upload.abort(job.started).catch(() => {});
      await forget(job);
    }
    rest();
    line.textContent = "";
  });

  async function forget(job) {
    const storage = tus.defaultOptions.urlStorage;
    for (const before of await job.upload.findPreviousUploads()) await storage.removeUpload(before.urlStorageKey);
  }

  function rest() {
    sending.hidden = true;
    button.disabled = false;
    paused = false;
    pause.textContent = say("Pause");
  }

  function refuse(problems) {
    refused.querySelector("ul").replaceChildren(...problems.map(problemItem));
    refused.hidden = false;
    rest();
    refused.tabIndex = -1;
    refused.focus();
    refused.scrollIntoView({ block: "start" });
  }

  const answerOf = (text, status) => {
    try {
      return JSON.parse(text);
    } catch {
      return { errors: [{ code: "internal", message: say("The server answered %{status}.", { status }) }] };
    }
  };

  // The form without its files, which are there already. Asked again where the answer was lost: the server knows a
  // repetition by the uploads it names.
  async function submit() {
    const data = new FormData(form);
    data.delete("results");
    data.delete("model");
    for (const job of jobs) data.append(`${job.part}_upload`, job.upload.url.split("/").pop());
    for (let attempt = 0; ; attempt += 1) {
      try {
        const answer = await fetch(form.action, { method: "POST", body: data, headers: { Accept: "application/json" } });
        if (answer.status < 500 || attempt >= 5) return [answer.ok, answerOf(await answer.text(), answer.status)];
      } catch {
        if (attempt >= 5) {
          const hint = say("The files are there; send the form again.");
          const message = say("The connection was lost before the server answered.");
          return [false, { errors: [{ code: "connection_lost", message, hint }] }];
        }
      }
      await new Promise((resolve) => window.setTimeout(resolve, 1000 * 2 ** attempt));
    }
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    refused.hidden = true;
    sending.hidden = false;
    button.disabled = true;
    marks = [];
    bar.value = 0;
    line.textContent = say("Starting the upload.");
    // The model first: it is small.
    const files = ["model", "results"].flatMap((part) => [...inputs[part].files].map((file) => [part, file]));
    jobs = files.map(([part, file]) => make(part, file));
    const mine = jobs;
    try {
      for (const job of mine) await run(job);
    } catch (error) {
      const answer = error.originalResponse;
      const problems = answer ? answerOf(answer.getBody(), answer.getStatus()).errors : null;
      refuse(problems ?? [{ code: "upload_failed", message: error.message }]);
      return;
    }
    if (jobs !== mine) return;
    line.textContent = say("Sent; the files are being checked.");
    const [accepted, answer] = await submit();
    if (accepted && answer.url) {
      for (const job of mine) await forget(job);
      window.location.assign(answer.url);
    } else {
      refuse(answer.errors ?? [{ code: "internal", message: say("The server's answer was not understood.") }]);
    }
  });

  // An upload that a reload or a closed browser interrupted: the file must be chosen again, then it goes on.
  tus.defaultOptions.urlStorage.findAllUploads().then((all) => {
    const day = 24 * 3600 * 1000;
    for (const before of all) {
      const { metadata = {}, creationTime } = before;
      if (metadata.challenge !== challenge || metadata.phase !== phase || !inputs[metadata.part]) continue;
      if (Date.now() - Date.parse(creationTime) > day) {
        tus.defaultOptions.urlStorage.removeUpload(before.urlStorageKey);
        continue;
      }
      const list = inputs[metadata.part].closest(".drop").querySelector(".found");
      list.append(element("li", "", say("An upload of %{name} was interrupted; choose the same file and it goes on.", { name: metadata.filename })));
    }
  });
}
