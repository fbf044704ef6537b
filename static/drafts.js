// Drafts: what is typed into the case's forms is kept on the server, for its author alone. Nothing of it stays in this browser.
import { FORMS, fieldsOf, hasText, isChanged } from "./forms.js";
import { ask, signInLink, words } from "./http.js";
import { on, say } from "./page.js";

const OFTEN = 2_000; // ms between two savings of a form
const SOON = 500; // ms after a keystroke
const FIRST = 2_000; // ms between attempts to load the drafts; each time twice as long
const SLOWEST = 30_000;
const PATIENCE = 5_000; // ms that sending a form waits for them

const states = new Map(); // form id -> { timer, saving, savedAt, isWaiting, isBarred, isTouched }
const stateOf = (form) => states.get(form.id) ?? states.set(form.id, { savedAt: -Infinity }).get(form.id);
const nameOf = (form) => form.id.slice("form-".length);

let hasOpened;
const opened = new Promise((resolve) => (hasOpened = resolve));
let address = ""; // none until the drafts are loaded: saving before that would overwrite them
const apart = new Map(); // form name -> { fields, at }: what was kept and stands in no field of the page

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

// The fields of the form, and what was kept beside them: under another name where the field has other words.
function fieldsToKeep(form) {
  const found = changedFields(form);
  const { fields = {}, at } = apart.get(nameOf(form)) ?? {};
  for (const [name, text] of Object.entries(fields)) {
    if (!(name in found)) found[name] = text;
    else if (found[name] !== text) found[`kept ${at}: ${name}`] = text;
  }
  return found;
}

function later(form) {
  const state = stateOf(form);
  state.isWaiting = state.isTouched = true;
  if (!address) {
    tell(form, "not kept yet: your earlier draft is still loading.", true);
    return;
  }
  clearTimeout(state.timer);
  state.timer = setTimeout(() => save(form), Math.max(SOON, state.savedAt + OFTEN - performance.now()));
}

// A form is saved once at a time, as the later one has the newer text; but a page that ends does not wait.
async function save(form, options = {}) {
  const state = stateOf(form);
  clearTimeout(state.timer);
  if (!address || (state.saving && !options.keepalive)) return;
  state.isWaiting = Boolean(state.saving); // of two under way the older may arrive last
  state.savedAt = performance.now();
  const saving = Promise.all([state.saving, put(form, fieldsToKeep(form), options)]);
  state.saving = saving;
  await saving;
  if (state.saving !== saving) return;
  state.saving = null;
  if (state.isWaiting) later(form);
}

const post = (draft, options = {}) =>
  ask(`${address}draft`, { method: "POST", body: JSON.stringify(draft), headers: { "Content-Type": "application/json" }, ...options });

async function put(form, fields, options) {
  try {
    const answer = await post({ form: nameOf(form), fields }, options);
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
  if (form) later(form);
});
// Signed in again: what could not be kept meanwhile is kept now.
on("ready", () => {
  for (const form of document.querySelectorAll(FORMS)) {
    if (!stateOf(form).isBarred) continue;
    stateOf(form).isBarred = false;
    if (hasText(form)) save(form);
  }
});
addEventListener("online", () => document.querySelectorAll(FORMS).forEach((form) => stateOf(form).isWaiting && save(form)));
// A page that ends also saves again what is under way: it may not have arrived.
function flush({ type }) {
  for (const form of document.querySelectorAll(FORMS)) {
    if (stateOf(form).isWaiting || (type === "pagehide" && stateOf(form).saving)) save(form, { keepalive: true });
  }
}
addEventListener("pagehide", flush);
document.addEventListener("visibilitychange", (event) => document.hidden && flush(event));
// A page that comes back from the browser's cache may have been somebody else's.
addEventListener("pageshow", (event) => event.persisted && location.reload());

// Before a form is sent: nothing of it may be kept afterwards, and the server deletes its draft. Returns whether the
// draft is known here.
export async function settle(form) {
  if (!form.matches(`${FORMS}[data-drafts]`)) return true;
  const state = stateOf(form);
  clearTimeout(state.timer);
  state.isWaiting = state.isTouched = false;
  if (!address) await Promise.race([opened, new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
  await state.saving;
  return Boolean(address);
}

// Whether something was typed since it was settled.
export const isTouched = (form) => Boolean(stateOf(form).isTouched);

// It was sent. What was typed meanwhile may have been kept before or after the server deleted the rest, and is kept as it
// is now; what was kept apart, at once, since the form may go.
export function sent(form) {
  if (apart.has(nameOf(form))) save(form, { keepalive: true });
  else if (isTouched(form)) later(form);
}

// It was not sent after all, or the server was restored: it is kept as before.
export function goOn(form) {
  if (form.matches(`${FORMS}[data-drafts]`) && (hasText(form) || apart.has(nameOf(form)))) later(form);
}

// The server was restored: its drafts may be gone, also those of forms that are no longer here.
export function keepAnew() {
  for (const form of document.querySelectorAll(FORMS)) goOn(form);
  for (const [name, { fields }] of apart) {
    if (!document.getElementById(`form-${name}`)) post({ form: name, fields }).catch(() => null);
  }
}

// While its person is signed out it is neither sent nor kept: it is kept when they are back.
export function bar(form) {
  Object.assign(stateOf(form), { isBarred: true, isWaiting: true });
  tell(form, "");
}

// Discards what was kept and stands in no field.
export async function drop(name) {
  apart.delete(name);
  const form = document.getElementById(`form-${name}`);
  if (form) {
    later(form);
    return;
  }
  await post({ form: name, fields: {} }).catch(() => null);
}

// Fills the forms with their drafts, where nothing was typed meanwhile. Returns what has no place here (any more), and the
// form of the newest draft that has one.
export async function open(path) {
  const orphans = [];
  let newest = null;
  for (const draft of await load(`${path}drafts/`)) {
    const form = document.getElementById(`form-${draft.form}`);
    const missing = form ? await fill(form, draft.fields) : draft.fields;
    if (Object.keys(missing).length) {
      orphans.push({ form: draft.form, fields: missing });
      apart.set(draft.form, { fields: missing, at: draft.kept_at });
    }
    if (!form) continue;
    if (!stateOf(form).isWaiting) tell(form, "kept"); // else what was typed meanwhile is not yet
    if (!newest || draft.kept_at > newest.at) newest = { form, at: draft.kept_at };
  }
  address = path;
  hasOpened();
  for (const form of document.querySelectorAll(FORMS)) if (stateOf(form).isWaiting) later(form);
  return { orphans, form: newest?.form ?? null };
}

const NOT_LOADED = "Your drafts of this case could not be loaded. Until they are, nothing that you write is kept; the page keeps trying.";
async function load(path) {
  for (let wait = FIRST; ; wait = Math.min(2 * wait, SLOWEST)) {
    const answer = await ask(path).catch(() => null);
    const data = answer?.ok ? await answer.json().catch(() => null) : null;
    if (data) return data.drafts;
    if (answer?.status === 403 || answer?.status === 404) return []; // then nothing can be kept either, which is shown
    if (wait === FIRST) say(NOT_LOADED);
    await new Promise((resolve) => {
      setTimeout(resolve, wait);
      document.addEventListener("hub:ready", resolve, { once: true });
      addEventListener("online", resolve, { once: true });
    });
  }
}

// Returns what it could not fill: its field is not there, or has other words by now.
async function fill(form, fields) {
  const missing = {};
  await unfold(form, Object.keys(fields).filter((name) => name.startsWith("arguments/")));
  for (const [name, text] of Object.entries(fields)) {
    const found = fieldsOf(form).filter((field) => field.name === name);
    for (const field of found.some(isChanged) ? [] : found) {
      if (field.type === "radio") field.checked = field.value === text;
      else field.value = text;
    }
    if (!found.some((field) => field.value === text)) missing[name] = text;
  }
  return missing;
}

// The rest of an action's inputs is loaded on request: here, until those of these names are there.
async function unfold(form, names) {
  for (;;) {
    const button = form.querySelector(".more-fields button") ?? form.querySelector(".field button[hx-get]");
    if (!button || names.every((name) => form.elements.namedItem(name))) return;
    const headers = { Accept: "text/html", "HX-Request": "true" }; // so that a sign-in page is no answer
    const answer = await ask(button.getAttribute("hx-get"), { headers }).catch(() => null);
    const html = answer?.ok ? await answer.text().catch(() => null) : null;
    const place = button.closest(".more-fields, .field");
    if (html === null || !place) return;
    place.outerHTML = html;
    window.htmx.process(form);
  }
}
