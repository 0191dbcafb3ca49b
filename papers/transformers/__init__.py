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
memory of fixed size [in place of attention](linear_time/__init__.py), models that keep
[something of the text](memory/__init__.py) before the piece that they read, or look it up, and
networks of which each token passes through [a few](experts/__init__.py). Some blocks
[mix](mixing/__init__.py) positions without any score. How attention is computed on a real machine
is told [in PyTorch](flash_attention.py) and once more [as a kernel](flash_triton.py). A text
without an end needs [attention sinks](attention_sinks.py). Some models work on [groups of
tokens](hourglass.py), and any can be written as [a function](functional.py) of its weights.

## The family

A language model of today is [GPT-2](gpt2.py) with a few parts exchanged. How each block differs
from GPT-2's:

- [Rotary positions](positions/rope.py): queries and keys turn by their position. There is no table
  of positions, which stands outside the blocks.
- [ALiBi](positions/alibi.py): scores fall with the distance. There is no such table either.
- [GPT-NeoX](neox.py): attention and MLP work side by side. A quarter of each head turns.
- [Primer EZ](primer.py): squares in the MLP, and queries, keys and values mixed over three tokens.
- [LLaMA](llama.py): RMSNorm, a gate in the MLP, no biases, and all of each head turns. In the
  largest LLaMA 2, groups of query heads [share](llama.py#grouped-queries) keys and values.
- [Latent attention](latent_attention.py): one latent for the keys and values of all heads, here of
  256 numbers, and one key that turns, of 32.
- [Switch](experts/switch.py): many MLPs, of which a token passes through one.
- [DeepSeekMoE](experts/deepseek.py): those are gated and cut in four. One piece is for all tokens,
  and each token chooses three others.
- [Mixtral](experts/deepseek_v3.py#mixtral): LLaMA with eight MLPs, of which a token passes through
  two. Four heads of queries share one of keys.
- [DeepSeek-V3](experts/deepseek_v3.py): LLaMA with latents, and with experts that are cut in four.
- [Gated DeltaNet](linear_time/gated_delta.py): in place of attention, a memory that is corrected
  and fades.
- [Mamba](linear_time/mamba.py): in place of attention and MLP, a recurrence with a gate, twice.

The table shows what this costs. Each row is one block of width 768 with 12 heads, as the classes
of its page build it, and a test computes the numbers from them. A token passes through the weights
that are *used*. A block keeps keys and values of each token in its *cache* for as long as the text
goes on. A *state* has the same size however long the text is. Both are in bytes, with numbers of
16 bits.

| block | weights | used | cache of a token | state |
|---|---|---|---|---|
| GPT-2 | 7,087,872 | 7,087,872 | 3,072 | 0 |
| Rotary positions | 7,087,872 | 7,087,872 | 3,072 | 0 |
| ALiBi | 7,087,872 | 7,087,872 | 3,072 | 0 |
| GPT-NeoX | 7,087,872 | 7,087,872 | 3,072 | 0 |
| Primer EZ | 7,094,784 | 7,094,784 | 3,072 | 9,216 |
| LLaMA | 7,079,424 | 7,079,424 | 3,072 | 0 |
| LLaMA, four heads to a key | 6,194,688 | 6,194,688 | 768 | 0 |
| Latent attention | 6,814,720 | 6,814,720 | 576 | 0 |
| Switch, 8 experts | 40,151,040 | 7,094,016 | 3,072 | 0 |
| DeepSeekMoE, 8 cut in four | 40,137,984 | 7,107,840 | 3,072 | 0 |
| Mixtral, 8 experts | 39,230,976 | 10,919,424 | 768 | 0 |
| DeepSeek-V3, 8 cut in four | 39,863,296 | 6,833,152 | 576 | 0 |
| Gated DeltaNet | 7,702,360 | 7,702,360 | 0 | 112,128 |
| Mamba, two layers | 7,543,296 | 7,543,296 | 0 | 116,736 |

The states of the last two are smaller than GPT-2's cache once a text has more than 38 tokens.
"""
