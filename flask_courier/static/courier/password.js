// The button that shows what is typed on the password page, which works without it too.
for (const button of document.querySelectorAll("button[data-courier-reveal]")) {
  const fields = [...button.form.querySelectorAll('input[type="password"]')];
  const show = (shown) => {
    for (const field of fields) field.type = shown ? "text" : "password";
    button.setAttribute("aria-pressed", String(shown));
  };
  button.hidden = false;
  button.addEventListener("click", () => show(button.getAttribute("aria-pressed") !== "true"));
  // Browsers keep what was typed into a text field.
  button.form.addEventListener("submit", () => show(false));
}
