// The page's forms: what was typed into them, and whether it may be changed and sent.
export const FORMS = "form.act";

const isField = (field) => field.name && !["hidden", "fieldset", "submit", "button"].includes(field.type);
export const fieldsOf = (form) => [...form.elements].filter(isField);

// Whether it differs from what the server filled it with.
export function isChanged(field) {
  if (field.type === "radio" || field.type === "checkbox") return field.checked !== field.defaultChecked;
  if (field.tagName === "SELECT") {
    const first = [...field.options].find((option) => option.defaultSelected) ?? field.options[0];
    return field.value !== (first?.value ?? "");
  }
  return field.value !== field.defaultValue;
}

export const hasText = (form) => fieldsOf(form).some(isChanged);
export const hasUnsent = () => [...document.querySelectorAll(FORMS)].some((form) => hasText(form) || form.contains(document.activeElement));

// What is sent: of an action's arguments only those that were changed, so that the rest stays exactly as it is.
export function bodyOf(form) {
  const body = new URLSearchParams(new FormData(form));
  body.delete("csrfmiddlewaretoken"); // of this page, which may be older than the session: the header has the present one
  for (const field of fieldsOf(form)) {
    if (field.name.startsWith("arguments/") && !isChanged(field)) body.delete(field.name);
  }
  return body;
}

// A locked form keeps focus, caret and text; it can be read and copied, not changed or sent.
export function lock(form, isLocked, why = "") {
  form.toggleAttribute("data-locked", isLocked);
  for (const field of fieldsOf(form)) {
    if (["TEXTAREA", "INPUT"].includes(field.tagName)) field.readOnly = isLocked;
    if (field.tagName === "SELECT" || ["radio", "checkbox"].includes(field.type)) mark(field, isLocked);
  }
  for (const button of form.querySelectorAll(".act-send button")) mark(button, isLocked);
  const place = form.querySelector(".locked-words");
  if (!place) return;
  if (place.textContent !== why) place.textContent = why;
  place.hidden = !isLocked || !why;
}

function mark(element, isOff) {
  if (isOff) element.setAttribute("aria-disabled", "true");
  else element.removeAttribute("aria-disabled");
}

// In a read-only field, a space would scroll the page away under somebody who types on.
document.addEventListener(
  "keydown",
  (event) => {
    if (event.key === " " && event.target.readOnly && event.target.closest(`${FORMS}[data-locked]`)) event.preventDefault();
  },
  true,
);

// Choices have no `readonly` of their own.
for (const name of ["mousedown", "click", "keydown"]) {
  document.addEventListener(
    name,
    (event) => {
      const choice = event.target.closest?.("select, input[type=radio], input[type=checkbox], label");
      if (!choice?.closest(`${FORMS}[data-locked]`) || event.key === "Tab") return;
      const target = choice.tagName === "LABEL" ? choice.control : choice;
      if (target?.getAttribute("aria-disabled") === "true") event.preventDefault();
    },
    true,
  );
}
