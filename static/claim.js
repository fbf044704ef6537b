// The claim of a case: kept while one works on it, with a warning before it ends.
import { now } from "./clock.js";
import { ask, words } from "./http.js";
import { main, me, on } from "./page.js";
import { panel, refresh } from "./panel.js";
import { keepWhileWorking } from "./work.js";

const AGAIN = 5_000; // ms
let lapsed = ""; // the last end that was seen to pass

function warn() {
  const { until, owner, lease } = panel().dataset;
  // Nobody may have written it down, and then no frame reports it. The end comes in whole seconds.
  if (until !== lapsed && now() - Date.parse(until) > 1_000) {
    lapsed = until;
    refresh();
  }
  const left = until && owner === me ? Date.parse(until) - now() : Infinity;
  const warning = document.getElementById("lease-warning");
  // Of a short claim the last quarter: those who work on it are not warned all the time.
  const near = left < Math.min(120_000, Number(lease) * 15_000) && left > 0;
  if (warning && warning.hidden === near) warning.hidden = !near;
}
setInterval(warn, 1_000);
on("panel", warn);
on("panel-failed", () => setTimeout(() => (lapsed = ""), AGAIN)); // nothing else may report a claim's end

// Asks to keep the claim: true, or in words why not.
async function keep() {
  try {
    const answer = await ask(`/escalations/${main.dataset.escalation}/keep`, { method: "POST" });
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

function show(fault) {
  const place = document.getElementById("not-kept");
  place.hidden = fault === null;
  if (fault !== null) place.textContent = `The claim could not be kept: ${fault}`;
}

export const keepNow = () => keep().then((done) => show(done === true ? null : done));
on("done", ({ verb }) => ["claim", "keep"].includes(verb) && show(null));

keepWhileWorking({ panel, me, keep, say: show });
warn();
