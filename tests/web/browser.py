"""A real Chromium, without a screen."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.waiting import eventually

_FLAGS: Final = (
    "--headless",
    "--no-sandbox",  # in a container its user may make no namespaces
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
WITHIN: Final = 60.0


class Browser:
    """One window."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def show(self, width: int = 1280, height: int = 900, scheme: str = "light", scripts: bool = True) -> None:
        """The size of the window, the colours that its user prefers, and whether scripts run."""
        self._cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._cdp("Emulation.setEmulatedMedia", features=[feature])
        self._cdp("Emulation.setScriptExecutionDisabled", value=not scripts)

    def _cdp(self, command: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, parameters)

    def open(self, url: str) -> None:
        """Load a page."""
        self.driver.get(url)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script answers."""
        return self.driver.execute_script(script, *arguments)

    def look(self) -> None:
        """Have the page look at the agent now, as when its window comes to the front."""
        self.run("document.dispatchEvent(new Event('visibilitychange'))")

    def one(self, selector: str) -> WebElement:
        """The first element that a CSS selector finds."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    @property
    def text(self) -> str:
        """What can be read."""
        return str(self.run("return document.body ? document.body.innerText : ''"))  # while it is loaded

    def wait_for(self, words: str, there: bool = True) -> None:
        """Until this can be read; the page is told to look meanwhile."""

        def seen() -> bool:
            self.look()
            return (words in self.text) == there

        eventually(seen, within=WITHIN, what=words, poll=0.1)

    def wait_for_no(self, words: str) -> None:
        """Until this can be read no more."""
        self.wait_for(words, there=False)

    def messages(self) -> list[str]:
        """What the console says since it was asked last: errors of scripts, what the policy has refused."""
        entries: list[dict[str, Any]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [str(entry["message"]) for entry in entries]

    def picture(self, file: Path, height: int | None = None) -> None:
        """The whole page, or the top of it, as PNG."""
        width, full = self.run("const e = document.documentElement; return [e.clientWidth, e.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": min(full, height or full), "scale": 1}
        shot = self._cdp("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with an empty profile; skips where Debian's is not installed, but fails in CI."""
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if None in programs:
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing: apt-get install chromium chromium-driver fonts-dejavu-core")
        pytest.skip("needs Chromium: apt-get install chromium chromium-driver fonts-dejavu-core")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = str(programs[0])
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(str(programs[1])))
        try:
            yield Browser(driver)
        finally:
            driver.quit()
