// The upper part of a case's page: kept up to date, while nothing that is typed is lost, moved or sent by mistake.
import { hasOrphans, reopen } from "./acts.js";
import { keepAnew } from "./drafts.js";
import { FORMS, hasText, hasUnsent, lock } from "./forms.js";
import { ask, signInLink } from "./http.js";
import { emit, main, me, on, say } from "./page.js";

const id = main.dataset.escalation;
export const panel = () => document.getElementById("panel");

// ---- loading it anew

let coming = null;
let isOver = false; // a verb of this page was done, and what had the focus may be gone
export function refresh() {
  clearTimeout(coming);
  coming = setTimeout(load, 120);
}

// What the reader did to the page stays: what is unfolded, an input's size, the words of a refusal; and a form in which
// somebody is, or has typed, stays as it is, whatever comes.
const isKept = (node) =>
  node.matches?.("[data-still]") ||
  (node.matches?.(FORMS) && (hasText(node) || node.contains(document.activeElement) || node.querySelector(".act-error:not([hidden])")));
const KEEPING = {
  beforeAttributeUpdated: (name) => !["open", "style"].includes(name),
  beforeNodeMorphed: (node) => !isKept(node),
  beforeNodeRemoved: (node) => !(node.matches?.(FORMS) && isKept(node)),
};

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
      if (answer.status === 403) lockAll("You are no longer allowed to answer this. What you wrote stays here.");
      say("This case could not be reloaded.");
      return;
    }
    if (Number(fresh.dataset.version) < Number(panel().dataset.version)) return;
    const locks = fresh.cloneNode(true); // the morph takes nodes out of the other
    window.Idiomorph.morph(panel(), fresh, { callbacks: KEEPING });
    window.htmx.process(panel());
    reopen();
    relock(locks);
    if (isOver && document.activeElement === document.body) document.getElementById("standing").focus();
    isOver = false;
    document.getElementById("task-status").textContent = locks.dataset.taskStatus;
    // The agents' private reasoning opens for whoever has claimed the case.
    document.getElementById("private-choice").hidden = !isMine(locks);
    emit("tick");
    emit("panel");
  } catch {
    say("No connection: this page may be out of date.");
    emit("panel-failed");
  }
}

on("done", ({ verb, leaves }) => {
  isOver = verb !== "keep";
  if (!leaves) refresh();
});
on("unanswered", refresh);
on("refused", ({ status }) => status === 409 && refresh());

// ---- who has the case, and which forms can be sent

const isMine = ({ dataset }) => dataset.owner === me && "held" in dataset;

// Which forms can be sent is for the server to say; one that it no longer shows cannot.
function relock(fresh) {
  const { owner, ownerName } = fresh.dataset;
  for (const form of panel().querySelectorAll(FORMS)) {
    const now = fresh.querySelector(`#${form.id}`);
    let why = "";
    if (!now) why = owner && owner !== me ? `${ownerName} has answered. What you wrote is kept here, to read and copy.` : "This case is over. What you wrote is kept here, to read and copy.";
    else if (now.hasAttribute("data-locked") && !isMine(fresh)) why = owner ? `${ownerName} has claimed it. What you wrote is kept here.` : "Claim the case to send this. What you wrote is kept.";
    lock(form, !now || now.hasAttribute("data-locked"), why);
    if (!now && owner === me) emit("answered", form);
  }
}

// At once, before the panel is loaded: nobody should go on typing an answer that somebody else is giving.
function changeHands(row) {
  const before = { ...panel().dataset };
  if (Number(row.dataset.version) < Number(before.version)) return;
  const { owner, ownerName, state } = row.dataset;
  const kept = hasUnsent() ? " What you wrote is kept here." : "";
  for (const form of isMine(row) ? [] : panel().querySelectorAll(`${FORMS}[data-needs-claim]`)) {
    lock(form, true, owner ? `${ownerName} has claimed it. What you wrote is kept here.` : "Your claim has ended. What you wrote is kept here: claim it again to send it.");
  }
  if (owner && owner !== me && before.owner !== owner) {
    document.getElementById("standing").textContent = `${ownerName} has claimed it.`;
    document.getElementById("claim-button")?.setAttribute("aria-disabled", "true");
    emit("announce", `${ownerName} has claimed it`);
    if (before.owner === me) say(`${ownerName} has claimed it.${kept}`);
  } else if (before.owner === me && !owner && state === "queued") {
    say(`Your claim has ended.${kept} Claim it again to continue.`);
  }
}

on("frame", (frame) => {
  if (frame.escalation === id) {
    const holder = document.createElement("template");
    holder.innerHTML = frame.row ?? "";
    const row = holder.content.querySelector("tr");
    if (row) changeHands(row);
    refresh();
  } else if (frame.task === main.dataset.task && frame.event.startsWith("task.")) {
    refresh(); // which shows the task's status, too
  }
});

// ---- when it can be neither sent nor seen

// Nothing may be sent any more, for whatever reason: what was typed can be read and copied.
function lockAll(why) {
  for (const form of panel().querySelectorAll(FORMS)) lock(form, true, why);
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
  document.getElementById("standing").textContent = "You no longer have access to this case.";
  say("You no longer have access to this case.");
}

on("ended", () => {
  const place = document.getElementById("ended");
  place.querySelector(".way").replaceChildren(signInLink());
  place.hidden = false;
});
on("ready", () => {
  const place = document.getElementById("ended");
  if (place.hidden) return;
  place.hidden = true;
  startAnew();
  keepAnew(); // a session may have ended since the server went back
});

// What the server says counts, though it may have gone back to an earlier state.
function startAnew() {
  panel().dataset.version = 0;
  refresh();
}

on("resync", ({ why, isBack }) => {
  if (!hasUnsent() && !(isBack && hasOrphans())) {
    location.reload();
    return;
  }
  say(`${why}: the timeline may be wrong until you reload the page.`);
  startAnew();
  if (isBack) keepAnew();
});

for (const form of panel().querySelectorAll(`${FORMS}[data-locked]`)) lock(form, true);
