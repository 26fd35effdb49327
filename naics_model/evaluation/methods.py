"""What is compared: the methods by the name that their figures are filed under.

Words only. A figure's full name is `method/group/figure`, such as `text/warm/hit_at_1`.
"""

from __future__ import annotations

from typing import NamedTuple


class Method(NamedTuple):
    """A method: the head of its column, and what it does, in a sentence."""

    label: str
    meaning: str


METHODS = {
    'text': Method('Text', 'the hyperbolic points of the text model alone.'),
    'text_flat': Method(
        'Text, flat',
        'its flat points, by cosine; refinement leaves them as they are.',
    ),
    'text_nearest': Method(
        'Text, known',
        'both points of each code, and its nearest known phrases, fused with weights that were '
        'fitted on entries set aside.',
    ),
    'refined': Method('Refined', 'the hyperbolic points after the graph network has moved them.'),
    'refined_nearest': Method(
        'Refined, known', 'the same as “Text, known”, with the refined points.'
    ),
    'lorentz': Method(
        'Lorentz', 'a model of this project, trained under the protocol that is asked about.'
    ),
    'euclidean': Method(
        'Euclidean',
        'its control: the same encoder in flat space, on the same files, steps and seeds.',
    ),
    'bi_encoder': Method(
        'Bi-encoder',
        'the packaged sentence encoder with one LoRA adapter, trained on the known activities, '
        'with the nearest of them when it is asked: the bar for all the machinery above.',
    ),
    'bm25': Method('BM25', 'word statistics over a code’s own text.'),
    'tfidf': Method('TF-IDF', 'pieces of words in common with a code’s own text.'),
    'lexical': Method(
        'Lexical', 'BM25, TF-IDF centroid and nearest activity, fused; knows the activities.'
    ),
    'zero_shot': Method('Zero-shot', 'the packaged sentence encoder as it comes, by cosine.'),
    'zero_shot_nearest': Method(
        'Zero-shot, known',
        'the packaged sentence encoder, by a code’s own text plus its nearest known activity.',
    ),
    'lorentz_fit': Method(
        'Lorentz, no text', 'points in 32 hyperbolic dimensions, fitted to the tree alone.'
    ),
    'euclid_fit': Method(
        'Euclid, no text', 'points in 32 flat dimensions, fitted to the tree alone.'
    ),
}

MODELS = ('text', 'text_flat', 'text_nearest', 'refined', 'refined_nearest')
"""The methods that are the edition's own model."""

BENCHMARKED = ('lorentz', 'euclidean')
"""The methods that are trained to be measured, in both geometries."""
