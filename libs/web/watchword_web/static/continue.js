// Goes on as soon as the frames of the page have loaded. Without this script the page does so after some seconds, and its
// link at once.
addEventListener("load", () => location.replace(document.querySelector("a[rel~=next]").href));
