// The timeline of a case: it grows by itself, is narrowed by its filters, and is walked through by keys.
import { now } from "./clock.js";
import { emit, main, on, say } from "./page.js";

const id = main.dataset.escalation;
const timeline = () => document.getElementById("timeline");
const NEAR = 10 * 60_000;
let recent = []; // frames that a page loaded meanwhile may not know yet

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

// ---- what comes

function parse(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  return [...holder.content.querySelectorAll("li[data-item]")];
}

// Where it stands; false where that is further back than what is loaded.
function place(item) {
  const list = document.getElementById(Number(item.dataset.seq) > Number(timeline().dataset.asOf) ? "since" : "before");
  const next = [...list.children].find((other) => other.dataset.item && other.dataset.item < item.dataset.item);
  if (!next && list.querySelector(".following")) return false;
  list.insertBefore(item, next ?? null);
  window.htmx.process(item);
  return true;
}

// Adds those that are not there yet, and returns them.
function add(items, fresh) {
  const come = items.filter((item) => !document.getElementById(item.id) && place(item));
  for (const item of fresh ? come : []) {
    item.classList.add("is-new");
    setTimeout(() => item.classList.remove("is-new"), 4_000);
  }
  regroup();
  emit("tick");
  return come;
}

// As it is now; one that was opened whole stays so.
function renew(item) {
  const here = document.getElementById(item.id);
  if (!here) return;
  const isWhole = !here.querySelector(".show-all");
  if (isWhole) window.Idiomorph.morph(here.querySelector(".item-head"), item.querySelector(".item-head"));
  else window.Idiomorph.morph(here, item);
  window.htmx.process(document.getElementById(item.id));
}

function take(frame, fresh) {
  const come = frame.item ? add(parse(frame.item), fresh) : [];
  ask(frame.ask);
  return come;
}

// ---- what is not for all who have the case open, or has changed: the server is asked, some items at a time

const AT_ONCE = 50;
const SOON = 200, AGAIN = 1_000, LATER = 5_000; // ms
const asked = new Set();
let asking = null;

function ask(ids) {
  for (const one of ids) asked.add(one);
  if (asked.size) asking ??= setTimeout(fetchAsked, SOON);
}

async function fetchAsked() {
  if (document.hidden) {
    asking = setTimeout(fetchAsked, AGAIN); // nobody reads it
    return;
  }
  const ids = [...asked].slice(0, AT_ONCE);
  const { view } = timeline().dataset;
  let wait = AGAIN;
  for (const one of ids) asked.delete(one);
  try {
    const answer = await fetch(`/escalations/${id}/timeline/?ids=${ids}${view && `&${view}`}`, { headers: { Accept: "text/html" } });
    if (answer.status >= 500) throw new Error(answer.statusText);
    if (answer.ok && view === timeline().dataset.view) replace(ids, parse(await answer.text()));
  } catch {
    for (const one of ids) asked.add(one);
    wait = LATER;
  }
  asking = asked.size ? setTimeout(fetchAsked, wait) : null;
}

function replace(ids, items) {
  const stay = new Set(items.map((item) => item.dataset.item));
  for (const one of ids) if (!stay.has(one)) document.getElementById(`i-${one}`)?.remove();
  items.forEach(renew);
  told(add(items, true), true);
}

// What expires goes by the clock, but not from an open case, and all of it goes with the answer.
const SECOND = 1_000; // of which `data-expires` tells no part
const expired = new Set();
setInterval(() => {
  const late = [...timeline().querySelectorAll("li[data-expires]")].filter((item) => Date.parse(item.dataset.expires) + SECOND < now());
  const fresh = late.map((item) => item.dataset.item).filter((one) => !expired.has(one));
  for (const one of fresh) expired.add(one);
  ask(fresh);
}, 2_000);

// The agents' reasoning opens and closes with the claim.
const isPrivate = () => new URLSearchParams(timeline().dataset.view).has("private");
const reload = () => document.getElementById("timeline-filters").requestSubmit();
let state = document.getElementById("panel").dataset.state;

on("frame", (frame) => {
  if (frame.task !== main.dataset.task) return;
  if (frame.escalation === id && frame.state !== state) {
    state = frame.state;
    expired.clear();
    if (isPrivate()) reload();
  }
  recent = [...recent.slice(-499), frame];
  told(take(frame, true), frame.event !== "escalation.claim"); // who has claimed it is announced by panel.js
});
let wasReady = false;
on("ready", () => {
  if (wasReady && isPrivate()) reload(); // what is private is in no ledger that this page may read
  wasReady = true;
});
on("resync", () => {
  recent = []; // perhaps of a history that is lost
});
let view = timeline().dataset.view;
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target.id === "timeline" || event.detail.elt.id === "timeline") loaded();
  regroup();
});
function loaded() {
  const known = Number(timeline().dataset.seq);
  if (view === timeline().dataset.view) {
    for (const frame of recent) if (frame.seq > known) take(frame, false);
    return;
  }
  view = timeline().dataset.view;
  recent = []; // which was for the other view
  asked.clear();
  wasReady = false;
  emit("view", known);
}
on("failed", say);

// ---- what came out of sight: it is announced, and one click away

const newer = document.getElementById("newer");
let unseen = 0;

function told(come, spoken) {
  const items = come.filter((item) => item.dataset.agent !== main.dataset.name);
  if (items.length) tell(items, spoken);
}

function tell(items, spoken) {
  if (spoken) for (const item of items) emit("announce", `${item.dataset.agent} ${item.querySelector(".item-what").textContent.trim()}`);
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

// ---- ways through it

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
    say("The item could not be loaded.");
    return;
  }
  const found = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("li");
  found.removeAttribute("id"); // it may yet come on the timeline
  dialog.querySelector("ol").replaceChildren(found);
  emit("tick");
  dialog.showModal();
});

// The focus goes to the next item, or to the one before.
export function step(forwards) {
  const items = [...timeline().querySelectorAll("li[data-item]")];
  const item = document.activeElement.closest("li[data-item]");
  if (forwards && item?.nextElementSibling?.matches(".following")) {
    item.nextElementSibling.scrollIntoView({ block: "nearest" }); // which loads it: the rest is not skipped
    return;
  }
  items[Math.max(0, Math.min(items.length - 1, items.indexOf(item) + (forwards ? 1 : -1)))]?.focus();
}

regroup();
