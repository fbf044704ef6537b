// An escalation's page: the request stays up to date, the timeline grows, and nothing that was typed is lost.
import { now } from "./clock.js";
import * as drafts from "./drafts.js";
import { FORMS as ACTS, hasText, hasUnsent, lock } from "./forms.js";
import { ask, signInLink, words } from "./http.js";
import { leave } from "./typing.js";
import { keepWhileWorking } from "./work.js";

const main = document.getElementById("main");
const me = main.dataset.me;
const id = main.dataset.escalation;
const emit = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));
const panel = () => document.getElementById("panel");

// ---- drafts: kept on the server until they are sent

// What was written and has no place any more (somebody else has answered, or its field has other words) is shown, so that
// it can be copied; of an action's argument with its name, as it may be a mere number.
let orphans = [];
const told = ([name, text]) => (name.includes("arguments/") ? `${name.replace("arguments/", "").replaceAll("/", " › ")}: ${text}` : text);
function showOrphans() {
  const place = document.getElementById("kept");
  place.hidden = !orphans.length;
  place.querySelector("pre").textContent = orphans.flatMap(({ fields }) => Object.entries(fields).map(told)).join("\n\n");
}

document.getElementById("kept-drop").addEventListener("click", () => {
  for (const { form } of orphans) drafts.drop(form);
  orphans = [];
  showOrphans();
});

async function restore() {
  const found = await drafts.open(`/escalations/${id}/`);
  orphans = found.orphans;
  showOrphans();
  if (!found.form || opened) return;
  open(found.form.id);
  offered = found.form.id;
}

document.addEventListener("hub:done", ({ detail: { verb, form, hasMore } }) => {
  if (form?.matches("form.act")) {
    if (!hasMore) putAway(form, drafts.isTouched(form));
    drafts.sent(form);
  }
  if (verb === "claim" || verb === "keep") sayKept(null);
  isOver = verb !== "keep";
  refresh();
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

// ---- the forms: one open at a time

let opened = null;
let offered = null; // a form that opened by itself, for what was kept of it
function open(name) {
  opened = name;
  offered = null;
  for (const form of panel().querySelectorAll("form.act")) form.classList.toggle("is-open", form.id === name);
  for (const button of panel().querySelectorAll("[data-opens]")) button.setAttribute("aria-expanded", String(button.dataset.opens === name));
}
function toggle(name) {
  const button = panel().querySelector(`[data-opens="${name}"]`);
  if (!button || button.getAttribute("aria-disabled") === "true") return false;
  leave();
  open(opened === name && offered !== name ? null : name);
  if (opened) document.getElementById(name).querySelector("textarea, input:not([type=hidden]), select, .act-send button")?.focus();
  return true;
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-opens]");
  if (button) toggle(button.dataset.opens);
});

// ---- the panel, kept up to date

let coming = null;
let isOver = false; // a verb of this page was done, and what had the focus may be gone
function refresh() {
  clearTimeout(coming);
  coming = setTimeout(load, 120);
}

// What the reader did to the page stays: what is unfolded, an input's size, the words of a refusal; and a form in which
// somebody is, or has typed, stays as it is, whatever comes.
const isKept = (node) =>
  node.matches?.("[data-still]") ||
  (node.matches?.(ACTS) && (hasText(node) || node.contains(document.activeElement) || node.querySelector(".act-error:not([hidden])")));
const KEEPING = {
  beforeAttributeUpdated: (name) => !["open", "style"].includes(name),
  beforeNodeMorphed: (node) => !isKept(node),
  beforeNodeRemoved: (node) => !(node.matches?.(ACTS) && isKept(node)),
};

// Which forms can be sent is for the server to say; one that it no longer shows cannot.
function relock(fresh) {
  const { owner, ownerName, state } = fresh.dataset;
  const holds = owner === me && ["claimed", "waiting"].includes(state);
  for (const form of panel().querySelectorAll(ACTS)) {
    const now = fresh.querySelector(`#${form.id}`);
    let why = "";
    if (!now) why = owner && owner !== me ? `${ownerName} has answered. What you wrote is kept here, to read and copy.` : "This is over. What you wrote is kept here, to read and copy.";
    else if (now.hasAttribute("data-locked") && !holds) why = owner ? `${ownerName} has it now. What you wrote is kept here.` : "Claim the case to send this. What you wrote is kept.";
    lock(form, !now || now.hasAttribute("data-locked"), why);
    if (!now && owner === me) emit("hub:answered", form);
  }
}

document.addEventListener("hub:unanswered", refresh);

async function load() {
  try {
    const answer = await ask(`/escalations/${id}/panel/`, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("panel");
    if (!answer.ok || !fresh) {
      if (answer.status === 404) {
        withdraw();
        return;
      }
      if (answer.status === 403) lockAll("You may no longer answer this. What you wrote stays here.");
      emit("hub:say", "It could not be loaded again.");
      return;
    }
    if (Number(fresh.dataset.version) < Number(panel().dataset.version)) return;
    const wasOffered = offered;
    const locks = fresh.cloneNode(true); // the morph takes nodes out of the other
    window.Idiomorph.morph(panel(), fresh, { callbacks: KEEPING });
    window.htmx.process(panel());
    open(opened);
    offered = wasOffered;
    relock(locks);
    if (isOver && document.activeElement === document.body) document.getElementById("standing").focus();
    isOver = false;
    document.getElementById("task-status").textContent = locks.dataset.taskStatus;
    // The agents' private reasoning opens for who holds the claim.
    document.getElementById("private-choice").hidden = locks.dataset.owner !== me || locks.dataset.state !== "claimed";
    emit("hub:tick");
    warn();
  } catch {
    emit("hub:say", "No connection: what you see may be old.");
    setTimeout(() => (lapsed = ""), AGAIN); // nothing else may tell of a claim's end
  }
}

// At once, before the panel is loaded anew: nobody should go on typing an answer that somebody else is giving.
function standing(row) {
  const before = { ...panel().dataset };
  if (Number(row.dataset.version) < Number(before.version)) return;
  const { owner, ownerName, state } = row.dataset;
  const mine = owner === me && ["claimed", "waiting"].includes(state);
  for (const form of panel().querySelectorAll(`${ACTS}:not(#form-note, #form-learning)`)) {
    if (!mine) lock(form, true, owner ? `${ownerName} has it now. What you wrote is kept here.` : "Your claim has ended. What you wrote is kept here: claim it again to send it.");
  }
  if (owner && owner !== me && before.owner !== owner) {
    document.getElementById("standing").textContent = `${ownerName} has taken it.`;
    document.getElementById("claim-button")?.setAttribute("aria-disabled", "true");
    emit("hub:announce", `${ownerName} has taken it`);
    if (before.owner === me) emit("hub:say", `${ownerName} has it now.${hasUnsent() ? " What you wrote is kept here." : ""}`);
  } else if (before.owner === me && !owner && state === "queued") {
    emit("hub:say", `Your claim has ended.${hasUnsent() ? " What you wrote is kept here." : ""} Claim it again to go on.`);
  }
}

// Nothing may be sent any more, for whatever reason: what was typed can be read and copied.
function lockAll(why) {
  for (const form of panel().querySelectorAll(ACTS)) lock(form, true, why);
}

// A case that may no longer be seen goes from the screen; what its reader wrote stays, to read and copy.
const WITHDRAWN = ".case-top > :not(a), .asked > :not(#standing, form.act.is-open), .briefing, .summary, .timeline-part, .case-side, #newer";
function withdraw() {
  if (!hasUnsent()) {
    location.reload();
    return;
  }
  lockAll("What you wrote stays here, to read and copy, until you leave the page.");
  panel().dataset.owner = "";
  for (const part of document.querySelectorAll(WITHDRAWN)) part.hidden = true;
  document.getElementById("standing").textContent = "You may no longer see this case.";
  emit("hub:say", "You may no longer see this case.");
}

document.addEventListener("hub:ended", () => {
  const place = document.getElementById("ended");
  place.querySelector(".way").replaceChildren(signInLink());
  place.hidden = false;
});
document.addEventListener("hub:ready", () => {
  const place = document.getElementById("ended");
  if (place.hidden) return;
  place.hidden = true;
  startAnew();
  drafts.keepAnew(); // a session may have ended since the server went back
});

// What the server says counts, though it may have gone back to an earlier state.
function startAnew() {
  panel().dataset.version = 0;
  refresh();
}

// ---- the claim's end

document.addEventListener("hub:refused", ({ detail }) => {
  if (detail.status === 409) refresh();
});

const AGAIN = 5_000; // ms
let lapsed = ""; // the last end that was seen to pass
function warn() {
  const { until, owner, lease } = panel().dataset;
  // Nobody may have written it down, and then nothing tells of it. It was told in whole seconds.
  if (until !== lapsed && now() - Date.parse(until) > 1_000) {
    lapsed = until;
    refresh();
  }
  const left = until && owner === me ? Date.parse(until) - now() : Infinity;
  const warning = document.getElementById("lease-warning");
  // Of a short claim the last quarter: who works on it is not warned all the time.
  const near = left < Math.min(120_000, Number(lease) * 15_000) && left > 0;
  if (warning && warning.hidden === near) warning.hidden = !near;
}
setInterval(warn, 1_000);

// Asks to keep the claim: true, or in words why not.
async function keep() {
  try {
    const answer = await ask(`/escalations/${id}/keep`, { method: "POST" });
    const data = await answer.json().catch(() => null);
    if (answer.status === 409) refresh();
    if (!answer.ok) return words(answer.status, data);
    if (panel().dataset.owner === me) panel().dataset.until = data.claim_expires_at;
    refresh();
    return true;
  } catch {
    return "no connection.";
  }
}

function sayKept(fault) {
  const place = document.getElementById("not-kept");
  place.hidden = fault === null;
  if (fault !== null) place.textContent = `The claim could not be kept: ${fault}`;
}

keepWhileWorking({ panel, me, keep, say: sayKept });

// ---- the timeline

const timeline = () => document.getElementById("timeline");
const NEAR = 10 * 60_000;
let recent = [];

// One heading for what one author did within ten minutes.
function regroup() {
  for (const list of timeline().querySelectorAll("ol.items")) {
    let last = null;
    for (const item of list.children) {
      if (!item.dataset.item) continue;
      const near = last && last.dataset.agent === item.dataset.agent && Math.abs(Date.parse(last.dataset.at) - Date.parse(item.dataset.at)) < NEAR;
      item.classList.toggle("is-continued", Boolean(near));
      last = item;
    }
  }
}

function fits(item) {
  const { kind, agent, tag, q } = timeline().dataset;
  if (kind && item.dataset.kind !== kind) return false;
  if (agent && item.dataset.agent !== agent) return false;
  if (tag && !(item.dataset.tags ?? "").split(",").includes(tag)) return false;
  return !q || item.textContent.toLowerCase().includes(q.toLowerCase());
}

// Gives back what was not there yet.
function add(html, fresh) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  const come = [];
  const since = document.getElementById("since");
  for (const item of [...holder.content.children].sort((a, b) => (a.dataset.item < b.dataset.item ? -1 : 1))) {
    // One that is there already may have been opened meanwhile, which a shared frame is not.
    if (document.getElementById(item.id) || !fits(item)) continue;
    const next = [...since.children].find((other) => other.dataset.item && other.dataset.item < item.dataset.item);
    since.insertBefore(item, next ?? since.querySelector(".following"));
    window.htmx.process(item);
    if (item.dataset.about) mark(item);
    come.push(item);
    if (fresh) {
      item.classList.add("is-new");
      setTimeout(() => item.classList.remove("is-new"), 4_000);
    }
  }
  regroup();
  emit("hub:tick");
  return come;
}

// A decision that is on the page already learns what has become of it; one that comes with a page says so itself.
function mark(item) {
  const what = document.querySelector(`#i-${item.dataset.about} .item-what`);
  if (!what || what.textContent.includes(item.dataset.mark)) return;
  const badge = document.createElement("span");
  badge.className = "st";
  badge.textContent = item.dataset.mark;
  what.append(" ", badge);
}

// The timeline is often out of sight: that something came is said, and one click away.
const newer = document.getElementById("newer");
let unseen = 0;

function tell(items, spoken) {
  if (spoken) for (const item of items) emit("hub:announce", `${item.dataset.agent} ${item.querySelector(".item-what").textContent}`);
  count(isInSight() ? 0 : unseen + items.length);
}

function count(items) {
  unseen = items;
  document.getElementById("newer-count").textContent = unseen;
  newer.hidden = !unseen;
}

function isInSight() {
  const { top, bottom } = document.getElementById("since-title").getBoundingClientRect();
  return bottom > 0 && top < innerHeight - 80;
}

addEventListener("scroll", () => unseen && isInSight() && count(0), { passive: true });
newer.addEventListener("click", () => {
  document.getElementById("since-title").scrollIntoView();
  document.querySelector("#since li[data-item]")?.focus({ preventScroll: true });
});

document.addEventListener("hub:frame", ({ detail: frame }) => {
  if (frame.item && frame.task === main.dataset.task) {
    recent = [...recent.slice(-499), frame];
    const come = add(frame.item, true).filter((item) => item.dataset.agent !== main.dataset.name);
    if (come.length) tell(come, frame.event !== "escalation.claim"); // who has taken it is said below
    if (frame.event.startsWith("task.")) refresh(); // which tells of the task's status, too
  }
  if (frame.escalation === id) {
    const holder = document.createElement("template");
    holder.innerHTML = frame.row ?? "";
    const row = holder.content.querySelector("tr");
    if (row) standing(row);
    refresh();
  }
});
document.addEventListener("hub:resync", ({ detail: { why, isBack } }) => {
  recent = []; // perhaps of a history that is lost
  if (hasUnsent() || (isBack && orphans.length)) {
    emit("hub:say", `${why}: the timeline may be wrong until you load the page again.`);
    startAnew();
    if (isBack) drafts.keepAnew();
    return;
  }
  location.reload();
});

document.addEventListener("htmx:afterSettle", (event) => {
  const known = Number(timeline().dataset.seq);
  if (event.detail.target.id === "timeline" || event.detail.elt.id === "timeline") {
    for (const frame of recent) if (frame.seq > known) add(frame.item, false);
  }
  regroup();
});
document.addEventListener("hub:failed", ({ detail }) => emit("hub:say", detail));

// A tag narrows the timeline to itself.
document.addEventListener("click", (event) => {
  const tag = event.target.closest(".tag");
  if (!tag) return;
  const form = document.getElementById("timeline-filters");
  form.elements.tag.value = tag.dataset.tag;
  form.requestSubmit();
});

// To an item of the strip or the summary: where it stands, else alone in a dialog.
document.addEventListener("click", async (event) => {
  const link = event.target.closest("[data-jump]");
  if (!link) return;
  event.preventDefault();
  const item = document.getElementById(`i-${link.dataset.jump}`);
  if (item) {
    item.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    item.focus({ preventScroll: true });
    return;
  }
  const dialog = document.getElementById("one");
  const answer = await fetch(`/escalations/${id}/items/${link.dataset.jump}/`, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!answer?.ok) {
    emit("hub:say", "It could not be loaded.");
    return;
  }
  const found = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("li");
  found.removeAttribute("id"); // it may yet come on the timeline
  dialog.querySelector("ol").replaceChildren(found);
  emit("hub:tick");
  dialog.showModal();
});

// ---- keys

const FORMS = { a: "form-approve", e: "form-edit", r: "form-respond", x: "form-note", l: "form-learning" };
document.addEventListener("hub:key", ({ detail: event }) => {
  if (event.key === "j" || event.key === "k") {
    const items = [...timeline().querySelectorAll("li[data-item]")];
    const item = document.activeElement.closest("li[data-item]");
    const at = items.indexOf(item);
    if (event.key === "j" && item?.nextElementSibling?.matches(".following")) {
      item.nextElementSibling.scrollIntoView({ block: "nearest" }); // which loads it: the rest is not skipped
      event.preventDefault();
      return;
    }
    items[Math.max(0, Math.min(items.length - 1, at + (event.key === "j" ? 1 : -1)))]?.focus();
  } else if (event.key === "Escape" && opened) {
    const button = panel().querySelector(`[data-opens="${opened}"]`);
    open(null);
    button?.focus();
  } else if (event.key === "c") document.querySelector("#claim-button:not([aria-disabled])")?.click();
  else if (event.key === "h" && panel().dataset.owner === me) keep().then((done) => sayKept(done === true ? null : done));
  else if (!(event.key in FORMS) || !toggle(FORMS[event.key])) return;
  event.preventDefault();
});

for (const form of panel().querySelectorAll(`${ACTS}[data-locked]`)) lock(form, true);
restore();
regroup();
warn();
