// Runs before the first paint, so that nobody in a dark room sees a white page.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage is switched off
    }
  };
  const apply = () => {
    root.dataset.bsTheme = chosen() ?? (dark.matches ? "dark" : "light");
  };
  root.classList.add("js");
  apply();
  dark.addEventListener("change", apply);
  addEventListener("storage", apply);
  // If one script fails to load, none of the page's works; without a notice its buttons and keys would just be dead.
  const say = () => {
    if (document.getElementById("not-loaded")) return;
    const notice = document.createElement("p");
    const again = document.createElement("a");
    Object.assign(notice, { id: "not-loaded", className: "notice notice-error", textContent: "This page did not load completely and does not work. " });
    Object.assign(again, { href: location.pathname + location.search, textContent: "Reload" });
    notice.setAttribute("role", "alert");
    notice.append(again);
    document.getElementById("main")?.prepend(notice);
  };
  const lost = ({ target }) => {
    if (target.tagName !== "SCRIPT") return;
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", say);
    else say();
  };
  addEventListener("error", lost, true);
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("#theme-button")) return;
    const other = root.dataset.bsTheme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("theme", other);
    } catch {
      // chosen for this page only
    }
    root.dataset.bsTheme = other;
  });
})();
