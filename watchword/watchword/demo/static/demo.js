// The page works without this file: then it is loaded again every few seconds.
const list = document.getElementById("events");
const state = document.getElementById("token-state");
const told = document.getElementById("told");
const live = document.getElementById("live");
const source = new EventSource("/events");

source.onopen = () => { live.hidden = false; };
source.onerror = () => { live.hidden = true; };
source.onmessage = async (message) => {
  const event = JSON.parse(message.data);
  const item = document.createElement("li");
  for (const [tag, text] of [["time", event.at], ["code", event.type], ["span", event.meaning]]) {
    item.appendChild(document.createElement(tag)).textContent = text;
  }
  item.className = "new";
  list.querySelector(".none")?.remove();
  list.prepend(item);
  const answer = await fetch("/status", { headers: { Accept: "application/json" } });
  if (answer.ok) {
    const now = await answer.json();
    state.textContent = now.state;
    state.className = now.live ? "good" : "bad";
    document.getElementById("userinfo").textContent = now.text;
    told.hidden = !now.told;
    told.querySelector("time").textContent = now.told;
  }
};

document.getElementById("sign-out").form.addEventListener("submit", () => source.close());
