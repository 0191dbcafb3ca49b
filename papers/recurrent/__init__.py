r"""
---
title: Recurrent networks
summary: Networks that read step by step and carry a state, and what keeps that state alive.
family: foundations
---

# Recurrent networks

A recurrent network reads a sequence one step at a time and keeps what it needs in a state of
fixed size. It can read for ever at the same cost for each step, and all that it knows of the past
has to pass through that state. The papers here are about how such a state is learned: what is
written to it, what is kept, and how the error of a late answer finds its way back to an early
cause.

- [Long short-term memory](lstm.py) adds to its state where others overwrite it, and learns when to
  write, when to read and when to forget.
- A [gated recurrent unit](gru.py) keeps one state and two gates, and does as much with less.
- [Sequence to sequence](seq2seq.py) has one network read a sentence and another write its
  translation, and no longer asks the state between them to hold all of it: the first attention.
- [PonderNet](ponder_net.py) lets the steps be thoughts about one input, and learns when to stop.
- [Recurrent highway networks](highway.py) make the way from one step to the next deep, with gates
  that keep it passable.
- A [HyperLSTM](hyper_lstm.py) has its weights scaled in every step by a small network that reads
  along.
"""
