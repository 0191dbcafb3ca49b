r"""
---
title: Graphs
summary: Three citation graphs with the split that papers on graphs compare by.
---

# Graphs

A node is a publication, its features say which words occur in it, and an edge is a
citation. A model sees all nodes and edges and the labels of 20 nodes of each class.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `N` | nodes | `F` | features of a node |
| `E` | edges, each counted in both directions | | |
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from papers.common.data import store
from papers.common.data.pickles import unpickle
from papers.common.errors import choose


@dataclass(frozen=True)
class Graph:
    r"""
    ## A graph

    `edges` holds a row of sources and a row of targets, every citation in both
    directions, none twice and none from a node to itself. `train`, `validation` and
    `test` are numbers of nodes. A node without a class has the label $-1$ and is in
    none of the three.
    """

    features: Tensor
    labels: Tensor
    edges: Tensor
    train: Tensor
    validation: Tensor
    test: Tensor


def links(neighbours: dict[int, list[int]]) -> Tensor:
    r"""
    The files list some citations twice and some from one side only, so we make a set of
    them.
    """
    pairs = {(i, j) for i, row in neighbours.items() for j in row if i != j}
    both = sorted(pairs | {(j, i) for i, j in pairs})
    return torch.tensor(both, dtype=torch.long).view(-1, 2).T.contiguous()


def planetoid(name: str = "cora") -> Graph:
    r"""
    ## The files of Planetoid

    `allx` and `ally` are features and one-hot classes of all nodes but those to test
    on, and `tx` and `ty` those of the test nodes, in the order of `test.index`. The
    first nodes, as many as `y` has rows, are to train on, and the 500 after them to
    validate.
    """
    names = {graph: graph for graph in ("cora", "citeseer", "pubmed")}
    stem = f"planetoid/ind.{choose('graph', name, names)}"
    parts = {
        part: unpickle(store.read(f"{stem}.{part}"), f"{stem}.{part}")
        for part in ("allx", "ally", "tx", "ty", "y", "graph")
    }
    test = np.array(store.read(f"{stem}.test.index").split(), dtype=np.int64)

    known, width = parts["allx"].dense(), parts["ally"].shape[1]
    # Citeseer's test nodes have gaps: publications that the graph links and nobody
    # read. They get no feature and no class.
    N = max(test.max() + 1, max(parts["graph"]) + 1)
    features = np.zeros((N, known.shape[1]), dtype=np.float32)
    features[: len(known)] = known
    features[test] = parts["tx"].dense()
    classes = np.zeros((N, width), dtype=np.float32)
    classes[: len(known)] = parts["ally"]
    classes[test] = parts["ty"]
    labels = np.where(classes.any(axis=1), classes.argmax(axis=1), -1)

    first = len(parts["y"])
    return Graph(
        features=torch.from_numpy(features),  # (N, F)
        labels=torch.from_numpy(labels),  # (N,)
        edges=links(parts["graph"]),  # (2, E)
        train=torch.arange(first),
        validation=torch.arange(first, min(first + 500, len(known))),
        test=torch.from_numpy(test),
    )
