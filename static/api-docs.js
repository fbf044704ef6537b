// The API's description, drawn by swagger-ui. Nothing leaves this address: no validator, and the key that is typed in stays here.
const place = document.querySelector("#api");
const root = document.documentElement;
const dress = () => root.classList.toggle("dark-mode", root.dataset.bsTheme === "dark");

dress();
new MutationObserver(dress).observe(root, { attributeFilter: ["data-bs-theme"] });
window.SwaggerUIBundle({
  url: place.dataset.description,
  domNode: place,
  validatorUrl: null,
  deepLinking: true,
  filter: true,
  defaultModelsExpandDepth: 0,
  displayOperationId: true,
});
