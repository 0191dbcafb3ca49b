r"""
---
title: Settings of published weights
summary: A file of settings that knows what was read of it, and refuses what was not.
---

# Settings of published weights

A folder with [published](published.py) weights says in `config.json` what they are for. Whatever it
says there may change what the network computes, so nothing is passed over by accident.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from papers.common.errors import UserError

# What a folder may say without changing an output: where it came from, which tokens begin and end
# a text, how weights were drawn before training, what a library returns beside the output.
HARMLESS = {
    *("_name_or_path", "architectures", "auto_map", "model_type", "dtype", "torch_dtype"),
    *(
        "_class_name",
        "_diffusers_version",
        "transformers_version",
        "torchscript",
        "tokenizer_class",
    ),
    *("bos_token_id", "eos_token_id", "pad_token_id", "id2label", "label2id", "problem_type"),
    *("initializer_range", "finetuning_task", "task_specific_params", "gradient_checkpointing"),
    *("use_cache", "return_dict", "output_attentions", "output_hidden_states"),
    "chunk_size_feed_forward",
}


class Settings(dict[str, Any]):
    r"""
    ## Settings

    A dictionary that knows its file, so that what it lacks can be told.
    """

    def __init__(self, values: dict[str, Any], path: Path, kind: str) -> None:
        super().__init__(values)
        self.path, self.kind, self.read = path, kind, set[str]()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)

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
        `presumes` accepts a file that says nothing too: older ones do not know the question.
        `refuses` takes a value that the network cannot have, and accepts every other.
        """
        for name, value in ours.items():
            said = self[name]
            near = isinstance(value, float) and isinstance(said, int | float)
            if not (math.isclose(said, value) if near else said == value):  # type: ignore[arg-type]
                self.differs(name)

    def presumes(self, **ours: object) -> None:
        self.requires(**{name: value for name, value in ours.items() if self.get(name) is not None})

    def refuses(self, **theirs: object) -> None:
        for name, value in theirs.items():
            if name in self and self[name] == value:
                self.differs(name)

    def ignores(self, *names: str) -> None:
        r"""
        ### What may be passed over

        A setting that we have never heard of may change what the network computes, and the weights
        would load all the same. So once everything is read, required or refused, this names what
        is left that changes no output *in this family of models*, and anything else is an error.
        `null` counts as not said.
        """
        for name in self:
            if name not in {*self.read, *names, *HARMLESS} and self[name] is not None:
                raise UserError(
                    f"{self.path}: {name} is {self[name]!r}, which is not known here and may "
                    "change outputs: delete it there if it does not, or choose other weights"
                )

    @contextlib.contextmanager
    def blueprint(self) -> Iterator[None]:
        r"""
        ### A model without weights

        Built on the meta device, a model has shapes and stores nothing. So the tensors that
        [fill](published.py#filling-a-model) it are in memory once and not twice, and no time goes
        into drawing weights that are then thrown away. What goes wrong in here goes wrong because
        of the settings.
        """
        try:
            with torch.device("meta"):
                yield
        except UserError as error:
            named = str(self.path) in str(error)
            raise error if named else UserError(f"{self.path}: {error}") from None
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise damaged(self.path, f"no {self.kind} is like that: {error}") from None

    def differs(self, name: str) -> None:
        raise UserError(
            f"{self.path}: {name} is {self[name]!r}, unlike the network here: choose other weights"
        )


def settings(
    folder: str | Path, kind: str, file: str = "config.json", also: tuple[str, ...] = ()
) -> Settings:
    r"""
    ### Reading them

    Most files say of which kind they are, in the words of the library that reads them. `also` names
    further kinds that the network can be; a file that does not say is taken to be of the first.
    """
    path = Path(folder, file)
    values = parsed(path)
    theirs = values.get("model_type") or values.get("_class_name") or kind
    if theirs not in (kind, *also):
        wanted = " or ".join((kind, *also))
        raise UserError(f"{path} is of a {theirs}, not of a {wanted}: choose another folder")
    return Settings(values, path, theirs)


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
