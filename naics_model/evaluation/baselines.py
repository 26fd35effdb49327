"""What one gets for nothing: word statistics, and a sentence encoder that never saw NAICS.

Texts in, distances (q, c) out, smaller is nearer; all measured in the same run. Cold, that is what
is published of each candidate code (title, description, illustrative examples); warm, also training
activities with their codes. No setting was chosen on a held-out one.

    cold   bm25_distances, tfidf_distances, and the cosine of sentence vectors
    warm   lexical_distances (BM25, centroid and nearest entry, fused),
           nearest_and_own_distances (of sentence vectors)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import bm25s
import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

Floats = NDArray[np.floating]
Vectors = Any
"""Rows of vectors, a NumPy array or a SciPy sparse matrix."""

FARTHEST = 2.0
"""1 - cosine of opposite vectors: the distance of a code that has no entry."""

_BM25 = {'k1': 1.2, 'b': 0.6}
_ENDINGS = re.compile('(ing|ers|er|ies|es|s)$')
# Queries whose similarities to all entries are in memory at once: 70 MB of 2022.
_CHUNK = 512


def words(text: str) -> list[str]:
    """Return a text's words for BM25: runs of letters in lower case, without common endings.

    The endings -ing, -ers, -er, -ies, -es and -s are cut off words of five letters or more: cruder
    than a stemmer, but `farms` meets `farming`. On the training activities of 2022 that takes cold
    hit@1 from 53.3 to 55.2 %. Pairs of words as further terms help warm (+2 points) and hurt cold
    (-2 points), so that they are left out.
    """
    found = re.findall('[a-z]+', text.lower())
    return [_ENDINGS.sub('', word) if len(word) > 4 else word for word in found]


def bm25_distances(candidates: Sequence[str], queries: Sequence[str]) -> NDArray[np.float32]:
    """Return minus the BM25 scores of `words`, each word of a query counting once.

    k1 = 1.2 and b = 0.6: of five settings none was better on the training activities of 2022.

    Args:
        candidates: c texts.
        queries: q texts.

    Returns:
        (q, c), at most 0; 0 where a query shares no word with a candidate.
    """
    index = bm25s.BM25(**_BM25, method='lucene')
    index.index([words(text) for text in candidates], show_progress=False)
    distance = np.zeros((len(queries), len(candidates)), np.float32)
    for row, text in enumerate(queries):
        known = [word for word in dict.fromkeys(words(text)) if word in index.vocab_dict]
        if known:
            distance[row] = -index.get_scores(known)
    return distance


def tfidf_distances(candidates: Sequence[str], queries: Sequence[str]) -> NDArray[np.float64]:
    """Return 1 - cosine of TF-IDF vectors, fitted on the candidates alone.

    Vectors count pieces of three to five letters inside words: they need no stemmer, and on the
    training activities of 2022 they put the right code first more often than whole words do
    (over title and description: 39.2 against 36.4 %).

    Args:
        candidates: c texts.
        queries: q texts.

    Returns:
        (q, c); 1 where a query shares no piece with a candidate.
    """
    vectoriser = _letter_pieces()
    vectors = vectoriser.fit_transform(candidates)
    similarity = (vectoriser.transform(queries) @ vectors.T).toarray()
    return np.asarray(1.0 - similarity, dtype=np.float64)


def lexical_distances(
    candidates: Sequence[str],
    entries: Sequence[str],
    owners: NDArray[np.integer],
    queries: Sequence[str],
) -> NDArray[np.float64]:
    """Return three lexical methods fused: BM25, TF-IDF centroid and TF-IDF nearest entry.

    BM25 reads a code's own text and its entries as one text. The other two compare vectors of
    pieces of letters, as in `tfidf_distances`, and take a code's own text as one entry more.

    Args:
        candidates: c texts.
        entries: e texts that belong to candidates.
        owners: (e,) the candidate of each entry.
        queries: q texts.

    Returns:
        (q, c), see `fused`.
    """
    joined = [[text] for text in candidates]
    for text, owner in zip(entries, owners, strict=True):
        joined[owner].append(text)
    vectoriser = _letter_pieces()
    known = vectoriser.fit_transform([*entries, *candidates])
    asked = vectoriser.transform(queries)
    everyone = np.concatenate([owners, np.arange(len(candidates))])
    return fused(
        bm25_distances([' '.join(texts) for texts in joined], queries),
        centroid_distances(known, everyone, asked, len(candidates)),
        nearest_entry_distances(known, everyone, asked, len(candidates)),
    )


def nearest_entry_distances(
    entries: Vectors, owners: NDArray[np.integer], queries: Vectors, count: int
) -> NDArray[np.float64]:
    """Return 1 - the largest cosine of a query with an entry of each code.

    Args:
        entries: (e, d) unit vectors, dense or sparse.
        owners: (e,) the code of each entry, 0 to count - 1.
        queries: (q, d) unit vectors.
        count: number of codes.

    Returns:
        (q, count); `FARTHEST` for a code without an entry.
    """
    order = np.argsort(owners, kind='stable')
    entries, owners = entries[order], owners[order]
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    distance = np.full((queries.shape[0], count), FARTHEST)
    if len(starts):
        for start in range(0, queries.shape[0], _CHUNK):
            similarity = _dense(queries[start : start + _CHUNK] @ entries.T)
            largest = np.maximum.reduceat(similarity, starts, axis=1)
            distance[start : start + _CHUNK, owners[starts]] = 1.0 - largest
    return distance


def nearest_entry(entries: Sequence[str], queries: Sequence[str]) -> NDArray[np.intp]:
    """Return the position of the entry (q,) that is nearest to each query by pieces of letters.

    The first of several; -1 where no entry shares a piece with the query.

    Args:
        entries: e texts.
        queries: q texts.
    """
    vectoriser = _letter_pieces()
    known = vectoriser.fit_transform(entries)
    asked = vectoriser.transform(queries)
    nearest = np.zeros(len(queries), np.intp)
    for start in range(0, len(queries), _CHUNK):
        similarity = _dense(asked[start : start + _CHUNK] @ known.T)
        first = similarity.argmax(axis=1)
        largest = similarity[np.arange(len(first)), first]
        nearest[start : start + _CHUNK] = np.where(largest > 0, first, -1)
    return nearest


def centroid_distances(
    entries: Vectors, owners: NDArray[np.integer], queries: Vectors, count: int
) -> NDArray[np.float64]:
    """Return 1 - cosine of a query with the sum of each code's entries.

    Arguments and result are those of `nearest_entry_distances`.
    """
    membership = scipy.sparse.csr_matrix(
        (np.ones(len(owners)), (owners, np.arange(len(owners)))), shape=(count, len(owners))
    )
    distance = 1.0 - _dense(queries @ normalize(membership @ entries).T)
    distance[:, np.bincount(owners, minlength=count) == 0] = FARTHEST
    return np.asarray(distance, dtype=np.float64)


def nearest_and_own_distances(
    candidates: Vectors, entries: Vectors, owners: NDArray[np.integer], queries: Vectors
) -> NDArray[np.float64]:
    """Return the distance to the nearest entry of each code plus that to the code's own text.

    A plain sum, for both are 1 - cosine of the same vectors. On the training activities of 2022
    half the weight for the own text does as well, and a quarter or double does worse.

    Args:
        candidates: (c, d) unit vectors of the codes' own texts.
        entries: (e, d) unit vectors.
        owners: (e,) the candidate of each entry.
        queries: (q, d) unit vectors.
    """
    own = 1.0 - _dense(queries @ candidates.T)
    return own + nearest_entry_distances(entries, owners, queries, candidates.shape[0])


def fused(*distances: Floats) -> NDArray[np.float64]:
    """Return the sum of methods, each standardised: mean 0 and deviation 1 for every query.

    A method for which all candidates of a query are equal says nothing about that query.

    Args:
        distances: (q, c) each, in whatever unit.
    """
    total = np.zeros(distances[0].shape)
    for distance in distances:
        centred = distance - distance.mean(axis=1, keepdims=True, dtype=np.float64)
        spread = centred.std(axis=1, keepdims=True)
        total += np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-9)
    return total


def _letter_pieces() -> TfidfVectorizer:
    return TfidfVectorizer(analyzer='char_wb', ngram_range=(3, 5), sublinear_tf=True)


def _dense(product: Vectors) -> Floats:
    return product.toarray() if scipy.sparse.issparse(product) else np.asarray(product)
