// The forms of a case's page: one is open at a time, and what was written and not sent is there again.
import * as drafts from "./drafts.js";
import { FORMS } from "./forms.js";
import { on } from "./page.js";
import { leave } from "./typing.js";

let opened = null;
let offered = null; // a form that opened by itself, for its draft

export const openForm = () => opened;

export function open(name) {
  opened = name;
  offered = null;
  for (const form of document.querySelectorAll(FORMS)) form.classList.toggle("is-open", form.id === name);
  for (const button of document.querySelectorAll("[data-opens]")) button.setAttribute("aria-expanded", String(button.dataset.opens === name));
}

// After the page was changed around it.
export function reopen() {
  const before = offered;
  open(opened);
  offered = before;
}

function toggle(button) {
  if (button.getAttribute("aria-disabled") === "true") return;
  const name = button.dataset.opens;
  leave();
  open(opened === name && offered !== name ? null : name);
  if (opened) document.getElementById(name).querySelector("textarea, input:not([type=hidden]), select, .act-send button")?.focus();
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-opens]");
  if (button) toggle(button);
});

on("done", ({ form, hasMore }) => {
  if (!form?.matches(FORMS)) return;
  if (!hasMore) putAway(form, drafts.isTouched(form));
  drafts.sent(form);
});

function putAway(form, hasTypedOn) {
  if (form.contains(document.activeElement)) {
    if (!hasTypedOn) leave(); // what becomes of the focus now is the person's doing
    document.activeElement.blur();
  }
  form.reset();
  for (const place of form.querySelectorAll(".kept-words")) place.replaceChildren();
  if (opened === form.id) open(null);
}

// ---- drafts that have no place

// What was written and has no field any more (somebody else has answered, or the field has other words) is shown, so that
// it can be copied; an action's argument with its name, as it may be a mere number.
let orphans = [];
export const hasOrphans = () => orphans.length > 0;
const inWords = ([name, text]) => (name.includes("arguments/") ? `${name.replace("arguments/", "").replaceAll("/", " › ")}: ${text}` : text);

function showOrphans() {
  const place = document.getElementById("kept");
  place.hidden = !orphans.length;
  place.querySelector("pre").textContent = orphans.flatMap(({ fields }) => Object.entries(fields).map(inWords)).join("\n\n");
}

document.getElementById("kept-drop").addEventListener("click", () => {
  for (const { form } of orphans) drafts.drop(form);
  orphans = [];
  showOrphans();
});

// Loads the drafts of the case at this address, and opens the form of the latest.
export async function restore(address) {
  const found = await drafts.open(address);
  orphans = found.orphans;
  showOrphans();
  if (!found.form || opened) return;
  open(found.form.id);
  offered = found.form.id;
}
