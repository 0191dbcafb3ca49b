r"""
---
title: Flows
summary: Turn noise into data by a map that can be run backwards, or by an equation of motion.
family: generative
---

# Flows

A sample of noise becomes a sample of data by a function. If the function can be inverted, the
density of what it makes is known exactly, and if it is the solution of a differential equation,
only a velocity has to be learned.

- [Real NVP](real_nvp.py) builds such a function out of layers that are easily inverted, and is
  trained by the likelihood itself.
- [Flow matching](flow_matching.py) learns a velocity that carries noise to data, by regression on
  straight lines between the two, and straightens its paths by a second training.
- [MeanFlow and consistency models](mean_flow.py) learn where a path leads, so that one step is
  enough.
"""
