r"""
---
title: Published weights
summary: A folder as the hub has it becomes settings, tensors by our names, and a filled model.
---

# Published weights

A model on the Hugging Face hub is a folder: `config.json` with its settings, `model.safetensors`
with its tensors, and for a model of text `tokenizer.json`. The network in a paper's file computes
the same under names of its own. What is left to say there is how the names go over,

```python
NAMES = Names({"wte": "tokens", "h.*.ln_1": "blocks.*.norm1", ...})

def load_pretrained(folder: str | Path) -> Model:
    told = settings(folder, "gpt2")
    told.requires(activation_function="gelu_new")
    config = Config(layers=told.count("n_layer"), ...)
    told.ignores("attn_pdrop", ...)
    weights = tensors(folder, NAMES.ours)
    with told.blueprint():
        model = Model(config)
    return fill(model, weights, folder, NAMES.theirs)

def save_pretrained(model: Model, folder: str | Path) -> None:
    weights = {NAMES.theirs(name): tensor for name, tensor in model.state_dict().items()}
    save(folder, {"model_type": "gpt2", "n_layer": model.config.layers, ...}, weights)
```

and all that can be wrong with a folder is reported here, in one line that names the file. The
[settings](settings.py), the [names](names.py) and the [text](prompts.py) have pages of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from papers.common.errors import UserError
from papers.common.settings import Settings, absent, damaged, parsed, settings

__all__ = ["Settings", "Tensors", "fill", "renamed", "save", "settings", "tensors"]

M = TypeVar("M", bound=nn.Module)


class Tensors(dict[str, Tensor]):
    r"""
    ## Tensors

    By our names. A name that becomes empty is that of a tensor which we have no use for: a mask,
    or the copy of a matrix that is used twice.
    """

    path: Path

    def __missing__(self, name: str) -> Tensor:
        raise UserError(f"{self.path} has nothing for {name}: is it of another model?")


def tensors(
    folder: str | Path, our_name: Callable[[str], str], file: str = "model.safetensors"
) -> Tensors:
    r"""
    Large models come in several files, with an index beside them that says which holds what.
    Older folders hold pickles alone, which can run any code when they are read: we read none.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    found = Tensors()
    found.path = Path(folder, file)
    index = Path(folder, f"{file}.index.json")
    pickles = sorted(path.name for path in Path(folder).glob("*.bin"))
    if pickles and not found.path.exists() and not index.exists():
        raise UserError(
            f"{folder} has its weights in {pickles[0]}, a pickle, which is not read here: load it "
            "with the library that wrote it and save it again, as safetensors"
        )
    for path in shards(index) if index.is_file() else [found.path]:
        try:
            # What it raises for a folder in place of a file, and for no file, differs.
            with path.open("rb"):
                stored = load_file(path)
        except OSError as error:
            raise absent(path, error) from None
        except SafetensorError as error:
            raise damaged(path, error) from None
        found.update((ours, stored[name]) for name in stored if (ours := our_name(name)))
    return found


def shards(index: Path) -> list[Path]:
    places = parsed(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(p, str) for p in places.values()):
        raise damaged(index, "it has no weight_map")
    return [index.parent / name for name in sorted(set(places.values()))]


def renamed(theirs: str, names: dict[str, str]) -> str:
    r"""
    ### Renaming

    Regular expressions with what stands in their place, one after the other.
    """
    for pattern, ours in names.items():
        theirs = re.sub(pattern, ours, theirs)
    return theirs


def fill(
    model: M, weights: dict[str, Tensor], folder: str | Path, their_name: Callable[[str], str] = str
) -> M:
    r"""
    ## Filling a model

    Each tensor must have its place, and each place its tensor: a weight that was left as it was
    drawn would go unseen. The tensors become the weights, without a copy where the type is right.
    What does not fit is called by the name that it has in the folder.
    """
    wanted = model.state_dict()
    wrong = [f"no {their_name(name)}" for name in wanted if name not in weights]
    wrong += [f"{their_name(name)} besides" for name in weights if name not in wanted]
    wrong += [
        f"{their_name(name)} of size {size(weights[name])} for {size(place)}"
        for name, place in wanted.items()
        if name in weights and weights[name].shape != place.shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UserError(
            f"{folder} does not fit the model that its config.json describes: "
            f"{', '.join(wrong[:3])}{more}"
        )
    fitting = {name: weights[name].to(place.dtype) for name, place in wanted.items()}
    model.load_state_dict(fitting, assign=True)
    return model.eval()


def size(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "1"


def save(
    folder: str | Path,
    told: dict[str, Any],
    weights: Mapping[str, Tensor],
    file: str = "model.safetensors",
) -> None:
    r"""
    ## The way back

    What `settings` and `tensors` read: a folder that the hub's own library loads, and so does
    whatever reads its files.
    """
    from safetensors.torch import save_file

    write_settings(Path(folder, "config.json"), told)
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    save_file(whole, Path(folder, file), metadata={"format": "pt"})


def write_settings(path: Path, told: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
