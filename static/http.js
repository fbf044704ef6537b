// Requests of the desk's pages. Each says whose page it is, so that nobody sends what somebody else has typed.
import { me } from "./page.js";

// Signing in again, perhaps in another tab, changes the token: the cookie has the present one.
export function token() {
  const cookie = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/);
  return cookie?.[1] ?? document.querySelector("#verb-form input[name=csrfmiddlewaretoken]").value;
}

const PATIENCE = 20_000; // ms; a network that is gone may never respond

export function ask(path, options = {}) {
  const headers = { Accept: "application/json", "X-Hub-Member": me, ...options.headers };
  if (options.method === "POST") headers["X-CSRFToken"] = token();
  return fetch(path, { signal: AbortSignal.timeout(PATIENCE), ...options, headers });
}

// What a refusal says, in words; `data`: its problem, if it has one.
export function words(status, data) {
  return data?.errors?.map((fault) => fault.detail).join(" ") || data?.detail || `The request was refused (${status}).`;
}

// The way back for somebody who is signed out, in a new tab: this one keeps what was typed.
export function signInLink() {
  const link = document.createElement("a");
  link.href = "/login/";
  link.target = "_blank";
  link.rel = "noopener";
  link.textContent = "Sign in again in a new tab";
  return link;
}
