// Adds events to the table as they arrive. Without it the page is a list as of when it was loaded.
"use strict";
(() => {
  const rows = document.getElementById("events");
  const state = document.getElementById("feed-state");
  const most = 300;
  const source = new EventSource(rows.dataset.stream);
  const say = (on) => {
    state.textContent = on ? state.dataset.live : state.dataset.waiting;
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
  const add = (message) => {
    const event = JSON.parse(message.data);
    const row = document.createElement("tr");
    cell(row, text("time", new Date().toISOString().slice(0, 19).replace("T", " ")));
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
  source.onopen = () => say(true);
  source.onerror = () => say(false);
  source.onmessage = add;
  source.addEventListener("resync", () => say(false));
})();
