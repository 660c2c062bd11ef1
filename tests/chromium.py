"""The browser with which stories are told and pages are looked at."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from playwright.async_api import Browser, async_playwright

PROGRAM: Final = "/usr/bin/chromium"
_ARGUMENTS: Final = ("--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage")


@asynccontextmanager
async def chromium(*more: str) -> AsyncIterator[Browser]:
    """Debian's Chromium. more: further arguments."""
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=PROGRAM, args=[*_ARGUMENTS, *more], chromium_sandbox=False
        )
        try:
            yield started
        finally:
            await started.close()
