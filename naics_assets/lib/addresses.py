"""Addresses as they may be shown: without the names and passwords that may stand in them."""

from __future__ import annotations

import re

# To the last @, because a password may hold anything: rather too much than too little.
_USERINFO = re.compile(r'(?<=://)\S*@')


def without_secrets(text: str) -> str:
    """Return a text with the user and password of every address in it replaced by `***`."""
    return _USERINFO.sub('***@', text)


def first_line(error: BaseException) -> str:
    """Return what an error says, in a line."""
    return str(error).strip().partition('\n')[0] or type(error).__name__
