"""How often somebody who follows the ledger says how far they are."""

from typing import Final

SOON_S: Final = 0.02  # what is applied within this time is one report
LATEST_S: Final = 1.0


class Pace:
    """The pause before the next report.

    Twenty milliseconds at first, so that one revocation is soon known to be everywhere; longer from report to report
    while revocations keep coming, because each says more than the one before. Who waits for one of them asks.
    """

    __slots__ = ("pause_s",)

    def __init__(self) -> None:
        self.pause_s = SOON_S

    def asked(self) -> None:
        """Somebody waits for reports: the next ones are soon again."""
        self.pause_s = SOON_S

    def reported(self, *, news: bool) -> None:
        """A report was sent. news: because something was applied, and not because a second had gone by without."""
        self.pause_s = min(2 * self.pause_s, LATEST_S) if news else SOON_S
