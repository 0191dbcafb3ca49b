r"""
---
title: Preference
summary: Teach a language model what people prefer, from pairs of which one is the better.
family: practice
---

# Preference

Nobody can write down what makes an answer good, but shown two, people can say which is better. From
such pairs a language model learns to write what it is wanted to write, without forgetting how to
write.

- [A task](lipogram.py): a small language with a reward that anybody can count, for all pages here.
- [DPO](dpo.py): the model is its own model of the reward, and one loss on pairs is all that it
  takes.
"""
