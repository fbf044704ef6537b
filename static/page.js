// What the scripts of the desk's pages share: the page's main element, and the events by which they communicate.
export const main = document.getElementById("main");
export const me = main.dataset.me;

// The events, all on the document: `say` and `announce` (show a sentence, or read it out), `tick` (update the clocks),
// `key` (a single-key command); of live.js `ready`, `frame` and `resync`; `view` (narrowed anew, as of a `seq`); of verbs `done`, `refused`, `unanswered` and
// `answered`; `ended` (signed out, or rights have changed), `failed` (a load); of panel.js `panel` and `panel-failed`.
export const emit = (name, detail) => document.dispatchEvent(new CustomEvent(`hub:${name}`, { detail }));
export const on = (name, act) => document.addEventListener(`hub:${name}`, (event) => act(event.detail));
export const say = (text) => emit("say", text);
