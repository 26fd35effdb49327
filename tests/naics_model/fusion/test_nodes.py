"""Scores of nodes above the leaves, against a loop."""

from __future__ import annotations

import numpy as np
import pytest

from naics_model.fusion.nodes import node_scores


def units(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, 5))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_scores_are_those_of_a_loop() -> None:
    documents, nodes, leaves = units(4, 0), units(3, 1), units(6, 2)
    below = np.array([[1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 1, 1], [0, 0, 0, 0, 0, 0]], bool)
    found = node_scores(documents, nodes, leaves, below)
    for d in range(4):
        for node in range(3):
            members = [nodes[node], *leaves[below[node]]]
            total = sum(np.exp(documents[d] @ member / 0.05) for member in members)
            assert found[d, node] == pytest.approx(np.log(total))


def test_a_node_without_known_leaves_is_found_by_its_own_document() -> None:
    nodes, leaves = np.eye(3), -np.eye(3)[:1]
    below = np.array([[True], [False], [False]])
    found = node_scores(np.eye(3), nodes, leaves, below)
    assert found.argmax(axis=1).tolist() == [0, 1, 2]


def test_a_leaf_that_a_text_resembles_leads_to_its_parent() -> None:
    # The text is near neither node's document, and near a leaf below the second.
    text = np.array([[0.0, 0.0, 1.0]])
    below = np.array([[True, False], [False, True]])
    leaves = np.array([[1.0, 0.0, 0.0], [0.0, 0.6, 0.8]])
    assert node_scores(text, np.eye(3)[:2], leaves, below).argmax() == 1
