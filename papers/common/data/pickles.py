r"""
---
title: Pickles
summary: Old data sets are pickles, and a pickle is a program; ours may only build arrays.
---

# Pickles

Loading a pickle runs it: a crafted one can delete files. Some data sets of our papers
exist only as pickles, so two fences stand before them. [The
store](store.py#reading-is-checking) hands out only bytes whose checksum is known, and
the unpickler here admits only what builds arrays and dictionaries.
"""

import io
import pickle
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papers.common.errors import UserError


class Rows:
    r"""
    ## Sparse rows

    Stands in for `scipy.sparse.csr_matrix`, whose pickles name a module that newer
    versions of SciPy no longer have. Row $i$ holds `data[indptr[i]:indptr[i + 1]]` in
    the columns `indices[indptr[i]:indptr[i + 1]]`.
    """

    data: NDArray[Any]
    indices: NDArray[Any]
    indptr: NDArray[Any]
    _shape: tuple[int, int]

    def dense(self) -> NDArray[np.float32]:
        matrix = np.zeros(self._shape, dtype=np.float32)
        rows = np.repeat(np.arange(self._shape[0]), np.diff(self.indptr))
        matrix[rows, self.indices] = self.data
        return matrix


# NumPy moved this function between modules. An array names it under any version.
REBUILD = np.empty(0).__reduce__()[0]

ADMITTED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): REBUILD,
    ("numpy._core.multiarray", "_reconstruct"): REBUILD,
    ("scipy.sparse.csr", "csr_matrix"): Rows,
    ("scipy.sparse._csr", "csr_matrix"): Rows,
    ("collections", "defaultdict"): defaultdict,
    ("__builtin__", "list"): list,
    ("builtins", "list"): list,
}


class Fenced(pickle.Unpickler):
    r"""
    ## The fence

    A pickle reaches code only through the names that it looks up. We answer from a
    table of nine names and never import.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return ADMITTED[module, name]


def unpickle(content: bytes, name: str) -> Any:
    r"""
    Files written by Python 2 hold text as bytes, which `latin1` maps one to one.
    """
    try:
        return Fenced(io.BytesIO(content), encoding="latin1").load()
    # A damaged pickle fails in as many ways as there are operations.
    except Exception as problem:
        raise UserError(f"{name} is not a pickle that we load: {problem}") from None


def object_array(content: bytes, name: str) -> NDArray[Any]:
    r"""
    ## Arrays of arrays

    A `.npy` file whose items differ in length is a short header and then a pickle.
    NumPy would load it without a fence.
    """
    file = io.BytesIO(content)
    try:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
    except ValueError as problem:
        raise UserError(f"{name} is not an array file: {problem}") from None
    array: NDArray[Any] = unpickle(file.read(), name)
    return array
