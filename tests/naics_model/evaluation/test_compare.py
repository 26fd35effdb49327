"""Two files of answers side by side, as the command shows them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from naics_model.evaluation.cli import main
from naics_model.evaluation.compare import compare_answers
from naics_model.storage.files import write_parquet

QUESTIONS = [('oat farming', '111110'), ('rye farming', '111120'), ('oat farming', '111120')]


def answers(path: Path, ranks: list[int], questions: list[tuple[str, str]] = QUESTIONS) -> Path:
    texts, codes = zip(*questions, strict=True)
    table = pl.DataFrame(
        {'text': texts, 'code': codes, 'rank': ranks}, schema_overrides={'rank': pl.UInt32}
    )
    write_parquet(table, path)
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    a = answers(tmp_path / 'a.parquet', [1, 1, 2])
    # The same questions in another order.
    return a, answers(tmp_path / 'b.parquet', [4, 1, 2], QUESTIONS[::-1])


def test_hits_and_ranks_of_the_same_questions(files: tuple[Path, Path]) -> None:
    found = compare_answers(*files)
    hits, mrr = found['hit@1'], found['MRR']
    assert (hits.a, hits.b) == pytest.approx((2 / 3, 1 / 3))
    assert (mrr.a, mrr.b) == pytest.approx((2.5 / 3, (1 / 2 + 1 + 1 / 4) / 3))
    # Question by question: 1 against 1/2, 1 against 1, 1/2 against 1/4.
    assert mrr.difference == pytest.approx((1 / 2 + 0 + 1 / 4) / 3)
    assert (mrr.low, mrr.high) == pytest.approx((0, 1 / 2), abs=0.1)
    by_code = compare_answers(*files, by_code=True)['MRR']
    assert by_code.difference == mrr.difference
    # Two codes: the means of a draw are 1/2, 1/8 (two questions), or those of both.
    assert (by_code.low, by_code.high) == pytest.approx((1 / 8, 1 / 2))


def test_the_command_prints_a_line_for_each_figure(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['compare', *map(str, files), '--by-code', '--draws', '500', '--seed', '1']) == 0
    head, hits, mrr = capsys.readouterr().out.splitlines()
    assert head.split() == ['A', 'B', 'A', '-', 'B', '95', '%', 'interval', 'sign', 'flips']
    assert hits.split()[:4] == ['hit@1', '0.6667', '0.3333', '+0.3333']
    assert mrr.split()[:7] == ['MRR', '0.8333', '0.5833', '+0.2500', '+0.1250', 'to', '+0.5000']


def test_other_questions_are_refused(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = answers(tmp_path / 'c.parquet', [1, 1], QUESTIONS[:2])
    assert main(['compare', str(files[0]), str(other)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f'Error: {files[0]} (3 questions) and {other} (2) do not ask the same ')
    assert '1 differ (such as "oat farming" of 111120)' in said
    # As many questions, one of them twice.
    twice = answers(tmp_path / 'd.parquet', [1, 1, 1], [*QUESTIONS[:2], QUESTIONS[0]])
    assert main(['compare', str(files[0]), str(twice)]) == 1
    assert '2 differ' in capsys.readouterr().err


def test_what_is_no_table_of_answers_is_refused(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / 'broken.parquet'
    good = pl.read_parquet(files[0])
    for table, said in (
        (good.drop('rank'), 'is not a table of answers; it lacks rank'),
        (good.clear(), 'has no answers'),
        (good.with_columns(rank=pl.lit(None, pl.UInt32)), 'rows without text, code or rank'),
    ):
        write_parquet(table, broken)
        assert main(['compare', str(files[0]), str(broken)]) == 1
        assert said in capsys.readouterr().err
    assert main(['compare', str(files[0]), str(tmp_path / 'nowhere.parquet')]) == 1
    assert 'nowhere.parquet' in capsys.readouterr().err
