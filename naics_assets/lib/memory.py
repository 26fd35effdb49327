"""What a process of the graph has loaded, and the search for garbage in it."""

import gc
import sys


def keep_to_the_end() -> None:
    """Leave all that is loaded now out of every search for garbage.

    Above all of the one when a process ends, which finds nothing there, and takes each process of a
    run a second or more. Not where duckdb is loaded: it tells people of what is left over then.
    """
    if 'duckdb' not in sys.modules:
        gc.freeze()
