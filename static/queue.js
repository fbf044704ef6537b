// The queue: rows come, change and go by themselves, but never under the pointer or the focus.
import { now } from "./clock.js";
import { emit, main, me, on, say } from "./page.js";

const newer = document.getElementById("newer");
const title = document.title;

let pending = new Map(); // what would move rows that somebody is pointing at: id -> row, or null for one to remove
let recent = []; // frames that a page loaded meanwhile may not know yet

const queue = () => document.getElementById("queue");
const body = () => document.getElementById("rows");
const rowsOf = () => [...body().querySelectorAll("tr[data-escalation]")];
const crowdOf = (agent) => [...body().querySelectorAll("tr.crowd")].find((line) => line.dataset.agent === agent);
const busy = () => body().matches(":hover") || body().contains(document.activeElement);

function parse(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  return holder.content.querySelector("tr");
}

// The server names each row's place, as a text to compare.
function place(row) {
  const next = rowsOf().find((other) => other !== row && row.dataset.place < other.dataset.place);
  body().insertBefore(row, next ?? null);
}

function mark(row, how) {
  row.classList.remove("is-new", "is-changed");
  row.classList.add(how);
  setTimeout(() => row.classList.remove(how), 4_000);
}

function own(row) {
  row.classList.toggle("is-mine", row.dataset.owner === me && row.dataset.state !== "queued");
}

// Whether the row stands in this queue is for the server to say: `fits`.
function apply(frame, quiet = false) {
  if (!frame.escalation) return;
  if (!frame.row) {
    refold(); // it is not for all who heard of it
    return;
  }
  const row = parse(frame.row);
  const standing = document.getElementById(row.id);
  const here = standing ?? pending.get(row.id);
  if (here && Number(here.dataset.version) > Number(row.dataset.version)) return;
  own(row);
  const decides = dependsOnOthers(row);
  if (!frame.fits) leave(row.id, standing, row);
  else if (standing) change(standing, row, frame, quiet);
  else if (!crowdOf(row.dataset.agent) && !(decides && !busy())) arrive(row, quiet);
  if (decides) refold();
  states();
}

// ---- what is not here: after some rows of one agent the server folds the rest into one line, and it ends a long list

// Whether other rows decide which are here, and so perhaps rows that are not.
function dependsOnOthers(row) {
  const { agent } = row.dataset;
  const { whole, foldAt, limit, cut } = queue().dataset;
  const rows = rowsOf();
  if (cut !== undefined || rows.length >= Number(limit)) return true;
  return agent !== whole && (crowdOf(agent) || rows.filter((other) => other.dataset.agent === agent).length >= Number(foldAt));
}

// Then the server is asked; not for each row that comes, and for a tenth of the time at most.
const SOONEST = 500, LATEST = 10_000;
let pause = SOONEST;
let folding = null;
let isStale = false;
function refold() {
  isStale = true;
  folding ??= setTimeout(async () => {
    folding = null;
    if (!isStale) return;
    isStale = false;
    const began = performance.now();
    if (busy()) await recount();
    else await reload();
    pause = Math.min(LATEST, Math.max(SOONEST, 10 * (performance.now() - began)));
  }, pause);
}

// A claim that runs out frees its row, also where nobody is there to tell it.
const LATE = 5_000, LONGEST = 86_400_000;
let ending = null;
function awaitEnds() {
  clearTimeout(ending);
  const ends = rowsOf().map((row) => Date.parse(row.dataset.until)).filter(Number.isFinite);
  if (ends.length) ending = setTimeout(refold, Math.min(LONGEST, Math.max(LATE, Math.min(...ends) - now() + LATE)));
}

// While somebody points at the table, only the numbers change.
async function recount() {
  isStale = true; // the rows follow when it is quiet
  const page = await fetchPage().catch(() => null);
  for (const line of page?.querySelectorAll("#rows tr.crowd") ?? []) {
    const here = document.getElementById(line.id);
    if (!here) continue;
    here.querySelector(".crowd-count").textContent = line.dataset.more;
    Object.assign(here.dataset, { more: line.dataset.more, free: line.dataset.free });
  }
  states();
}

function leave(id, standing, row) {
  if (!standing) {
    pending.delete(id);
  } else if (busy()) {
    pending.set(id, null);
    standing.classList.add("is-gone");
    window.Idiomorph.morph(standing.querySelector(".owner"), row.querySelector(".owner"));
    standing.dataset.state = row.dataset.state;
  } else {
    standing.remove();
  }
}

function change(standing, row, frame, quiet) {
  if (standing.outerHTML === row.outerHTML) return;
  const hasMoved = standing.dataset.place !== row.dataset.place;
  const changed = standing.dataset.version !== row.dataset.version;
  window.Idiomorph.morph(standing, row);
  const now = document.getElementById(row.id);
  if (pending.get(row.id) === null) pending.delete(row.id);
  if (changed && !quiet) {
    mark(now, "is-changed");
    if (frame.event === "escalation.claim" && row.dataset.owner !== me) {
      emit("announce", `${row.dataset.ownerName} has claimed ${row.querySelector(".task-key").textContent}`);
    }
  }
  if (hasMoved && !busy()) place(now);
}

function arrive(row, quiet) {
  const known = pending.has(row.id);
  if (!known && !quiet) {
    const asked = row.querySelector(".need a").textContent;
    emit("announce", `New, ${row.querySelector(".pri").textContent}: ${asked}, from ${row.dataset.agent}`);
  }
  if (busy()) {
    pending.set(row.id, row);
  } else {
    place(row);
    if (!quiet) mark(row, "is-new");
  }
}

// Empty, all claimed, and how many are new: shown from what stands in the table.
function states() {
  const rows = rowsOf().filter((row) => !row.classList.contains("is-gone"));
  const folded = [...body().querySelectorAll("tr.crowd")].reduce((sum, line) => sum + Number(line.dataset.free), 0);
  const free = rows.filter((row) => row.dataset.state === "queued").length + folded;
  const mine = rows.some((row) => row.classList.contains("is-mine"));
  const held = rows.some((row) => "held" in row.dataset);
  const fresh = [...pending.values()].filter(Boolean).length;
  document.getElementById("nothing").hidden = rows.length > 0 || fresh > 0;
  // It would push the list down, so not while somebody points at it.
  if (!busy()) document.getElementById("taken-notice").hidden = free > 0 || mine || !held || fresh > 0;
  document.getElementById("newer-count").textContent = fresh;
  newer.hidden = !fresh;
  document.title = free ? `(${free}) ${title}` : title;
  awaitEnds();
}

function settle() {
  if (isStale || [...pending.values()].some((row) => row && dependsOnOthers(row))) {
    pending = new Map();
    refold();
    return;
  }
  for (const [id, row] of pending) {
    const standing = document.getElementById(id);
    if (!row) standing?.remove();
    else if (!standing) {
      place(row);
      mark(row, "is-new");
    }
  }
  pending = new Map();
  states();
  emit("tick");
}

let quiet = null;
function settleWhenQuiet() {
  clearTimeout(quiet);
  quiet = setTimeout(() => {
    if (!busy()) settle();
  }, 300);
}

on("frame", (frame) => {
  recent = [...recent.slice(-499), frame];
  apply(frame);
});
on("resync", async ({ why }) => {
  recent = []; // perhaps of a history that is lost
  say(`${why}: the list was reloaded.`);
  await reload();
});
newer.addEventListener("click", settle);
main.addEventListener("pointerout", settleWhenQuiet);
main.addEventListener("focusout", settleWhenQuiet);

// ---- reloading: by the filters, or because too much was missed

async function fetchPage() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) throw new Error(`The server responded with ${answer.status}.`);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

async function reload() {
  const error = document.getElementById("error-notice");
  try {
    const page = await fetchPage();
    const fresh = page.getElementById("queue");
    if (!fresh) location.reload(); // signed out
    window.Idiomorph.morph(queue(), fresh);
    error.hidden = true;
    loaded();
  } catch (fault) {
    failed(`The list could not be loaded. ${fault.message}`);
  }
}

let view = queue().dataset.view;
function loaded() {
  pending = new Map();
  for (const row of rowsOf()) own(row);
  if (view !== queue().dataset.view) {
    view = queue().dataset.view;
    recent = []; // which was for the other view
    emit("view", Number(queue().dataset.seq));
  }
  // What came while the page was loading may be newer than the page; applying it twice does no harm.
  const known = Number(queue().dataset.seq);
  for (const frame of recent) if (frame.seq > known) apply(frame, true);
  states();
  emit("tick");
}

function failed(words) {
  const error = document.getElementById("error-notice");
  error.querySelector(".words").textContent = words;
  error.hidden = false;
}
// By the filters as they are, which the address may not have yet.
document.getElementById("retry").addEventListener("click", () => document.getElementById("filters").requestSubmit());
on("failed", failed);
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target.id !== "queue" && event.detail.elt.id !== "queue") return;
  document.getElementById("error-notice").hidden = true;
  loaded();
});
on("refused", ({ status }) => status === 409 && reload());

// ---- keys

// Those who come back from a case continue where they were, not at the top. The row gets no focus by itself: nothing may
// move while one has it.
const PLACE = "queue-place";
main.addEventListener("focusin", (event) => {
  const row = event.target.closest("#rows tr");
  try {
    if (row) sessionStorage.setItem(PLACE, row.id);
  } catch {
    // storage is switched off
  }
});
function lastRow() {
  try {
    return document.getElementById(sessionStorage.getItem(PLACE));
  } catch {
    return null;
  }
}

on("key", (event) => {
  const rows = [...body().children];
  const at = rows.indexOf(document.activeElement.closest("tr"));
  const row = rows[at];
  const last = at < 0 ? rows.indexOf(lastRow()) : -1;
  if ("jk".includes(event.key) && last >= 0) rows[last].focus();
  else if (event.key === "j") rows[Math.min(at + 1, rows.length - 1)]?.focus();
  else if (event.key === "k") rows[Math.max(at - 1, 0)]?.focus();
  else if (event.key === "Enter" && event.target === row) row?.querySelector(".need a").click();
  else if (event.key === "c" && !event.repeat) row?.querySelector(".claim")?.click();
  else return;
  event.preventDefault();
});
body().closest("main").addEventListener("click", (event) => {
  const row = event.target.closest("#rows tr");
  if (row && !event.target.closest("a, button") && !getSelection().toString()) row.querySelector(".need a").click();
});

for (const row of body().children) own(row);
states();
