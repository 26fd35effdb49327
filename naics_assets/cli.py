"""The command `naics` with all its words: the library's, and those that look after the graph.

Only the front door: each word's options and work are in a room of their own.
"""

from __future__ import annotations

import sys

from naics_assets.upkeep.cli import clean, doctor
from naics_model.cli import app, main

__all__ = ['main']

app.command('doctor')(doctor)
app.command('clean')(clean)


if __name__ == '__main__':
    sys.exit(main())
