// What all of the desk's pages share: messages, people's verbs, clocks, the keyboard.
import { heard, now } from "./clock.js";
import { bar, goOn, settle } from "./drafts.js";
import { bodyOf, hasUnsent } from "./forms.js";
import { ask, signInLink, words as wordsOf } from "./http.js";
import { emit, main, on } from "./page.js";
import { isCommand, isComposing } from "./typing.js";

const announcer = document.getElementById("announcer");
const toasts = document.getElementById("toasts");

// ---- messages

let waiting = [];
function announce(text) {
  waiting.push(text);
  if (waiting.length > 1) return;
  setTimeout(() => {
    announcer.textContent = waiting.length > 3 ? `${waiting.length} changes` : waiting.join(". ");
    waiting = [];
  }, 700);
}

function toast(text, kind = "info") {
  const line = document.createElement("div");
  line.className = "toast-line";
  line.dataset.kind = kind;
  line.setAttribute("role", kind === "error" ? "alert" : "status");
  line.textContent = text;
  toasts.append(line);
  fade(line);
}

function fade(line) {
  setTimeout(() => line.remove(), line.dataset.kind === "error" ? 12_000 : 5_000);
}
toasts.querySelectorAll(".toast-line").forEach(fade);

on("say", toast);
on("announce", announce);

// What is shown on the next page, of a verb that leads to one.
const LATER = "say-later";
try {
  const said = sessionStorage.getItem(LATER);
  if (said) {
    sessionStorage.removeItem(LATER);
    toast(said);
  }
} catch {
  // storage is switched off
}
function sayLater(text) {
  try {
    sessionStorage.setItem(LATER, text);
  } catch {
    // then it is not shown
  }
}

// ---- people's verbs

// Whether the person says yes; `act`: the words of the button that was pressed.
function confirmed(question, act) {
  if (!question) return Promise.resolve(true);
  const dialog = document.getElementById("confirm");
  document.getElementById("confirm-words").textContent = question;
  document.getElementById("confirm-yes").textContent = act ? `Yes, ${act.toLowerCase()}` : "Yes";
  dialog.returnValue = "no";
  dialog.showModal(); // the focus is on "no": a key held too long confirms nothing
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  const button = event.submitter;
  const verb = button?.dataset.verb ?? form.dataset.verb;
  if (!verb) return;
  event.preventDefault();
  await submit(verb, button?.hasAttribute("formaction") ? button.formAction : form.action, form, button);
});

// One verb of a form at a time; its button shows it for as long as that takes.
async function submit(verb, address, form, button = null) {
  if (form.dataset.sending) return;
  if (form.hasAttribute("data-locked")) {
    const why = form.querySelector(".locked-words")?.textContent || "Claim the case first. What you wrote is kept.";
    refused(form, `It cannot be sent now. ${why}`);
    return;
  }
  form.dataset.sending = verb;
  try {
    if (!(await confirmed(button?.dataset.confirm ?? form.dataset.confirm, button?.firstChild.textContent.trim()))) return;
    button?.setAttribute("aria-busy", "true");
    await send(verb, address, form);
  } finally {
    button?.removeAttribute("aria-busy");
    delete form.dataset.sending;
  }
}

// The requests without a response, by form. Each has a key, by which the server does it once however often it is sent
// (browsers, too, send again what a broken connection may have lost).
const unanswered = new Map();
const LATELY = 60_000; // ms; after so long a verb without words is a new request

function keyOf(verb, address, form, body) {
  const asked = `${address} ${body}`;
  const known = unanswered.get(form);
  if (known?.asked === asked && (form.matches("form.act") || performance.now() - known.at < LATELY)) return known.key;
  const key = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  unanswered.set(form, { verb, address, asked, key, at: performance.now() });
  return key;
}

// The response and its data; requested once more when none comes, or only a part of it.
async function insist(address, options) {
  for (let isLast = false; ; isLast = true) {
    try {
      const answer = await ask(address, options);
      const text = await answer.text();
      return { answer, data: text && answer.headers.get("Content-Type")?.includes("json") ? JSON.parse(text) : null };
    } catch (fault) {
      if (isLast) throw fault;
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  }
}

// The case has been answered by this person while an answer of theirs was under way: most likely it is that one.
on("answered", async (form) => {
  const known = unanswered.get(form);
  if (!known || form.dataset.sending || known.asked !== `${known.address} ${bodyOf(form)}`) return; // what nobody has sent
  form.dataset.sending = known.verb;
  await send(known.verb, known.address, form).finally(() => delete form.dataset.sending);
});

async function send(verb, address, form) {
  forget(form);
  const body = bodyOf(form); // what is typed from here on is not sent
  const focused = document.activeElement;
  if (!(await settle(form))) {
    refused(form, "Your draft is still loading: to send now would lose it. Try again in a moment.");
    goOn(form);
    return;
  }
  const headers = { "Idempotency-Key": keyOf(verb, address, form, body) };
  let answer, data;
  try {
    ({ answer, data } = await insist(address, { method: "POST", body, headers }));
  } catch {
    refused(form, `The server did not respond: this may not have arrived.${form.matches("form.act") ? " What you wrote stays here." : ""}`);
    goOn(form);
    emit("unanswered");
    return;
  }
  if (answer.status < 500) unanswered.delete(form);
  if (answer.status === 401) {
    bar(form);
    if (form.matches("form.act") || hasUnsent()) refused(form, "You are signed out. What you wrote stays here: sign in, then send it again.", [], { more: signInLink() });
    else location.reload();
    return;
  }
  if (!answer.ok) {
    const isAway = document.activeElement !== focused || String(bodyOf(form)) !== String(body);
    refused(form, wordsOf(answer.status, data), data?.errors, { isAway });
    goOn(form);
    emit("refused", { verb, status: answer.status });
    return;
  }
  const done = answer.headers.get("X-Done");
  const next = answer.headers.get("X-Leads-To");
  const leaves = Boolean(next) && next !== location.pathname;
  if (data) emit("done", { verb, form, leaves, hasMore: String(bodyOf(form)) !== String(body) });
  if (leaves) {
    sayLater(done);
    location.assign(next);
  } else if (done) {
    toast(done);
  }
}

// Shown beside the first input that is wrong, which gets the focus, else beside the form's button: either may be out of sight.
// `isAway`: somebody goes on typing, and the focus stays there.
function refused(form, words, faults = [], { more = null, isAway = false } = {}) {
  const place = form.querySelector(".act-error");
  if (!place) {
    toast(words, "error");
    return;
  }
  const wrong = faults.map((fault) => form.elements.namedItem(fault.pointer.slice(1))).filter((field) => field?.tagName);
  for (const field of wrong) field.setAttribute("aria-invalid", "true");
  if (wrong.length) {
    wrong[0].closest("details")?.setAttribute("open", "");
    wrong[0].after(place);
    if (!isAway) wrong[0].focus();
  } else {
    form.querySelector(".act-send").before(place);
  }
  place.replaceChildren(words, ...(more ? [" ", more] : []));
  place.hidden = false;
  place.scrollIntoView({ block: "nearest" });
}

function forget(form) {
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  const place = form.querySelector(".act-error");
  if (place) place.hidden = true;
}

// ---- clocks

const UNITS = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "min"],
];
function length(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  for (const [size, unit] of UNITS) {
    if (whole >= 2 * size || (unit === "min" && whole >= size)) return `${Math.floor(whole / size)} ${unit}`;
  }
  return `${whole} s`;
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function tick(root = document) {
  for (const time of root.querySelectorAll("time.since[datetime]:not([datetime=''])")) {
    set(time, length((now() - Date.parse(time.dateTime)) / 1000));
  }
  for (const time of root.querySelectorAll("time.until[datetime]:not([datetime=''])")) {
    const left = (Date.parse(time.dateTime) - now()) / 1000;
    set(time, time.classList.contains("hint") ? `${length(left)} left` : length(left));
    time.classList.toggle("is-near", left < 120);
  }
  for (const time of root.querySelectorAll("time.moment:not([data-told]), time.item-time:not([data-told])")) {
    const at = new Date(time.dateTime);
    time.dataset.told = "1";
    time.title = at.toLocaleString();
    const sameDay = at.toDateString() === new Date(now()).toDateString();
    const options = { hour: "2-digit", minute: "2-digit", ...(sameDay ? {} : { day: "numeric", month: "short" }) };
    time.textContent = at.toLocaleString([], options);
  }
}
tick();
setInterval(() => {
  if (!document.hidden) tick();
}, 1_000);
on("tick", () => tick());
on("frame", (frame) => heard(frame.at));
document.addEventListener("htmx:afterSettle", () => tick());

// ---- the keyboard

const keysDialog = document.getElementById("keys");
const keysOn = document.getElementById("keys-on");
const KEYS = "keys-off";
try {
  keysOn.checked = !localStorage.getItem(KEYS);
} catch {
  // storage is switched off: they are on
}
keysOn.addEventListener("change", () => {
  try {
    if (keysOn.checked) localStorage.removeItem(KEYS);
    else localStorage.setItem(KEYS, "1");
  } catch {
    // for this page only
  }
});
document.getElementById("keys-button").addEventListener("click", () => keysDialog.showModal());

const SHEETS = "details.menu[open], details.more-filters[open]"; // they cover the page

document.addEventListener("keydown", (event) => {
  if (isComposing(event)) return;
  const field = event.target.closest?.("input, textarea, select, [contenteditable]");
  const form = event.target.closest?.("form.act");
  if (form && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    form.requestSubmit(form.querySelector(".act-send button")); // which shows that it is under way
    return;
  }
  // It would send the form, and may be a key of what somebody types.
  if (form && event.key === "Enter" && event.target.matches("input")) event.preventDefault();
  const sheet = event.target.closest?.(SHEETS);
  if (sheet && event.key === "Escape") {
    sheet.open = false;
    sheet.querySelector("summary").focus();
    return;
  }
  if (field && event.key === "Escape") field.blur();
  if (document.querySelector("dialog[open]") || !isCommand(event, "jk".includes(event.key))) return;
  if (event.key === "?") keysDialog.showModal();
  else if (!keysOn.checked) return;
  else if (event.key === "/") document.getElementById("search")?.focus();
  else if (event.key === "n") next(event);
  else {
    emit("key", event);
    return;
  }
  event.preventDefault();
});

// Once per press, and through the form, which sends one request at a time: two would claim two.
function next(event) {
  if (main.dataset.role === "reader") return;
  const button = document.querySelector("[data-verb=next]");
  const form = document.getElementById("verb-form");
  if (button) form.requestSubmit(button);
  else submit("next", "/escalations/next", form);
}

// ---- the rest

document.getElementById("team")?.addEventListener("change", (event) => event.target.form.submit());
document.addEventListener("click", (event) => {
  for (const sheet of document.querySelectorAll(SHEETS)) {
    if (!sheet.contains(event.target)) sheet.open = false;
  }
});
// htmx would follow to the sign-in page, and what was typed would be lost.
document.addEventListener("htmx:beforeOnLoad", (event) => {
  if (event.detail.xhr.status !== 401 || !hasUnsent()) return;
  event.preventDefault();
  emit("ended");
});
for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(name, (event) => {
    let words = "It could not be loaded: no connection.";
    try {
      if (event.detail.xhr?.status) words = JSON.parse(event.detail.xhr.responseText).detail;
    } catch {
      words = "It could not be loaded.";
    }
    emit("failed", words);
  });
}
