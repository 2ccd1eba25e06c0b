"""One Chromium for all tests of a session; without it they are skipped, or fail where that is asked for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from requirements import give_up, mark_below

HERE = Path(__file__).parent
INSTALL = "apt install chromium && pip install playwright"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_below(HERE, "browser", items)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, driven by playwright. With ``MEMCAP_REQUIRE=browser`` it fails where it would skip."""
    path = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        give_up("browser", f"these tests read report.html in a real browser: {INSTALL}")
    with sync_playwright() as playwright:
        root = hasattr(os, "geteuid") and os.geteuid() == 0  # whose processes Chromium does not isolate
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"] if root else [])
        yield browser
        browser.close()


class OpenPage:
    """A page that is open, with what went wrong in it: ``complaints`` of the console, ``requests`` beside its file."""

    def __init__(self, chromium: Any, path: Path, *, drawn: bool = True, **options: Any) -> None:
        self.context = chromium.new_context(viewport={"width": 1300, "height": 900}, **options)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.page.route("**/*", self._route)
        self.own = path.resolve().as_uri()
        self.page.goto(self.own)
        if drawn:
            self.page.wait_for_selector("html[data-ready-ms]", state="attached")

    def _route(self, route: Any) -> None:
        if route.request.url.partition("#")[0] == self.own:
            route.continue_()
        else:
            self.requests.append(route.request.url)
            route.abort()

    def hover(self, selector: str, place: int = 0) -> str:
        """Moves the pointer to the middle of a mark of a figure: what the page says of it."""
        self.page.locator(selector.split()[0]).scroll_into_view_if_needed()  # drawn when it comes near
        mark = self.page.locator(selector).nth(place)
        mark.scroll_into_view_if_needed()
        box = mark.bounding_box()
        assert box is not None
        self.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        self.page.wait_for_selector("#tip:not([hidden])")
        return str(self.page.inner_text("#tip"))

    def click_here(self) -> None:
        """A click where the pointer is, until the page has said what it copied."""
        self.page.mouse.down()
        self.page.mouse.up()
        self.page.wait_for_selector("#toast.shown")

    def wait_until(self, expression: str) -> None:
        """Waits for an expression of the page; playwright's own way of doing so is what the page's policy forbids."""
        for _ in range(200):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{expression} never came true")

    def clipboard(self) -> str:
        """What was copied last."""
        return str(self.page.evaluate("navigator.clipboard.readText()"))


@pytest.fixture(scope="module")
def open_page(chromium: Any) -> Iterator[Callable[..., OpenPage]]:
    """``open_page(path, color_scheme="dark")``: opened, drawn to its end, closed after the module."""
    opened: list[OpenPage] = []

    def open_it(path: Path, **options: Any) -> OpenPage:
        opened.append(OpenPage(chromium, path, **options))
        return opened[-1]

    yield open_it
    for page in opened:
        page.context.close()
