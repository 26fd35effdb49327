"""The watch against a real local server: what it asks and reads, and that it changes nothing."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import re
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from naics_model.corpus import watch, web
from naics_model.corpus.download import fetch_workbook
from naics_model.corpus.editions import Edition
from naics_model.corpus.watch import Answer, Look, appeared, asking, look

KINDS = ('codes', 'descriptions', 'index', 'cross_references', 'concordance')
NOTHING = Look({}, [], {})


def with_erratum(content: bytes) -> bytes:
    """The same workbook, with another word in its first row of data."""
    book = openpyxl.load_workbook(io.BytesIO(content))
    book.active['B2'] = 'an erratum'
    changed = io.BytesIO()
    book.save(changed)
    return changed.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def published(census: Any) -> Edition:
    return census.edition('2022')


@pytest.fixture
def folder(published: Edition, census: Any, tmp_path: Path) -> Path:
    """A source folder with all workbooks of the edition, as if fetched from the site."""
    return census.fetched(published, tmp_path / 'source')


def look_at(edition: Edition, folder: Path, before: dict[str, Answer] | None = None) -> Look:
    with asking() as web:
        return look(edition, folder, web, before=before)


def test_what_is_published_as_it_was_is_asked_about_and_not_read(
    census: Any, published: Edition, folder: Path
) -> None:
    assert look_at(published, folder) == NOTHING
    assert census.asked == [f'HEAD /2022/{kind}.xlsx' for kind in KINDS]


def test_new_bytes_are_told_by_their_digest_and_what_is_at_hand_stays(
    census: Any, published: Edition, folder: Path
) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    newer = with_erratum(census.files['/2022/index.xlsx'][0])
    census.publish('/2022/index.xlsx', newer, etag='"second"')
    found = look_at(published, folder)
    assert found.changed == {'index': sha256(newer)}
    assert found.unanswered == []
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    # The next look knows them by their name, and tells them again until they have been fetched.
    census.asked.clear()
    assert look_at(published, folder, dict(found.answers)) == found
    assert 'GET /2022/index.xlsx' not in census.asked
    fetch_workbook(published, 'index', folder)
    assert look_at(published, folder, dict(found.answers)) == NOTHING


def test_the_same_bytes_under_a_new_name_are_read_once(
    census: Any, published: Edition, folder: Path
) -> None:
    content = census.files['/2022/codes.xlsx'][0]
    census.publish('/2022/codes.xlsx', content, etag='"moved to another server"')
    found = look_at(published, folder)
    assert found == Look(
        {}, [], {'codes': Answer('"moved to another server"', None, sha256(content))}
    )
    assert census.asked.count('GET /2022/codes.xlsx') == 1
    assert look_at(published, folder, dict(found.answers)) == found
    assert census.asked.count('GET /2022/codes.xlsx') == 1


def test_a_server_that_names_no_version_is_read_each_time(
    census: Any, published: Edition, folder: Path
) -> None:
    content = census.files['/2022/codes.xlsx'][0]
    census.publish('/2022/codes.xlsx', content, etag=None)
    assert look_at(published, folder) == NOTHING
    assert 'GET /2022/codes.xlsx' in census.asked


def test_a_workbook_that_is_not_at_hand_is_not_asked_about(
    census: Any, published: Edition, folder: Path
) -> None:
    (folder / published.workbook('concordance').file).unlink()
    known = {'concordance': Answer('"old"', None, 'a' * 64)}
    assert look_at(published, folder, known) == NOTHING
    assert 'HEAD /2022/concordance.xlsx' not in census.asked


def test_trouble_with_one_workbook_is_a_sentence_and_the_others_are_looked_at(
    census: Any, published: Edition, folder: Path
) -> None:
    newer = with_erratum(census.files['/2022/index.xlsx'][0])
    census.publish('/2022/index.xlsx', newer, etag='"second"')
    census.broken['/2022/codes.xlsx'] = 503
    census.broken['/2022/concordance.xlsx'] = 404
    census.publish('/2022/cross_references.xlsx', b'<html>Come back later</html>', etag=None)
    known = {'codes': Answer('"moved"', None, 'a' * 64)}
    found = look_at(published, folder, known)
    assert found.changed == {'index': sha256(newer)}
    # What was known of a workbook that could not be looked at is still known.
    assert found.answers['codes'] == known['codes']
    codes, cross_references, concordance = found.unanswered
    assert codes.endswith('/2022/codes.xlsx answers with HTTP 503: the next look asks again.')
    assert 'something that is no workbook' in cross_references
    assert 'HTTP 404' in concordance
    assert 'editions.toml' in concordance


def test_a_server_that_is_away_is_asked_once(published: Edition, folder: Path, census: Any) -> None:
    census.server.stop()
    try:
        found = look_at(published, folder)
    finally:
        census.server.start()
    assert found.changed == {}
    assert len(found.unanswered) == 1
    assert 'does not answer' in found.unanswered[0]


def test_when_the_time_is_over_nothing_more_is_asked(
    published: Edition, folder: Path, census: Any
) -> None:
    with asking(seconds=-1) as web:
        found = look(published, folder, web)
    assert 'no time left' in found.unanswered[0]
    assert census.asked == []


def test_a_server_that_knows_no_head_is_read(
    census: Any, published: Edition, folder: Path, httpserver: HTTPServer
) -> None:
    refusing = httpserver.expect_request(re.compile('.*'), method='HEAD')
    refusing.respond_with_data(status=405)
    httpserver.handlers.insert(0, httpserver.handlers.pop())
    assert look_at(published, folder) == NOTHING
    assert census.asked == [f'GET /2022/{kind}.xlsx' for kind in KINDS]


def test_a_password_in_an_address_makes_no_other_address(
    census: Any, published: Edition, tmp_path: Path
) -> None:
    codes = published.workbook('codes')
    url = (codes.url or '').replace('://', '://me:s3cret@')
    wanted = dataclasses.replace(
        published, workbooks={'codes': dataclasses.replace(codes, url=url)}
    )
    fetch_workbook(wanted, 'codes', tmp_path)
    census.asked.clear()
    assert look_at(wanted, tmp_path) == NOTHING
    assert census.asked == ['HEAD /2022/codes.xlsx']
    # Moved elsewhere, it is another address, whatever the server calls its version.
    moved = dataclasses.replace(codes, url=url.replace('codes', 'index'))
    wanted = dataclasses.replace(wanted, workbooks={'codes': moved})
    assert look_at(wanted, tmp_path).changed.keys() == {'codes'}


def test_the_body_of_a_redirect_is_not_read(
    census: Any, published: Edition, folder: Path, httpserver: HTTPServer
) -> None:
    newer = with_erratum(census.files['/2022/codes.xlsx'][0])
    census.publish('/moved.xlsx', newer, etag='"second"')
    # Whoever read it would find out that it ends too early.
    headers = {'Location': '/moved.xlsx', 'Content-Length': '1000'}
    httpserver.expect_request('/2022/codes.xlsx').respond_with_handler(
        lambda request: Response(iter([b'x' * 600]), 302, headers)
    )
    httpserver.handlers.insert(0, httpserver.handlers.pop())
    found = look_at(published, folder)
    assert (found.changed, found.unanswered) == ({'codes': sha256(newer)}, [])


def test_packed_bytes_are_refused_in_a_sentence_and_the_others_are_looked_at(
    census: Any, published: Edition, folder: Path, httpserver: HTTPServer
) -> None:
    body = gzip.compress(gzip.compress(b'PK' + bytes(2**20)))
    packed = Response(body, headers={'ETag': '"second"', 'Content-Encoding': 'gzip, gzip'})
    httpserver.expect_request('/2022/codes.xlsx').respond_with_response(packed)
    httpserver.handlers.insert(0, httpserver.handlers.pop())
    found = look_at(published, folder)
    assert found.changed == {}
    (sentence,) = found.unanswered
    assert "answers with packed bytes (Content-Encoding: 'gzip, gzip')" in sentence
    assert census.asked == [f'HEAD /2022/{kind}.xlsx' for kind in KINDS[1:]]


def test_more_bytes_than_a_workbook_has_are_not_read_to_the_end(
    census: Any, published: Edition, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, 'SIZE_LIMIT', 2**20)
    census.publish('/2022/codes.xlsx', b'PK' + bytes(2**21), etag='"large"')
    found = look_at(published, folder)
    assert found.changed == {}
    assert 'larger than 1 MiB' in found.unanswered[0]


def test_a_folder_of_workbooks_is_compared_by_its_files(
    census: Any, published: Edition, folder: Path, tmp_path: Path
) -> None:
    source_dir = tmp_path / 'workbooks'
    for path in folder.glob('*.xlsx'):
        copy = source_dir / '2022' / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (source_dir / '2022' / published.workbook('codes').file).unlink()
    index = source_dir / '2022' / published.workbook('index').file
    newer = with_erratum(index.read_bytes())
    index.write_bytes(newer)
    with asking() as web:
        found = look(published, folder, web, source_dir=source_dir)
    assert found.changed == {'index': sha256(newer)}
    assert found.answers == {}
    assert [sentence.startswith('There is no ') for sentence in found.unanswered] == [True]
    assert census.asked == []


def test_the_next_edition_is_found_at_one_of_its_addresses(
    census: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = {
        kind: census.server.url_for(f'/2027/{kind}.xlsx') for kind in ('codes', 'index', 'extra')
    }
    monkeypatch.setattr(watch, 'expected_editions', lambda: {'2027': addresses})

    def looked() -> Any:
        with asking() as web:
            return appeared(web)

    assert looked() == ({}, [])
    census.publish('/2027/codes.xlsx', b'PK...')
    census.broken['/2027/index.xlsx'] = 500
    found, unanswered = looked()
    assert found == {'2027': [addresses['codes']]}
    assert len(unanswered) == 1
    assert 'HTTP 500' in unanswered[0]


def test_a_page_for_people_is_no_new_edition(
    census: Any, httpserver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    httpserver.clear()
    httpserver.expect_request('/2027/codes.xlsx').respond_with_data(
        'Not found, but friendly', content_type='text/html; charset=utf-8'
    )
    url = httpserver.url_for('/2027/codes.xlsx')
    monkeypatch.setattr(watch, 'expected_editions', lambda: {'2027': {'codes': url}})
    with asking() as web:
        assert appeared(web) == ({}, [])


def test_the_next_edition_is_found_as_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, 'expected_editions', lambda: {'2027': {}, '2032': {}})
    (tmp_path / '2027').mkdir()
    with asking() as web:
        assert appeared(web, tmp_path) == ({'2027': [str(tmp_path / '2027')]}, [])
