"""The page stands by itself and is looked at in a browser, light and dark, wide and narrow."""

import html
import json
import re
import shutil
import subprocess

import matplotlib.image
import numpy as np
import pytest

from tests.validation.reports import full_report
from tftrt_toolkit.validation import to_html

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here: apt-get install chromium"
)
LIGHT, DARK = (255, 255, 255), (13, 17, 23)
# Written into a copy of the page, which the browser then prints.
PROBE = """
<script>
const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
const opaque = e => {
  for (; e; e = e.parentElement) {
    const colour = rgb(getComputedStyle(e).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
};
const luminance = colour => colour.slice(0, 3)
  .map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const contrast = e => {
  const pair = [rgb(getComputedStyle(e).color), opaque(e)].map(luminance).sort((a, b) => a - b);
  return (pair[1] + 0.05) / (pair[0] + 0.05);
};
const lines = e => {
  const range = document.createRange();
  range.selectNodeContents(e);
  return new Set([...range.getClientRects()].map(r => Math.round(r.top))).size;
};
addEventListener("load", () => {
  const leaves = [...document.querySelectorAll("body *")]
    .filter(e => e.tagName !== "SCRIPT" && e.childElementCount === 0 && e.textContent.trim());
  const small = leaves.map(e => parseFloat(getComputedStyle(e).fontSize));
  const cells = [...document.querySelectorAll("td + td:not(.name), th + th")];
  const words = cells.filter(e => !/\\s/.test(e.textContent.trim()));
  const images = [...document.images];
  parent.document.body.dataset.probe = JSON.stringify({
    width: document.documentElement.scrollWidth, window: innerWidth,
    font: Math.min(...small), contrast: Math.min(...leaves.map(contrast)),
    advice: Math.max(...[...document.querySelectorAll("[colspan]")]
      .map(e => e.getBoundingClientRect().width)),
    words: words.length, split: words.filter(e => lines(e) > 1).length,
    images: images.length, broken: images.filter(i => !i.naturalWidth).length,
    wide: images.filter(i => i.getBoundingClientRect().right > innerWidth).length,
    shrunk: Math.min(...images.map(i => i.width / i.naturalWidth)),
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
  });
});
</script></body>"""
# The browser's own window can't be made as narrow as a phone.
FRAME = """<!doctype html><meta name="color-scheme" content="light dark"><body>
<iframe style="width: {width}px; height: 800px; border: 0" srcdoc="{page}"></iframe></body>"""


@pytest.fixture(scope="module")
def page():
    return to_html(full_report())


def browse(page, directory, *options):
    file = directory / "page.html"
    file.write_text(page)
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        f"--user-data-dir={directory / 'profile'}", "--window-size=1100,1200", *options,
        file.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_page_needs_no_other_file(page):
    links = re.findall(r"(?:src|srcset|href|url)\s*[=(]\s*[\"']?([^\"')\s>]+)", page)
    assert links
    assert all(link.startswith("data:") for link in links)
    assert "<script" not in page


def test_page_says_it_all(page):
    for words in ("FAIL", "logits", "mixed", "accuracy", "keep norm_3 in FP32", "emulation",
                  "TRTEngineOp_000_001", "median ms", "label "):  # fmt: skip
        assert words in page


def test_names_are_escaped(page):
    assert "something &lt;b&gt;to&lt;/b&gt; note" in page


def test_same_report_same_page(page):
    assert to_html(full_report()) == page


@needs_browser
@pytest.mark.parametrize(("scheme", "background"), [("light", LIGHT), ("dark", DARK)])
def test_page_in_a_browser(page, tmp_path, scheme, background):
    options = [] if scheme == "light" else ["--blink-settings=preferredColorScheme=0"]
    shot = tmp_path / "shot.png"
    browse(page, tmp_path, f"--screenshot={shot}", *options)
    pixels = np.round(matplotlib.image.imread(shot)[..., :3] * 255)
    assert tuple(pixels[2, 2].astype(int)) == background
    # Something is drawn in the bars' colour of this theme, so the right pictures were taken.
    bar = {"light": (37, 99, 201), "dark": (108, 176, 255)}[scheme]
    assert (np.abs(pixels - bar).max(axis=-1) <= 2).sum() > 500


@needs_browser
@pytest.mark.parametrize("width", [390, 1000])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_phone_and_a_desk(page, tmp_path, width, scheme):
    options = [] if scheme == "light" else ["--blink-settings=preferredColorScheme=0"]
    framed = FRAME.format(width=width, page=html.escape(page.replace("</body>", PROBE)))
    printed = browse(framed, tmp_path, "--dump-dom", *options)
    found = json.loads(html.unescape(re.search(r'data-probe="([^"]*)"', printed)[1]))
    assert found["window"] == width
    assert found["width"] <= width, "the page scrolls sideways"
    assert found["advice"] <= width, "a sentence is wider than the page"
    assert found["dark"] is (scheme == "dark")
    assert found["font"] >= 12
    assert found["contrast"] >= 4.5, "too faint to read (WCAG AA)"
    assert found["words"] > 20
    assert found["split"] == 0, "a number or a heading is broken in two"
    assert found["images"] >= 4
    assert found["broken"] == found["wide"] == 0
    assert found["shrunk"] > 0.8, "text in the pictures would be too small"
