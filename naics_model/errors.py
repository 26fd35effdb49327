"""Errors that speak to a person: one sentence that says what is wrong, where, and what to do.

Command-line entries print the message and exit with 1; the asset graph shows it as the failure.
A programming error is not one of these: it keeps its traceback.
"""

import re

# The name and the password of an address, up to the last @ before its path.
# A password to the last @: databases take one that has / and @ in it as it is.
_USERINFO = re.compile(r'(?<=://)(?:[^\s/?#\'":@]+:[^\s\'"]*|[^\s/?#\'"]*)@')


class NaicsError(Exception):
    """A problem that the person who runs the project can mend."""


class SourceError(NaicsError):
    """A source file could not be fetched or read."""


class WorkbookError(NaicsError):
    """A workbook is not one, or its layout is not the published one."""


class DataError(NaicsError):
    """The content of a file breaks a guarantee that later steps rely on."""


class StorageError(NaicsError):
    """A file could not be written; the one before it is untouched."""


class ConfigurationError(NaicsError):
    """A setting is unknown, missing, or contradicts another one."""


def without_passwords(text: str) -> str:
    """Return a text with the name and password of each address left out: what people are shown is
    kept in logs, and shown to others.

    >>> without_passwords('no answer from http://me:secret@mlflow:5000/api')
    'no answer from http://mlflow:5000/api'
    """
    return _USERINFO.sub('', text)


def first_line(error: BaseException) -> str:
    """Return what an error says, in a line that people may see."""
    return without_passwords(str(error).strip().partition('\n')[0]) or type(error).__name__
