// The timeline of a case: it grows by itself, is narrowed by its filters, and is walked through by keys.
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

function fits(item) {
  const { kind, agent, tag, q } = timeline().dataset;
  if (kind && item.dataset.kind !== kind) return false;
  if (agent && item.dataset.agent !== agent) return false;
  if (tag && !(item.dataset.tags ?? "").split(",").includes(tag)) return false;
  return !q || item.textContent.toLowerCase().includes(q.toLowerCase());
}

// Returns what was not there yet.
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
  emit("tick");
  return come;
}

// A decision that is on the page already is marked with what has become of it; one that comes with a page says so itself.
function mark(item) {
  const what = document.querySelector(`#i-${item.dataset.about} .item-what`);
  if (!what || what.textContent.includes(item.dataset.mark)) return;
  const badge = document.createElement("span");
  badge.className = "st";
  badge.textContent = item.dataset.mark;
  what.append(" ", badge);
}

on("frame", (frame) => {
  if (!frame.item || frame.task !== main.dataset.task) return;
  recent = [...recent.slice(-499), frame];
  const come = add(frame.item, true).filter((item) => item.dataset.agent !== main.dataset.name);
  if (come.length) tell(come, frame.event !== "escalation.claim"); // who has claimed it is announced by panel.js
});
on("resync", () => {
  recent = []; // perhaps of a history that is lost
});
document.addEventListener("htmx:afterSettle", (event) => {
  const known = Number(timeline().dataset.seq);
  if (event.detail.target.id === "timeline" || event.detail.elt.id === "timeline") {
    for (const frame of recent) if (frame.seq > known) add(frame.item, false);
  }
  regroup();
});
on("failed", say);

// ---- what came out of sight: it is announced, and one click away

const newer = document.getElementById("newer");
let unseen = 0;

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
