// Shows passwords to those who type them. Without this script the fields are just fields, and their buttons stay hidden.
for (const button of document.querySelectorAll("button.show")) {
  const field = document.getElementById(button.getAttribute("aria-controls"));
  const show = (isShown) => {
    field.type = isShown ? "text" : "password";
    button.setAttribute("aria-pressed", isShown);
  };
  button.hidden = false;
  button.addEventListener("click", () => show(field.type === "password"));
  // A browser keeps what was sent as text, to suggest it later, and what is on a page that one comes back to.
  field.form?.addEventListener("submit", () => show(false));
  addEventListener("pagehide", () => show(false));
}
