"""The system's Chromium: no test tool brings its own."""

import os
import shutil

from playwright.sync_api import Browser, Playwright

FLAGS = ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-dev-shm-usage"]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def launch(playwright: Playwright) -> Browser:
    """Start the system's Chromium, or $CHROMIUM, headless. Raises RuntimeError where there is none."""
    for name in (os.environ.get("CHROMIUM", ""), *NAMES):
        if name and (path := shutil.which(name)):
            return playwright.chromium.launch(executable_path=path, args=FLAGS)
    raise RuntimeError("no Chromium: `make chromium` installs one, or set CHROMIUM=/path/to/it")
