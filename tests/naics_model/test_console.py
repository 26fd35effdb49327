"""What a person reads is what was printed, on a console as wide as the tables."""

from __future__ import annotations

import pytest
from rich.table import Table

from naics_model.console import plain_console


def test_brackets_and_colons_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    said = '/data[/y]/[old]/:warning:'
    console = plain_console()
    table = Table(said, title=said)
    table.add_row(said)
    console.print(said, style='bold')
    console.print(table)
    assert capsys.readouterr().out.count(said) == 4


@pytest.mark.parametrize(('window', 'width'), [('40', 80), ('100', 100)])
def test_a_narrow_window_breaks_its_lines_and_a_wide_one_is_used(
    window: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('COLUMNS', window)
    assert plain_console().width == width
