"""The third-party front-end files: from npm's folder into `<data>/frontend`, served from there as `vendor/…`."""

import re
from pathlib import Path

from memoryhub.run.flags import ROOT

FILES = {
    "tabler/tabler.min.css": "@tabler/core/dist/css/tabler.min.css",
    "tabler/tabler.min.js": "@tabler/core/dist/js/tabler.min.js",
    "htmx/htmx.min.js": "htmx.org/dist/htmx.min.js",
    "idiomorph/idiomorph-ext.min.js": "idiomorph/dist/idiomorph-ext.min.js",
    "swagger-ui/swagger-ui.css": "swagger-ui-dist/swagger-ui.css",
    "swagger-ui/swagger-ui-bundle.js": "swagger-ui-dist/swagger-ui-bundle.js",
}
# The maps are not served, and a file that names one would stop collectstatic.
SOURCE_MAP = re.compile(rb"\s*/[/*]# sourceMappingURL=\S+(\s*\*/)?\s*$")


def install_frontend(data: Path) -> bool:
    """Bring `<data>/frontend` up to date; True when a file changed. Raises FileNotFoundError before `make setup`."""
    changed = False
    for name, source in FILES.items():
        text = SOURCE_MAP.sub(b"\n", (ROOT / "node_modules" / source).read_bytes())
        target = data / "frontend" / name
        if not target.is_file() or target.read_bytes() != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text)
            changed = True
    return changed
