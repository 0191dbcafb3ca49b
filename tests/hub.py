"""Folders as the hub has them: saved by transformers, changed, refused, and gone on from."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from papers.common import UserError
from papers.common.prompts import Writing, last_tokens
from tests.transformers import plain

M = TypeVar("M", bound=nn.Module)


def saved(theirs: M, folder: Path, std: float = 0.3, **how: Any) -> M:
    """With random weights, the way the hub has it."""
    for weight in theirs.parameters():
        nn.init.normal_(weight, std=std)
    theirs.save_pretrained(folder, **how)  # type: ignore[operator]
    return theirs


def edit(folder: Path, **settings: object) -> None:
    """In its settings; what becomes None is not said."""
    path = folder / "config.json"
    told = json.loads(path.read_text()) | settings
    path.write_text(json.dumps({name: value for name, value in told.items() if value is not None}))


def words_of(folder: Path, V: int) -> None:
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(V)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(folder / "tokenizer.json"))


def refused(
    load: Callable[[Path], object], folder: Path, settings: dict[str, Any], told: str = ""
) -> None:
    """A folder with other settings is, in one line that names the file and the setting."""
    edit(folder, **settings)
    with pytest.raises(UserError, match=told or f"{next(iter(settings))} is ") as error:
        load(folder)
    line = str(error.value)
    assert line.startswith(f"{folder / 'config.json'}: ")
    assert "\n" not in line


def same(ours: nn.Module, theirs: nn.Module, tokens: Tensor, within: float) -> None:
    # Some give single precision whatever they compute in.
    logits = theirs(tokens).logits.double()
    torch.testing.assert_close(ours(tokens).double(), logits, rtol=within, atol=within)


def backward(tokens: Tensor, *found: Tensor) -> None:
    """Gradients of how surprised each is at the next tokens; (B, T), and logits, (B, T, V)."""
    for logits in found:
        F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()


def there_and_back(
    page: ModuleType,
    ours: M,
    kind: type[nn.Module],
    folder: Path,
    tokens: Tensor,
    within: float = 1e-5,
    exact: Callable[[Any], nn.Module] = lambda theirs: theirs.double(),
    whole: bool = True,
) -> M:
    """What we save, their class loads whole and computes, and so does what we read of it. `exact`
    makes of their model one in double precision; `whole` says that all weights come back."""
    page.save_pretrained(ours, str(folder))
    theirs, said = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert type(theirs) is kind
    assert not any(said.values())
    theirs, again = exact(theirs.eval()), page.load_pretrained(str(folder))
    if whole:
        torch.testing.assert_close(again.state_dict(), ours.state_dict(), rtol=0, atol=0)
    assert type(again) is type(ours)
    for model in (ours.double(), again.double()):
        same(model, theirs, tokens, within)
    found: M = again
    return found


def generated(
    page: ModuleType, theirs: Any, folder: Path, V: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The likeliest words are those of their own `generate`, up to the one that ends the text."""
    words_of(folder, V)
    start, last = [3, 5], last_tokens(folder)
    greedy = {"do_sample": False, "max_new_tokens": 6, "pad_token_id": 0}
    told = theirs.eval().generate(torch.tensor([start]), **greedy)[0, 2:].tolist()
    told = list(takewhile(lambda token: token not in last, told))
    capsys.readouterr()
    page.generate(folder, ("w3 w5",), Writing(6, temperature=0))
    assert capsys.readouterr().out.split() == [f"w{token}" for token in [*start, *told]]
    assert len({*start, *told}) > 3
    # Draws are those of the seed, whatever other prompts there are.
    page.generate(folder, ("w3", "w5", "w3"), Writing(9, temperature=2.0, top_p=1.0))
    first, other, again = capsys.readouterr().out.splitlines()
    page.generate(folder, ("w3",), Writing(9, temperature=2.0, top_p=1.0, seed=1))
    assert first == again != other
    assert capsys.readouterr().out.strip() != first


def drawn(write: Callable[..., Any], model: nn.Module, context: int) -> None:
    """A text that is drawn is the one that reading all of it anew for each token gives."""
    start, chance = torch.tensor([3, 1, 4]), torch.Generator().manual_seed(5)
    told = list(write(start, Writing(20, 0.7, top_p=0.9), chance))
    law = LogitsProcessorList([TemperatureLogitsWarper(0.7), TopPLogitsWarper(0.9)])
    assert told == plain.write(model, start, 20, context, law, 5)
    assert len(set(told)) > 3


def commanded(
    page: ModuleType,
    folder: Path,
    V: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`generate` takes all flags, and the first mistakes with them are one line."""
    words_of(folder, V)
    script = str(page.__file__)

    def call(*words: str) -> Any:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", [script, "generate", *words])
        runpy.run_path(script, run_name="__main__")
        return capsys.readouterr()

    usual = ["--weights", str(folder), "--prompt", "w3", "w5", "--device", "cpu"]
    more = ["--count", "2", "--temperature", "0", "--top-k", "3", "--top-p", "0.5", "--seed", "4"]
    for precision in ("stored", "bf16"):
        lines = call(*usual, *more, "--precision", precision).out.splitlines()
        assert [line.split()[0] for line in lines] == ["w3", "w5"]
        assert all(1 <= len(line.split()) <= 3 for line in lines)
    for flags, said in [
        (["--top-p", "1.5"], "--top-p 1.5: give a share from 0 to 1"),
        (["--count", "0"], "--count 0: give 1 or more"),
        (["--temperature", "-1"], "--temperature -1.0: give 0 or more"),
        (["--temprature", "1"], "Unrecognized options: --temprature"),
        (["--prompt", " "], "the prompt is empty: give at least one word"),
        (["--weights", str(folder / "none")], f"{folder / 'none'}/config.json is missing"),
    ]:
        with pytest.raises(SystemExit) as end:
            call(*usual, *flags)
        assert end.value.code == 1
        told = capsys.readouterr()
        assert told.out == ""
        assert said in told.err
        assert told.err.count("\n") == 1
    (folder / "tokenizer.json").unlink()
    with pytest.raises(SystemExit):
        call(*usual)
    assert capsys.readouterr().err.startswith(f"{folder}/tokenizer.json is missing")
