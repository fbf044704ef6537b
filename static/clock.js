// The server's clock, whatever this machine's shows. It advances with performance.now(), which nobody sets.
let offset = -Infinity; // of the server's clock to performance.now(), in ms

// A time that the server has sent. A slow message only seems early, so the latest of all is the nearest.
export function heard(at) {
  const time = typeof at === "number" ? at : Date.parse(at);
  if (Number.isFinite(time)) offset = Math.max(offset, time - performance.now());
}

// Now, in ms since 1970, by the server's clock.
export const now = () => performance.now() + offset;

heard(Number(document.getElementById("main").dataset.now));
