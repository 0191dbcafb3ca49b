r"""
---
title: What no paper is about
summary: The run, its options and its command line, so that a paper's file keeps only the paper.
---

# What no paper is about

A paper does not discuss the graphics card, the progress line or what happens when somebody trips
over the cable. Its file should not either. All of that sits behind one object, the [run](run.py),
which a training loop uses by name:

```python
def train(config: Config, options: Options | None = None) -> dict[str, float]:
    run = Run(config, options)
    digits = run.batches(images, labels, size=config.batch)
    model = run.prepare(Model(config))
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr)
    for step in run.steps(config.steps, model=model, optimizer=optimizer):
        x, y = digits[step]
        with run.autocast():
            loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        run.log(loss=loss)
    return run.finish(accuracy=...)

if __name__ == "__main__":
    main(train)
```

Weights that somebody else has trained come in by way of [published](published.py), and what the
papers learn from by way of [data](data/__init__.py).
"""

from papers.common.cli import main
from papers.common.errors import UserError
from papers.common.limits import Share
from papers.common.options import Options
from papers.common.run import Run

__all__ = ["Options", "Run", "Share", "UserError", "main"]
