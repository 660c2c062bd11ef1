"""The longest lives that this service gives out: how long the ledger has to remember what ended."""

from datetime import timedelta
from typing import Final

LONGEST_ACCESS_TOKEN: Final = timedelta(hours=24)
LONGEST_GRANT: Final = timedelta(days=366)
FOR_EVER: Final = timedelta(days=36_525)  # a revoked key must never come back
