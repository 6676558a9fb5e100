"""A real browser, for tests of the page."""

from contextlib import asynccontextmanager

from optional import find_chromium
from playwright.async_api import async_playwright, expect

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = {"width": 390, "height": 844}

PATIENCE = 20_000  # Milliseconds.

expect.set_options(timeout=PATIENCE)


@asynccontextmanager
async def running_browser():
    """Run the installed Chromium; skip the test without one."""
    # Before Playwright: without Chromium, the libraries that it needs may be missing, too.
    chromium = find_chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        await browser.close()


@asynccontextmanager
async def watched_page(browser, central, *, has_token=True, **options):
    """Open a page. Fail if it requests another host, violates its policy or raises an error.

    With `has_token`, the page need not ask for the token of central's directory.
    """
    context = await browser.new_context(base_url=central.http, locale="en-GB", **options)
    if has_token:
        token = central.console_token_file.read_text().strip()
        await context.add_init_script(f"sessionStorage.setItem('central-token', {token!r})")
    page = await context.new_page()
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: wrong.append(line.text) if is_wrong(line) else None)
    page.on("request", lambda request: check_origin(request.url, central.http, wrong))
    page.set_default_timeout(PATIENCE)
    yield page
    assert await page.evaluate("window.hacked") is None
    await context.close()
    assert wrong == []


def is_wrong(line):
    return line.type == "error" and "net::ERR" not in line.text and "status of" not in line.text


def check_origin(url, base, wrong):
    if not url.startswith(base):
        wrong.append(f"It asked {url}.")
