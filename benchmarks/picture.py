"""The README's picture: `python -m benchmarks.picture` writes assets/picture.png from the app itself."""

from __future__ import annotations

from benchmarks.served import ROOT, address, chromium

WIDTH, HEIGHT = 1440, 810
PATH = ROOT / "assets" / "picture.png"
LIMIT = 250_000


def main() -> None:
    """An exhibit at the moment of a repair, its word chosen, by day. RuntimeError if the file grows too large."""
    with address() as url, chromium() as browser:
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce")
        page.goto(f"{url}/?exhibit=assd&theme=light")
        page.wait_for_selector("main[data-run=recorded]", timeout=60_000)
        telling = page.evaluate("fetch('unfold/page.json').then((r) => r.json()).then((d) => d.telling)")
        page.locator(".as-text > summary").click()
        row = page.locator(f'.as-text tr[data-lane="{telling["lane"]}"][data-n="{telling["n"]}"]')
        row.evaluate("(tr) => tr.click()")
        page.locator(".as-text > summary").click()
        page.locator(f'[data-lane="{telling["lane"]}"] .uf-cell[data-fresh] .uf-struck:not(:empty)').last.click()
        page.mouse.move(0, 0)
        page.evaluate("scrollTo(0, 0)")
        page.evaluate("document.activeElement.blur()")
        page.wait_for_timeout(400)
        page.screenshot(path=PATH)
        browser.close()
    if PATH.stat().st_size > LIMIT:
        raise RuntimeError(f"{PATH.name} has {PATH.stat().st_size} bytes; at most {LIMIT}")
    print(f"{PATH.relative_to(ROOT)}: {PATH.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
