"""Checks of a page by a parser and by a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

VOID = {"img", "meta", "link", "br"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

# Runs in the page before anything else.
LISTEN = """
const problems = [];
addEventListener(
  "error", (event) => problems.push(event.message || `${event.target.tagName} failed`), true
);
addEventListener("unhandledrejection", (event) => problems.push(String(event.reason)));
addEventListener(
  "securitypolicyviolation", (event) => problems.push(`blocked ${event.blockedURI}`)
);
for (const level of ["error", "warn"]) {
  console[level] = (...words) => problems.push(words.join(" "));
}
"""

# Runs in the loaded page: does the actions of a reader, and reports the visible elements.
LOOK = """
addEventListener("load", () => {
  const shownIn = (root, selector) =>
    [...root.querySelectorAll(selector)].filter((element) => element.checkVisibility());
  const names = (table) => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
  const table = document.querySelector("table.sortable");
  const buttons = [...table.querySelectorAll("thead button")];
  const sorted = {};
  const states = {};
  const asWritten = [...table.tBodies[0].rows];
  for (const button of buttons) {
    table.tBodies[0].append(...asWritten);
    for (const turn of ["first", "second"]) {
      button.focus();
      document.activeElement.click();
      sorted[`${turn} ${button.textContent}`] = names(table);
      states[`${turn} ${button.textContent}`] =
        [...table.tHead.rows[0].cells].map((heading) => heading.getAttribute("aria-sort"));
    }
  }
  const panels = {};
  const choice = document.getElementById("shown");
  for (const option of choice ? choice.options : []) {
    choice.value = option.value;
    choice.dispatchEvent(new Event("change"));
    panels[option.value] = shownIn(document, "[data-panel]").map((panel) => panel.dataset.panel);
  }
  document.querySelectorAll("[data-panel]").forEach((panel) => (panel.hidden = false));
  document.querySelectorAll("details").forEach((one) => (one.open = true));
  const width = document.documentElement.clientWidth;
  const outside = (element) => {
    const box = element.getBoundingClientRect();
    return (box.right > width + 0.5 || box.left < -0.5) && !element.closest(".scroll *, pre *");
  };
  const lines = shownIn(
    document, "p, td, th, dt, dd, figcaption, h1, h2, h3, h4, text:not([transform])"
  );
  parent.postMessage({
    width,
    scrollable: document.documentElement.scrollWidth,
    outside: shownIn(document, "body *")
      .filter(outside).map((element) => element.outerHTML.slice(0, 120)),
    images: [...document.images].map((image) => image.complete && image.naturalWidth > 0),
    charts: shownIn(document, "svg").length,
    smallest: Math.min(...lines.map((line) => line.getBoundingClientRect().height || Infinity)),
    headings: buttons.map((button) => button.textContent),
    sorted, states, panels, problems,
  }, "*");
});
"""


class Outline(HTMLParser):
    """Elements of a document; a tag closed by another tag, or never, is an AssertionError."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag}: {attrs}"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.words.setdefault(self.open[-1], []).append(data)

    def all_of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def assert_stands_alone(text: str) -> Outline:
    """Check that a document is well-formed, has unique ids, and loads nothing from outside."""
    outline = Outline(text)
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in outline.tags:
        assert not {"srcset", "action", "background", "data"} & set(attributes)
        assert (attributes.get("src") or "data:image/").startswith("data:image/")
        assert not re.match(r"\w+:|//", attributes.get("href") or ""), (
            f"{tag} leads away: {attributes['href']}"
        )
    style = "".join(outline.words["style"])
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search(
        r"fetch\(|XMLHttpRequest|import\(|https?:", "".join(outline.words["script"])
    )
    return outline


def browser() -> str | None:
    """Return the Chromium of this machine."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def look_at(text: str, folder: Path, widths: tuple[int, ...]) -> Mapping[int, Any]:
    """Open a page in headless Chromium and return the report of each frame, by width."""
    page = text.replace("<head>", f"<head><script>{LISTEN}</script>", 1)
    (folder / "page.html").write_text(
        page.replace("</body>", f"<script>{LOOK}</script></body>", 1), encoding="utf-8"
    )
    frames = "".join(
        f'<iframe src="page.html" width="{w}" height="2000" frameborder="0"></iframe>'
        for w in widths
    )
    hear = """
      const heard = {};
      addEventListener("message", (event) => {
        heard[event.data.width] = event.data;
        document.getElementById("heard").textContent = encodeURIComponent(JSON.stringify(heard));
      });
    """
    (folder / "frames.html").write_text(
        f"<!DOCTYPE html><script>{hear}</script><pre id=heard></pre>{frames}"
    )
    command = [
        browser(),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--hide-scrollbars",
    ]
    command += [
        f"--user-data-dir={folder / 'profile'}",
        "--window-size=1800,2400",
        "--virtual-time-budget=20000",
    ]
    command += ["--enable-logging=stderr", "--dump-dom", (folder / "frames.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="heard">([^<]+)</pre>', done.stdout)
    assert found, f"the page told nothing: {done.stderr[-2000:]}"
    assert "CONSOLE" not in done.stderr
    return {int(width): seen for width, seen in json.loads(unquote(found[1])).items()}
