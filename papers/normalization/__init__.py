r"""
---
title: Normalization
summary: Layers that keep what passes through them near mean zero and variance one.
family: foundations
---

# Normalization

What a layer computes can be large or small, and may hardly differ from one input to the next. The
layers behind it have to cope. A normalization takes away the mean of some numbers, divides by their
standard deviation, and so hands on numbers of a known size. The papers here differ in one thing:
*which* numbers share a mean and a variance.

- [Batch normalization](batch_norm.py): one feature, over all examples of a batch.
- [Layer normalization](layer_norm.py): all features of a layer, in one example.
- [RMSNorm](rms_norm.py): all features of a layer, in one example, without their mean.
- [Instance normalization](instance_norm.py): one channel of one image, with all its pixels.
- [Group normalization](group_norm.py): a few channels of one image, with all their pixels.
- [Weight standardization](weight_standardization.py): the weights of one output, and no activation.
- [Batch-channel normalization](batch_channel_norm.py): one feature, over earlier batches, too, and
  then a few channels of one image.
- [DeepNorm](deep_norm.py): all features of a layer, behind a shortcut that is made larger.

[One table](compared.py) has the norms of images side by side, in the same network.
"""
