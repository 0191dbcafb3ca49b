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
and [language](language/__init__.py), and goes by [recurrent](recurrent/__init__.py) networks and
networks for [vision](vision/__init__.py) to models that make new data:
[diffusion](diffusion/__init__.py), [flows](flows/__init__.py),
[variational autoencoders](variational/__init__.py) and
[adversarial networks](adversarial/__init__.py). Then come the parts of which all are made,
[activations](activations/__init__.py) and [normalization](normalization/__init__.py), what they
are trained with, [optimizers](optimizers/__init__.py), [regularization](regularization/__init__.py)
and the patterns of [training](training/__init__.py) that all papers share, and what is done with a
model that has been trained, [adaptation](adaptation/__init__.py) and
[preference](preference/__init__.py). What no paper is about (devices, checkpoints, data sets) lives
in [common](common/__init__.py), behind one object that each training loop calls by name.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

# Where a file of a `papers` is run by its path, that folder: a person did so, and reads one line.
ran = getattr(sys.modules["__main__"], "__file__", None)
folders = Path(ran).resolve().parents if ran else ()
beside = next((f for f in folders if f.name == "papers" and (f / "common").is_dir()), None)
ours = Path(__file__).resolve().parent

# Another clone, or an older install, which would answer for what the file beside it says.
if beside and beside != ours:
    told = f"{ran} would run with {ours}, which Python finds before the papers that it lies in"
    sys.exit(f"{told}: set PYTHONPATH={beside.parent}, or pip install -e {beside.parent}")

# The base of the distribution is the site's generator, which does without.
if find_spec("torch") is None:
    missing = "the papers need PyTorch: pip install 'annotated-papers[papers]'"
    # Under `python -m`, while it looks for the module: then a person asked, too.
    if beside or sys.argv[:1] == ["-m"]:
        sys.exit(missing)
    raise ModuleNotFoundError(missing, name="torch")
