r"""
---
title: Experts
summary: Many networks at each position, of which every token uses a few.
---

# Experts

In a transformer most of the weights are in the
[networks](../transformer.py#a-network-at-each-position) that work on each position by themselves,
and every token passes through all of them. A mixture of experts has several such networks side by
side. A *router* chooses for each token which of them it passes through, so a model can have many
more weights than a token has multiplications.

- [Switch](switch.py): one expert for each token, and a loss that keeps all of them busy.
- [DeepSeekMoE](deepseek.py): many small ones, one of them for all tokens, and a bias in place of
  the loss.
- [DeepSeek-V3](deepseek_v3.py): a whole model with those, and with a second head that predicts the
  token after the next. Mixtral is loaded there, too.
"""
