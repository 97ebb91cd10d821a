"""A real browser without a window, where there is one: Debian's chromium and chromium-driver."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def browser(dark: bool = False) -> Iterator[Any]:
    """A Selenium driver of Chromium; skips the test where browser, driver or Selenium lack."""
    pytest.importorskip("selenium", reason="needs selenium (extra `test`)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        "--headless=new",
        "--no-sandbox",  # containers let nobody make one
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--window-size=1300,1000",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    try:
        if dark:
            feature = {"name": "prefers-color-scheme", "value": "dark"}
            opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        yield opened
    finally:
        opened.quit()


def asked_addresses(driver: Any) -> set[str]:
    """Every address that pages have asked for since the last call."""
    entries = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return {
        entry["params"]["request"]["url"]
        for entry in entries
        if entry["method"] == "Network.requestWillBeSent"
    }


def complaints(driver: Any) -> list[str]:
    """Errors and warnings of the console since the last call."""
    return [entry["message"] for entry in driver.get_log("browser")]


def open_page(driver: Any, path: Path) -> None:
    """Open a file."""
    driver.get(path.resolve().as_uri())
