// An escalation's page: the request stays up to date, the timeline grows, and nothing that was typed is lost.
const main = document.getElementById("main");
const me = main.dataset.me;
const id = main.dataset.escalation;
const emit = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));
const panel = () => document.getElementById("panel");

// ---- drafts: kept in this browser until they are sent

const KEY = `draft:${id}:`;
const store = {
  get: (name) => tryStorage((storage) => storage.getItem(KEY + name)),
  set: (name, text) => tryStorage((storage) => storage.setItem(KEY + name, text)),
  drop: (name) => tryStorage((storage) => storage.removeItem(KEY + name)),
  names: () => tryStorage((storage) => Object.keys(storage).filter((key) => key.startsWith(KEY)).map((key) => key.slice(KEY.length))) ?? [],
};
function tryStorage(use) {
  try {
    return use(sessionStorage);
  } catch {
    return null; // switched off, or full: the page itself still has what was typed
  }
}

const fieldsOf = (form) => [...form.elements].filter((field) => field.name && !["hidden", "fieldset"].includes(field.type));
const nameOf = (form, field) => `${form.id}/${field.name}`;

function restore() {
  for (const form of panel().querySelectorAll("form[data-drafts]")) {
    for (const field of fieldsOf(form)) {
      const kept = store.get(nameOf(form, field));
      if (kept === null) continue;
      if (field.type === "radio") field.checked = field.value === kept;
      else if (field.value !== kept && field !== document.activeElement) field.value = kept;
    }
  }
  showOrphans();
}

// What was written for a form that is no longer there (somebody else has answered) is shown, so that it can be copied.
function showOrphans() {
  const texts = store
    .names()
    .filter((name) => !document.getElementById(name.slice(0, name.indexOf("/"))))
    .map((name) => store.get(name))
    .filter((text) => text?.trim() && text.length > 3);
  const place = document.getElementById("kept");
  place.hidden = !texts.length;
  place.querySelector("pre").textContent = texts.join("\n\n");
}

let lastKept = Date.now();
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-drafts]");
  if (!form) return;
  store.set(nameOf(form, event.target), event.target.value);
  // Typing is work on it: the claim is kept, without a request a keystroke.
  const isMine = panel().dataset.owner === me && panel().dataset.state === "claimed";
  if (isMine && form.id !== "form-note" && Date.now() - lastKept > 120_000) keep();
});

function keep() {
  lastKept = Date.now();
  emit("hub:post", { escalation: id, verb: "keep" });
}

document.getElementById("kept-drop").addEventListener("click", () => {
  for (const name of store.names()) store.drop(name);
  showOrphans();
});

document.addEventListener("hub:done", ({ detail: { verb, form } }) => {
  if (form?.matches("form.act")) {
    for (const field of fieldsOf(form)) store.drop(nameOf(form, field));
    form.reset();
    if (["decide", "finish", "cancel"].includes(verb)) for (const name of store.names()) store.drop(name);
    open(null);
  }
  isOver = verb !== "keep";
  refresh();
});

// ---- the forms: one open at a time

let opened = null;
function open(name) {
  opened = name;
  for (const form of panel().querySelectorAll("form.act")) form.classList.toggle("is-open", form.id === name);
  for (const button of panel().querySelectorAll("[data-opens]")) button.setAttribute("aria-expanded", String(button.dataset.opens === name));
}
function toggle(name) {
  const button = panel().querySelector(`[data-opens="${name}"]`);
  if (!button || button.disabled) return false;
  open(opened === name ? null : name);
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

// What the reader did to the page stays: what is unfolded, an input's size, the words of a refusal.
const KEEPING = {
  beforeAttributeUpdated: (name) => !["open", "style"].includes(name),
  beforeNodeMorphed: (node) => !(node.matches?.("form.act") && node.querySelector(".act-error:not([hidden])")),
};

async function load() {
  try {
    const answer = await fetch(`/escalations/${id}/panel/`, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("panel");
    if (!answer.ok || !fresh) {
      emit("hub:say", answer.status === 404 ? "You may no longer see this." : "It could not be loaded again.");
      return;
    }
    if (Number(fresh.dataset.version) < Number(panel().dataset.version)) return;
    window.Idiomorph.morph(panel(), fresh, { ignoreActiveValue: true, callbacks: KEEPING });
    open(opened);
    restore();
    if (isOver && document.activeElement === document.body) document.getElementById("standing").focus();
    isOver = false;
    // The agents' private reasoning opens for who holds the claim.
    document.getElementById("private-choice").hidden = fresh.dataset.owner !== me || fresh.dataset.state !== "claimed";
    emit("hub:tick");
    warn();
  } catch {
    emit("hub:say", "No connection: what you see may be old.");
  }
}

// At once, before the panel is loaded anew: nobody should go on typing an answer that somebody else is giving.
function standing(row) {
  const before = { ...panel().dataset };
  if (Number(row.dataset.version) < Number(before.version)) return;
  const { owner, ownerName, state } = row.dataset;
  const mine = owner === me && ["claimed", "waiting"].includes(state);
  for (const set of panel().querySelectorAll("form.act:not(#form-note, #form-learning) fieldset")) set.disabled = !mine;
  for (const button of panel().querySelectorAll("[data-opens]:not([data-opens=form-note], [data-opens=form-learning])")) button.disabled = !mine;
  if (owner && owner !== me && before.owner !== owner) {
    document.getElementById("standing").textContent = `${ownerName} has taken it.`;
    document.getElementById("claim-button")?.setAttribute("disabled", "");
    emit("hub:announce", `${ownerName} has taken it`);
    if (before.owner === me) emit("hub:say", `${ownerName} has it now. What you wrote is kept here.`);
  } else if (before.owner === me && !owner && state === "queued") {
    emit("hub:say", "Your claim has ended. What you wrote is kept here; claim it again to go on.");
  }
}

// ---- the claim's end

function warn() {
  const { until, owner } = panel().dataset;
  const left = until && owner === me ? Date.parse(until) - Date.now() : Infinity;
  const warning = document.getElementById("lease-warning");
  const near = left < 120_000 && left > 0;
  if (warning && warning.hidden === near) warning.hidden = !near;
}
setInterval(warn, 1_000);

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
  }
  if (frame.escalation === id) {
    const holder = document.createElement("template");
    holder.innerHTML = frame.row ?? "";
    const row = holder.content.querySelector("tr");
    if (row) standing(row);
    refresh();
  }
});
document.addEventListener("hub:resync", () => {
  sessionStorage.setItem("say-later", "Away for long: the page is loaded anew. What you wrote is kept.");
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
  } else if (event.key === "c") document.getElementById("claim-button")?.click();
  else if (event.key === "h" && panel().dataset.owner === me) keep();
  else if (!(event.key in FORMS) || !toggle(FORMS[event.key])) return;
  event.preventDefault();
});

restore();
regroup();
warn();
