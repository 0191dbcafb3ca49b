"""From a prompt to a text: token by token as it comes, up to the token that ends it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from papers.common import UserError
from papers.common.prompts import Writing, complete, last_tokens, tokenizer


def line_of(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as error:
        call()
    line = str(error.value)
    assert "\n" not in line
    return line


def words() -> Tokenizer:
    made = Tokenizer(models.WordLevel({"no": 0, "yes": 1, "stop": 2}, unk_token="no"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def nothing(start: Tensor) -> Iterator[int]:
    return iter(())


def test_a_tokenizer_is_read_or_named(tmp_path: Path) -> None:
    place = tmp_path / "tokenizer.json"
    assert line_of(lambda: tokenizer(tmp_path)).startswith(f"{place} is missing")
    for text in ("", "{", '{"version": "1.0"}'):
        place.write_text(text)
        assert line_of(lambda: tokenizer(tmp_path)).startswith(f"{place} is damaged (")
    words().save(str(place))
    assert tokenizer(str(tmp_path)).get_vocab_size() == 3


def test_prompts_are_completed_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words().save(str(tmp_path / "tokenizer.json"))
    asked: list[list[int]] = []

    def write(start: Tensor) -> Iterator[int]:
        asked.append(start.tolist())
        yield from (1, 0)

    complete(tmp_path, ["yes no", "yes"], write, 2)
    assert asked == [[1, 0], [1]]
    assert capsys.readouterr().out == "yes no yes no\nyes yes no\n"


def test_a_prompt_that_cannot_be_is_one_line_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words().save(str(tmp_path / "tokenizer.json"))
    line = line_of(lambda: complete(tmp_path, ["yes", " "], nothing, 2))
    assert line == "the prompt is empty: give at least one word"
    line = line_of(lambda: complete(tmp_path, ["no", "yes yes no"], nothing, 2))
    assert line.startswith("the prompt 'yes yes no' has 3 tokens, and the model reads at most 2")
    assert capsys.readouterr().out == ""


def test_a_text_ends_at_its_last_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text('{"eos_token_id": 2}')

    def write(start: Tensor) -> Iterator[int]:
        yield from (1, 2)
        raise AssertionError("nobody asks for what follows the end")

    complete(tmp_path, ["no"], write, 9)
    assert capsys.readouterr().out == "no yes\n"


@pytest.mark.parametrize(
    ("generation", "config", "expected"),
    [
        (None, None, []),
        (None, {}, []),
        (None, {"eos_token_id": 5}, [5]),
        (None, {"eos_token_id": None}, []),
        ({"eos_token_id": [5, 6]}, {"eos_token_id": 4}, [5, 6]),
        ({"temperature": 1.0}, {"eos_token_id": [4]}, [4]),
    ],
)
def test_last_tokens(
    tmp_path: Path, generation: object, config: object, expected: list[int]
) -> None:
    for name, told in (("generation_config.json", generation), ("config.json", config)):
        if told is not None:
            (tmp_path / name).write_text(json.dumps(told))
    assert last_tokens(tmp_path) == expected


def test_a_last_token_that_is_none_is_one_line(tmp_path: Path) -> None:
    for wrong in ("</s>", [1, "2"], {}):
        (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": wrong}))
        line = line_of(lambda: last_tokens(tmp_path))
        assert line.startswith(f"{tmp_path}/config.json is damaged (eos_token_id is ")


def test_text_comes_as_it_is_written_and_letters_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=256, show_progress=False, initial_alphabet=alphabet)
    made.train_from_iterator([], trainer)
    made.save(str(tmp_path / "tokenizer.json"))
    bytes_of_euro = made.encode("€").ids
    assert len(bytes_of_euro) == 3
    seen: list[str] = []

    def write(start: Tensor) -> Iterator[int]:
        for token in (*bytes_of_euro, *made.encode("!").ids):
            yield token
            seen.append(capsys.readouterr().out)

    complete(tmp_path, ["5 "], write, 9)
    assert seen == ["5 ", "", "€", "!"]


def test_special_tokens_are_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = words()
    made.add_special_tokens(["<s>"])
    made.save(str(tmp_path / "tokenizer.json"))
    complete(tmp_path, ["yes"], lambda start: iter((3, 0)), 9)
    assert capsys.readouterr().out == "yes no\n"


def test_a_model_is_placed_as_asked() -> None:
    for precision, dtype in (("stored", torch.bfloat16), ("fp32", torch.float32)):
        model = torch.nn.Linear(2, 2, dtype=torch.bfloat16)
        how = Writing(device="cpu", precision=precision)  # type: ignore[arg-type]
        assert how.place(model) == torch.device("cpu")
        assert model.weight.dtype == dtype
    if not torch.cuda.is_available():
        assert "--device cuda: there is none here" in line_of(
            lambda: Writing(device="cuda").place(torch.nn.Linear(2, 2))
        )
