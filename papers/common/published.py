r"""
---
title: Published weights
summary: A folder as the hub has it becomes settings, tensors by our names, and a filled model.
topic: common
---

# Published weights

A model on the Hugging Face hub is a folder: `config.json` with its settings, `model.safetensors`
with its tensors, and for a model of text `tokenizer.json`. The network in a paper's file computes
the same under names of its own. What is left to say there is how the names go over,

```python
def load_pretrained(folder: Path) -> Model:
    told = settings(folder, "gpt2")
    told.requires(activation_function="gelu_new")
    config = Config(layers=told.count("n_layer"), ...)
    weights = tensors(folder, our_name)
    with told.blueprint():
        model = Model(config)
    return fill(model, weights, folder)
```

and all that can be wrong with a folder is told here, in one line that names the file.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from papers.common.errors import UserError
from papers.common.limits import chance

if TYPE_CHECKING:
    from tokenizers import Tokenizer

M = TypeVar("M", bound=nn.Module)


class Settings(dict[str, Any]):
    r"""
    ## Settings

    A dictionary that knows its file, so that what it lacks can be told.
    """

    def __init__(self, values: dict[str, Any], path: Path, kind: str) -> None:
        super().__init__(values)
        self.path, self.kind = path, kind

    def __missing__(self, name: str) -> Any:
        raise UserError(f"{self.path} has no {name!r}: is it of a {self.kind}?")

    def number(self, name: str) -> float:
        r"""
        ### Numbers

        `number` may be any, `count` is a whole one from 1, and `counts` is a list of those.
        """
        if type(self[name]) not in (int, float):
            raise damaged(self.path, f"{name} is {self[name]!r}, which is no number")
        return self[name]

    def counts(self, name: str) -> tuple[int, ...]:
        values = self[name] if isinstance(self[name], list) else [self[name]]
        if not values or any(type(value) is not int or value < 1 for value in values):
            raise damaged(self.path, f"{name} is {self[name]!r}, which counts nothing")
        return tuple(values)

    def count(self, name: str) -> int:
        return self.counts(name)[0]

    def requires(self, **ours: object) -> None:
        r"""
        ### What is not ours to choose

        A family of models on the hub has settings that a paper's network has not, since it was
        published with one value. `requires` takes that value and accepts no other, nor none.
        `refuses` takes the value that the network cannot have, and accepts a file that says
        nothing: older ones do not know the question.
        """
        for name, value in ours.items():
            said = self[name]
            near = isinstance(value, float) and isinstance(said, int | float)
            if not (math.isclose(said, value) if near else said == value):  # type: ignore[arg-type]
                self.differs(name)

    def refuses(self, **theirs: object) -> None:
        for name, value in theirs.items():
            if name in self and self[name] == value:
                self.differs(name)

    @contextlib.contextmanager
    def blueprint(self) -> Iterator[None]:
        r"""
        ### A model without weights

        Built on the meta device, a model has shapes and stores nothing. So the tensors that
        [fill](#filling-a-model) it are in memory once and not twice, and none is drawn in vain.
        What goes wrong in here goes wrong because of the settings.
        """
        try:
            with torch.device("meta"):
                yield
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise damaged(self.path, f"no {self.kind} is like that: {error}") from None

    def differs(self, name: str) -> None:
        raise UserError(
            f"{self.path}: {name} is {self[name]!r}, unlike the network here: choose other weights"
        )


def settings(folder: Path, kind: str, file: str = "config.json") -> Settings:
    r"""
    ### Reading them

    Most files say of which kind they are, in the words of the library that reads them.
    """
    path = folder / file
    values = parsed(path)
    told = Settings(values, path, kind)
    theirs = told.get("model_type") or told.get("_class_name") or kind
    if theirs != kind:
        raise UserError(f"{path} is of a {theirs}, not of a {kind}: choose another folder")
    return told


def parsed(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise absent(path, error) from None
    except ValueError as error:
        raise damaged(path, error) from None
    if not isinstance(values, dict):
        raise damaged(path, "it holds no settings by name")
    return values


def absent(path: Path, error: OSError) -> UserError:
    if not path.exists():
        return UserError(f"{path} is missing: download it, with the files that belong to it")
    return UserError(f"{path} cannot be read: {error.strerror or error}")


def damaged(path: Path, why: object) -> UserError:
    return UserError(f"{path} is damaged ({why}): download it again")


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
    folder: Path, our_name: Callable[[str], str], file: str = "model.safetensors"
) -> Tensors:
    r"""
    Large models come in several files, with an index beside them that says which holds what.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    found = Tensors()
    found.path = folder / file
    index = folder / f"{file}.index.json"
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


def fill(model: M, weights: dict[str, Tensor], folder: Path) -> M:
    r"""
    ## Filling a model

    Each tensor must have its place, and each place its tensor: a weight that was left as it was
    drawn would go unseen. The tensors become the weights, without a copy where the type is right.
    """
    wanted = model.state_dict()
    wrong = [f"no {name}" for name in wanted if name not in weights]
    wrong += [f"{name} besides" for name in weights if name not in wanted]
    wrong += [
        f"{name} of size {size(weights[name])} for {size(place)}"
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


def tokenizer(folder: Path) -> Tokenizer:
    r"""
    ## Text

    The tokenizer that the weights were trained with.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise absent(path, error) from None
    except Exception as error:  # the library has no class for it
        raise damaged(path, error) from None


def complete(
    folder: Path, prompt: str, seed: int, write: Callable[[Tensor, torch.Generator], Tensor]
) -> None:
    r"""
    ### From a prompt to a text

    What a language model's `generate` does around its model: `write` gets the prompt's tokens,
    `(T,)`, with a source of chance, and returns them with what follows.
    """
    words = tokenizer(folder)
    start = torch.tensor(words.encode(prompt).ids, dtype=torch.long)
    if not len(start):
        raise UserError("the prompt is empty: give at least one word")
    told = write(start, chance(seed))
    print(words.decode(told.tolist()))
