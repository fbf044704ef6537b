// A case's page: its parts (a script each), and its keys, which the buttons name.
import { open, openForm, restore } from "./acts.js";
import { keepNow } from "./claim.js";
import { main, me, on } from "./page.js";
import { panel } from "./panel.js";
import { step } from "./timeline.js";

on("key", (event) => {
  const button = panel().querySelector(`.acts [data-key="${CSS.escape(event.key)}"]:not([aria-disabled])`);
  if (event.key === "j" || event.key === "k") step(event.key === "j");
  else if (event.key === "Escape" && openForm()) {
    const opener = panel().querySelector(`[data-opens="${openForm()}"]`);
    open(null);
    opener?.focus();
  } else if (event.key === "h" && panel().dataset.owner === me) keepNow();
  else if (button) button.click();
  else return;
  event.preventDefault();
});

restore(`/escalations/${main.dataset.escalation}/`);
