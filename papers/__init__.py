r"""
---
title: Papers
summary: Deep-learning papers as files that explain themselves, train, and are held to a reference.
---

# Papers

One paper is one file: the idea in a paragraph, the parts from the bottom up with the paper's
equations, a small configuration, the model, and its training loop in full. To run a paper is to
train it,

    python papers/transformers/attention.py

and to use a part of it is to import it. Where a later paper builds on an earlier one, its file
imports the earlier file's parts, so that what is left to read is what is new.

Each folder is a topic. One way through them begins with [transformers](transformers/__init__.py)
and goes by [recurrent](recurrent/__init__.py) networks, networks for
[vision](vision/__init__.py) and [diffusion](diffusion/__init__.py) to
[activations](activations/__init__.py), [optimizers](optimizers/__init__.py),
[regularization](regularization/__init__.py) and the patterns of [training](training/__init__.py)
that all papers share. What no paper is about (devices, checkpoints, data sets) lives in
[common](common/__init__.py), behind one object that each training loop calls by name.
"""

import sys
from importlib.util import find_spec

# The base of the distribution is the site's generator, which does without.
if find_spec("torch") is None:
    missing = "the papers need PyTorch: pip install 'annotated-papers[papers]'"
    # Under `python -m`, while it looks for the module: then a person asked, and reads one line.
    if sys.argv[:1] == ["-m"]:
        sys.exit(missing)
    raise ModuleNotFoundError(missing, name="torch")
