// Whether a key is a command. A key that is part of what somebody types never is, whatever happens to the field.
//
// A field can lose the focus without its person's doing: it was removed or disabled, a script took the focus, the page
// was reloaded. Then single-key commands are off until no key was pressed for QUIET, or until the person does something
// other than typing: a click, Tab, Escape, or going into a field. Commands that claim a case wait for the latter:
// somebody who has paused to think may continue with any letter.
import { say } from "./page.js";

const QUIET = 10_000; // ms
const TAKING = "cn";
const FIELDS = "input, textarea, select, [contenteditable]";
const TYPED = "typed-at"; // when something was typed last, for the page that follows; never what

let typedAt = -Infinity;
let isDead = false;
let isUnsure = false; // whether the next letter may be the next of a sentence
let isLeaving = false; // what happens to the focus now is the person's doing
let commanded = null; // the key that is held since it was a command

// Whether an input method takes this key: the Escape that drops its candidate leaves no field.
export const isComposing = (event) => event.isComposing || event.keyCode === 229;

const quiet = () => performance.now() - typedAt > QUIET;
const fieldOf = (element) => element?.closest?.(FIELDS) ?? null;

function revive() {
  isDead = false;
  isUnsure = false;
}

// What happens to the focus now is the person's doing.
export function leave() {
  isLeaving = true;
  revive();
  setTimeout(() => {
    isLeaving = false;
  }, 500);
}

try {
  const before = Number(sessionStorage.getItem(TYPED));
  sessionStorage.removeItem(TYPED);
  if (before && Math.abs(Date.now() - before) < QUIET) {
    isDead = true;
    isUnsure = true;
    typedAt = performance.now();
  }
} catch {
  // storage is switched off
}
addEventListener("pagehide", () => {
  try {
    if (!quiet() && (isDead || field)) sessionStorage.setItem(TYPED, String(Date.now()));
  } catch {
    // storage is switched off
  }
});

let field = null; // which had the focus last
let lostAt = -Infinity;
function lose() {
  field = null;
  if (isLeaving) return;
  isDead = true;
  isUnsure = true;
  lostAt = performance.now();
}
document.addEventListener("focusin", (event) => {
  const entered = fieldOf(event.target);
  if (entered) {
    revive();
    field = entered;
  } else if (field) {
    lose();
  }
});
document.addEventListener("focusout", (event) => {
  if (fieldOf(event.target) && !fieldOf(event.relatedTarget) && document.hasFocus()) lose();
});
document.addEventListener("pointerdown", leave, true);
addEventListener(
  "keydown",
  (event) => {
    // A field that was removed fires no event.
    if (field && !field.isConnected) lose();
    const isLeft = event.key === "Tab" || event.key === "Escape" || (event.key === "Enter" && (event.ctrlKey || event.metaKey));
    if (isLeft && !isComposing(event)) leave();
    else if (fieldOf(event.target)) {
      isLeaving = false;
      typedAt = performance.now();
    }
  },
  true,
);
addEventListener("keyup", (event) => event.key === commanded && (commanded = null), true);

// Whether this keydown may be a single-key command. `repeats`: whether holding the key repeats the command.
export function isCommand(event, repeats = false) {
  if (fieldOf(event.target) || event.ctrlKey || event.metaKey || event.altKey || isComposing(event)) return false;
  if (isDead) {
    const since = performance.now() - Math.max(lostAt, typedAt);
    typedAt = performance.now();
    if (since <= QUIET) return false;
    isDead = false;
  }
  if (isUnsure && TAKING.includes(event.key)) {
    say(`“${event.key}” did nothing, as it may have been part of what you were writing. Press Esc, then it claims a case.`);
    return false;
  }
  if (event.repeat) return repeats && commanded === event.key;
  commanded = event.key;
  return true;
}
