// Drafts: what is typed into the case's forms is kept on the server, its author's alone. Nothing of it stays in this browser.
import { FORMS, fieldsOf, hasText, isChanged } from "./forms.js";
import { ask, signInLink, words } from "./http.js";

const OFTEN = 2_000; // ms between two savings of a form
const SOON = 500; // ms after a keystroke

const states = new Map(); // form id -> { timer, saving, savedAt, isWaiting, isBarred }
const stateOf = (form) => states.get(form.id) ?? states.set(form.id, { savedAt: -Infinity }).get(form.id);
const nameOf = (form) => form.id.slice("form-".length);

let address = "";

function tell(form, text, isFault = false, more = null) {
  const place = form.querySelector(".kept-words");
  if (!place) return;
  place.replaceChildren(text, ...(more ? [" ", more] : []));
  place.classList.toggle("is-fault", isFault);
}

function changedFields(form) {
  const found = {};
  for (const field of fieldsOf(form)) {
    if (field.type === "radio" ? field.checked && fieldsOf(form).some((other) => other.name === field.name && isChanged(other)) : isChanged(field)) {
      found[field.name] = field.value;
    }
  }
  return found;
}

function later(form) {
  const state = stateOf(form);
  state.isWaiting = true;
  clearTimeout(state.timer);
  state.timer = setTimeout(() => save(form), Math.max(SOON, state.savedAt + OFTEN - performance.now()));
}

// One saving of a form at a time: the later one has the newer text.
async function save(form, options = {}) {
  const state = stateOf(form);
  clearTimeout(state.timer);
  if (state.saving) return;
  state.isWaiting = false;
  state.savedAt = performance.now();
  state.saving = put(form, changedFields(form), options);
  await state.saving;
  state.saving = null;
  if (state.isWaiting) later(form);
}

async function put(form, fields, options) {
  const body = JSON.stringify({ form: nameOf(form), fields });
  const sent = { method: "POST", body, headers: { "Content-Type": "application/json" }, ...options };
  try {
    const answer = await ask(`${address}draft`, sent);
    const data = await answer.json().catch(() => null);
    stateOf(form).isBarred = answer.status === 401;
    if (answer.ok) tell(form, data?.kept_at ? "kept" : "");
    else if (answer.status === 401) tell(form, "not kept: you are signed out.", true, signInLink());
    else tell(form, `not kept: ${words(answer.status, data)}`, true);
    if (answer.status >= 500 || answer.status === 429) retry(form);
  } catch {
    tell(form, "not kept: no connection. It stays on this page.", true);
    retry(form);
  }
}

function retry(form) {
  const state = stateOf(form);
  state.isWaiting = true;
  state.savedAt = performance.now() + 3_000;
}

document.addEventListener("input", (event) => {
  const form = event.target.closest(`${FORMS}[data-drafts]`);
  if (form && address) later(form);
});
// Signed in again: what could not be kept meanwhile is kept now.
document.addEventListener("hub:ready", () => {
  for (const form of document.querySelectorAll(FORMS)) {
    if (!stateOf(form).isBarred) continue;
    stateOf(form).isBarred = false;
    if (hasText(form)) save(form);
  }
});
addEventListener("online", () => document.querySelectorAll(FORMS).forEach((form) => stateOf(form).isWaiting && save(form)));
function flush() {
  for (const form of document.querySelectorAll(FORMS)) if (stateOf(form).isWaiting) save(form, { keepalive: true });
}
addEventListener("pagehide", flush);
document.addEventListener("visibilitychange", () => document.hidden && flush());
// A page that comes back as it was may have been somebody else's.
addEventListener("pageshow", (event) => event.persisted && location.reload());

// Before a form is sent: nothing of it may be kept afterwards.
export async function settle(form) {
  if (!form.matches(`${FORMS}[data-drafts]`)) return;
  const state = stateOf(form);
  clearTimeout(state.timer);
  state.isWaiting = false;
  await state.saving;
}

// It was not sent after all: it is kept as before.
export function goOn(form) {
  if (form.matches(`${FORMS}[data-drafts]`) && hasText(form)) later(form);
}

// Throws away what was typed into a form.
export async function drop(name) {
  const body = JSON.stringify({ form: name, fields: {} });
  await ask(`${address}draft`, { method: "POST", body, headers: { "Content-Type": "application/json" } }).catch(() => null);
}

// Fills the forms with what was kept, where nothing was typed meanwhile. Gives back what has no form here (any more),
// and the form of the newest that has one.
export async function open(path) {
  address = path;
  const answer = await ask(`${address}drafts/`).catch(() => null);
  const drafts = answer?.ok ? (await answer.json()).drafts : [];
  const orphans = [];
  let newest = null;
  for (const draft of drafts) {
    const form = document.getElementById(`form-${draft.form}`);
    const missing = form ? fill(form, draft.fields) : draft.fields;
    if (Object.keys(missing).length) orphans.push({ form: draft.form, fields: missing });
    if (!form) continue;
    tell(form, "kept");
    if (!newest || draft.kept_at > newest.at) newest = { form, at: draft.kept_at };
  }
  return { orphans, form: newest?.form ?? null };
}

// What it could not fill, such as an argument that is loaded on request.
function fill(form, fields) {
  const missing = {};
  for (const [name, text] of Object.entries(fields)) {
    const found = fieldsOf(form).filter((field) => field.name === name);
    if (!found.length) missing[name] = text;
    for (const field of found) {
      if (field.type === "radio") field.checked = field.value === text;
      else if (!isChanged(field)) field.value = text;
    }
  }
  return missing;
}
