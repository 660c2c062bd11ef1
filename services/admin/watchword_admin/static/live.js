// Puts what arrives in place of what the page showed. Without it the page is as of when it was loaded.
"use strict";
for (const place of document.querySelectorAll("[data-live]")) {
  const source = new EventSource(place.dataset.live);
  source.onmessage = (message) => { place.innerHTML = message.data; };
  source.addEventListener("end", () => source.close());
}
