// Working on a case keeps its claim: keys, pointer and scrolling in a visible tab are work, an open tab alone is not.
import { now } from "./clock.js";

const OFTEN = 120_000; // ms: the longest time from a piece of work until the claim is kept
const LEAST = 5_000; // and the shortest between two attempts

let worked = -Infinity; // when there was work last, by performance.now()
let kept = -Infinity;
let changed = -Infinity; // when the page itself changed, which may scroll it
let tried = -Infinity;
let pointer = "";

const work = () => {
  if (!document.hidden) worked = performance.now();
};
for (const name of ["keydown", "pointerdown", "wheel", "touchmove", "input"]) addEventListener(name, work, { passive: true, capture: true });
addEventListener(
  "pointermove",
  (event) => {
    // A page that changes under a resting pointer fires these, too.
    const place = `${event.screenX} ${event.screenY}`;
    if (pointer && pointer !== place) work();
    pointer = place;
  },
  { passive: true },
);
addEventListener("scroll", () => performance.now() - changed > 1_000 && work(), { passive: true, capture: true });
for (const name of ["hub:frame", "hub:tick", "htmx:afterSettle"]) {
  document.addEventListener(name, () => {
    changed = performance.now();
  });
}

// Keeps the claim of the panel's case while somebody works on it. `panel`: returns the element with the claim's data;
// `me`: whose page it is; `keep`: requests it, and returns true, or why not; `say`: shows a fault.
export function keepWhileWorking({ panel, me, keep, say }) {
  changed = performance.now();
  setInterval(async () => {
    const { owner, state, until, lease } = panel().dataset;
    if (owner !== me || state !== "claimed" || !until) return;
    const length = Number(lease) * 60_000;
    const interval = Math.min(OFTEN, length / 4);
    const moment = performance.now();
    // When it was kept last, here or elsewhere, worked out from its end.
    const since = now() - (Date.parse(until) - length);
    kept = Math.max(kept, moment - since);
    if (worked <= kept || moment - kept < interval || moment - tried < Math.min(LEAST, interval / 2)) return;
    tried = moment;
    const fault = await keep();
    if (fault === true) kept = Math.max(kept, moment);
    say(fault === true ? null : fault);
  }, 1_000);
}
