r"""
---
title: Transformers
summary: Models in which positions exchange information by attention, from its first form on.
family: transformers
---

# Transformers

A transformer is a stack of two alternating steps. In one, positions exchange information:
*attention*. In the other, each position works on what it has received, by itself: a small
network. All the rest of the family (encoders, decoders, ways to tell positions apart, cheaper
forms of attention) varies what is between these two or what stands around them.

Start with [attention](attention.py): later papers import its parts from there. How a model knows
where a token stands has [pages of its own](positions/__init__.py), and so have models that keep a
memory of fixed size [in place of attention](linear_time/__init__.py), and networks of which each
token passes through [a few](experts/__init__.py). How attention is computed on a real machine is
told [in PyTorch](flash_attention.py) and once more [as a kernel](flash_triton.py).
"""
