// Whether a key is a command. A key that is part of what somebody types never is, whatever became of the field.
//
// A field can lose the focus without its person's doing: it was removed or disabled, a script took the focus, the page
// was loaded anew. Then single-key commands are dead until no key was pressed for QUIET, or until the person does
// something that is no typing: a click, Tab, Escape, or going into a field.
const QUIET = 3_000; // ms
const FIELDS = "input, textarea, select, [contenteditable]";
const TYPED = "typed-at"; // when something was typed last, for the page that follows; never what

let typedAt = -Infinity;
let isDead = false;
let isLeaving = false; // what happens to the focus now is the person's doing
let commanded = null; // the key that is held since it was a command

const quiet = () => performance.now() - typedAt > QUIET;
const fieldOf = (element) => element?.closest?.(FIELDS) ?? null;

// What happens to the focus now is the person's doing.
export function leave() {
  isLeaving = true;
  isDead = false;
  setTimeout(() => {
    isLeaving = false;
  }, 500);
}

try {
  const before = Number(sessionStorage.getItem(TYPED));
  sessionStorage.removeItem(TYPED);
  if (before && Math.abs(Date.now() - before) < QUIET) {
    isDead = true;
    typedAt = performance.now();
  }
} catch {
  // storage is switched off
}
addEventListener("pagehide", () => {
  try {
    if (!quiet()) sessionStorage.setItem(TYPED, String(Date.now()));
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
  lostAt = performance.now();
}
document.addEventListener("focusin", (event) => {
  const entered = fieldOf(event.target);
  if (entered) {
    isDead = false;
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
    // A field that was removed says nothing of it.
    if (field && !field.isConnected) lose();
    if (event.key === "Tab" || event.key === "Escape" || (event.key === "Enter" && (event.ctrlKey || event.metaKey))) leave();
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
  if (fieldOf(event.target) || event.ctrlKey || event.metaKey || event.altKey) return false;
  if (event.isComposing || event.keyCode === 229) return false; // an input method writes
  if (isDead) {
    const since = performance.now() - Math.max(lostAt, typedAt);
    typedAt = performance.now();
    if (since <= QUIET) return false;
    isDead = false;
  }
  if (event.repeat) return repeats && commanded === event.key;
  commanded = event.key;
  return true;
}
