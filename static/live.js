// The live connection: resumes by seq, shows its state, and passes each frame to the page as the event `frame`.
import { heard as heardAt, now } from "./clock.js";
import { hasUnsent } from "./forms.js";
import { ask } from "./http.js";
import { emit, main, on, say as show } from "./page.js";

const badge = document.getElementById("live");
const words = badge.querySelector(".live-words");

const SILENCE = 25_000; // the server beats every 10 s
const SLOWEST = 15_000;
const NOT_ALLOWED = 4403;

// A restored server numbers from the start of a new life.
const lifeOf = (number) => Math.floor(number / 2 ** 40);

let seq = Number(main.dataset.seq);
let socket = null;
let heard = performance.now();
let failures = 0;
let timer = null;
let wasLive = false;

function say(state) {
  const since = new Date(now() - performance.now() + heard).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const text = { live: "live", connecting: "connecting", reconnecting: "reconnecting", stale: `stale since ${since}`, ended: "signed out" }[state];
  if (badge.dataset.state !== state) badge.dataset.state = state;
  if (words.textContent !== text) words.textContent = text;
}

function connect() {
  clearTimeout(timer);
  timer = null;
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const mine = new WebSocket(`${scheme}://${location.host}/ws/t/${main.dataset.team}/queue/`);
  socket = mine;
  mine.addEventListener("open", () => {
    // By `view` the server decides what of an event stands on this page.
    const view = document.querySelector("[data-view]")?.dataset.view;
    mine.send(JSON.stringify({ after: seq, task: main.dataset.task, view }));
  });
  mine.addEventListener("message", (message) => {
    if (socket !== mine) return;
    heard = performance.now();
    take(JSON.parse(message.data));
  });
  mine.addEventListener("close", (event) => {
    if (socket === mine) lost(event.code);
  });
}

function take(frame) {
  if (frame.now) heardAt(frame.now);
  if (frame.type === "ready") {
    if (wasLive && failures) show("Connected again and up to date.");
    failures = 0;
    wasLive = true;
    seq = Math.max(seq, frame.seq);
    say("live");
    emit("ready");
    // Tests and scripts wait for this.
    main.dataset.live = "ready";
  } else if (frame.type === "event") {
    seq = Math.max(seq, frame.seq);
    emit("frame", frame);
  } else if (frame.type === "beat") {
    seq = Math.max(seq, frame.seq);
  } else if (frame.type === "resync") {
    const isBack = frame.life > lifeOf(seq);
    const why = isBack ? "The server was restored to an earlier state" : "This page was away for too long";
    seq = 0; // the "ready" that follows says where the fresh page continues
    emit("resync", { why, isBack });
  }
}

function lost(code) {
  socket = null;
  failures += 1;
  delete main.dataset.live;
  if (code === NOT_ALLOWED) {
    end();
    return;
  }
  say(failures > 2 ? "stale" : "reconnecting");
  if (failures % 4 === 0) {
    checkSession();
    return;
  }
  const wait = Math.min(SLOWEST, 500 * 2 ** Math.min(failures - 1, 5));
  timer = setTimeout(connect, wait * (0.5 + Math.random() / 2));
}

// Rights have changed, or the session has ended: the page, reloaded, says which. Not while it holds what somebody types:
// then it says so, and continues when the same person is signed in again.
function end() {
  if (!hasUnsent()) {
    location.reload();
    return;
  }
  say("ended");
  emit("ended");
  timer = setTimeout(checkSession, 3_000);
}

// A refused handshake does not say why; an ordinary request does.
async function checkSession() {
  try {
    const answer = await ask("/escalations/next");
    if (answer.status === 401 || answer.status === 403) end();
    else if (!socket) connect();
  } catch {
    if (!socket) timer = setTimeout(checkSession, 3_000);
  }
}

// The page is narrowed in another way, as of this `seq`: what came since is sent anew, as it is for that.
on("view", (known) => {
  seq = known;
  delete main.dataset.live;
  const old = socket;
  connect();
  old?.close();
});

function reconnectNow() {
  if (!socket) connect();
}

function drop() {
  if (!socket) return;
  const dead = socket;
  lost(0);
  dead.close();
}

setInterval(() => {
  if (performance.now() - heard > SILENCE) drop();
}, 5_000);
addEventListener("offline", drop); // a socket fires nothing when the network is gone
addEventListener("online", reconnectNow);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) reconnectNow();
});
addEventListener("pagehide", () => {
  const open = socket;
  socket = null;
  clearTimeout(timer);
  open?.close();
});
addEventListener("pageshow", (event) => {
  if (event.persisted) reconnectNow();
});

connect();
