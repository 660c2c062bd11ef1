// Adds events to the table as they arrive. Without it the page is a list as of when it was loaded.
"use strict";
(() => {
  const rows = document.getElementById("events");
  const state = document.getElementById("feed-state");
  const pause = document.getElementById("pause");
  const most = 300;
  const held = [];
  let paused = false;
  const lang = document.documentElement.lang;
  const stamp = new Intl.DateTimeFormat(lang === "en" ? "en-GB" : lang, {
    dateStyle: "medium", timeStyle: "medium", timeZone: "UTC",
  });
  const source = new EventSource(rows.dataset.stream);
  const say = (text, on) => {
    state.textContent = text;
    state.className = on ? "state on" : "state off";
  };
  const cell = (row, ...children) => {
    const made = document.createElement("td");
    made.append(...children);
    row.append(made);
    return made;
  };
  const text = (tag, content) => {
    const made = document.createElement(tag);
    made.textContent = content;
    return made;
  };
  const add = ([event, at]) => {
    const row = document.createElement("tr");
    cell(row, text("time", stamp.format(at)));
    cell(row, text("code", event.type));
    const about = cell(row);
    about.className = "ids";
    for (const [name, value] of Object.entries(event.data)) {
      if (typeof value !== "string" && typeof value !== "number") continue;
      const part = document.createElement("span");
      part.append(text("b", name), " ", String(value));
      about.append(part, " ");
    }
    rows.prepend(row);
    while (rows.rows.length > most) rows.deleteRow(-1);
    document.getElementById("no-events")?.remove();
  };
  const show = () => say(paused ? `${state.dataset.paused} (${held.length})` : state.dataset.live, !paused);
  source.onopen = show;
  source.onerror = () => say(state.dataset.waiting, false);
  source.onmessage = (message) => {
    const seen = [JSON.parse(message.data), new Date()];
    if (!paused) return add(seen);
    held.push(seen);
    if (held.length > most) held.shift();
    show();
  };
  source.addEventListener("resync", () => say(state.dataset.waiting, false));
  pause.hidden = false;
  pause.onclick = () => {
    paused = !paused;
    pause.textContent = paused ? pause.dataset.resume : pause.dataset.pause;
    if (!paused) held.splice(0).forEach(add);
    show();
  };
})();
