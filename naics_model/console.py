"""The console of the commands: what is printed on it comes out as it is.

What belongs here: how a console is set up. What is said on it is the business of each command.
"""

from __future__ import annotations

from rich.console import Console

WIDTH = 80
"""Columns that tables may take."""


def plain_console() -> Console:
    """Return a console that shows text as it is, paths and data among it.

    Nothing is read as Rich's markup or as the name of an emoji, because a path may hold [brackets]
    and :colons:. What is to stand out is a `Text`, or is printed with a style. In a window of fewer
    than 80 columns a table would lose its figures: it keeps them, and the window breaks its lines.
    """
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    console.width = max(console.width, WIDTH)
    return console
