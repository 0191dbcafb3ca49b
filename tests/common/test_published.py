"""A published folder gives the model that was saved, or one line that names its file."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForPreTraining,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from papers.common import UserError
from papers.common.names import Names
from papers.common.published import fill, renamed, save, settings, tensors
from papers.diffusion import ddpm
from papers.transformers import bert, gpt2, llama
from papers.vision import resnet, vit

PAPERS: dict[str, Callable[[Path], object]] = {
    "bert": bert.load_pretrained,
    "ddpm": ddpm.load_pretrained,
    "gpt2": gpt2.load_pretrained,
    "llama": llama.load_pretrained,
    "resnet": resnet.load_pretrained,
    "vit": vit.load_pretrained,
}


def random_model(name: str) -> Any:
    text: dict[str, Any] = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 8}
    if name == "bert":
        return BertForPreTraining(BertConfig(vocab_size=9, intermediate_size=32, **text))
    if name == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(vocab_size=9, n_positions=5, n_embd=8, n_layer=1, n_head=2)
        )
    if name == "llama":
        return LlamaForCausalLM(LlamaConfig(vocab_size=9, intermediate_size=16, **text))
    if name == "resnet":
        sizes: dict[str, Any] = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1]}
        return ResNetForImageClassification(ResNetConfig(layer_type="basic", **sizes))
    if name == "vit":
        small = ViTConfig(image_size=8, patch_size=4, intermediate_size=32, **text)
        return ViTForImageClassification(small)
    return UNet2DModel(
        in_channels=1, out_channels=1, block_out_channels=(8,), layers_per_block=1,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), norm_eps=1e-6,
        attention_head_dim=None, norm_num_groups=2, downsample_padding=0, freq_shift=1,
        flip_sin_to_cos=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("hub")
    for name in PAPERS:
        random_model(name).save_pretrained(place / name)
    DDPMScheduler().save_pretrained(place / "ddpm")
    return place


def line_of(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as error:
        call()
    line = str(error.value)
    assert "\n" not in line
    return line


# Folders of other models


@pytest.mark.parametrize("folder", PAPERS)
@pytest.mark.parametrize("paper", PAPERS)
def test_a_paper_takes_its_own_folder_and_no_other(folders: Path, paper: str, folder: str) -> None:
    load, place = PAPERS[paper], folders / folder
    if paper == folder:
        load(place)
        return
    line = line_of(lambda: load(place))
    assert line.startswith(f"{place}/config.json is of a ")
    assert line.endswith(": choose another folder")


@pytest.mark.parametrize("folder", PAPERS)
@pytest.mark.parametrize("paper", PAPERS)
def test_nor_does_it_if_the_folder_does_not_say_of_which_kind_it_is(
    folders: Path, tmp_path: Path, paper: str, folder: str
) -> None:
    for file in (folders / folder).iterdir():
        (tmp_path / file.name).symlink_to(file)
    said = json.loads((folders / folder / "config.json").read_text())
    (tmp_path / "config.json").unlink()
    anonymous = {k: v for k, v in said.items() if k not in ("model_type", "_class_name")}
    (tmp_path / "config.json").write_text(json.dumps(anonymous))
    if paper == folder:
        PAPERS[paper](tmp_path)
    else:
        assert str(tmp_path) in line_of(lambda: PAPERS[paper](tmp_path))


@pytest.mark.parametrize("paper", PAPERS)
def test_settings_that_make_no_sense_are_one_line(
    folders: Path, tmp_path: Path, paper: str
) -> None:
    """Each setting that the paper reads, in turn: gone, nothing, a word, zero."""
    for file in (folders / paper).iterdir():
        (tmp_path / file.name).symlink_to(file)
    config = tmp_path / "config.json"
    said = json.loads(config.read_text())
    config.unlink()
    told = 0
    for name in said:
        for wrong in (None, "many", 0, [0], {}):
            config.write_text(json.dumps(said | {name: wrong}))
            # Some settings are nothing to us, and none makes another error.
            with contextlib.suppress(UserError):
                PAPERS[paper](tmp_path)
                continue
            told += 1
    assert told > 10


# What the network here does not have


@pytest.mark.parametrize(
    ("paper", "changed"),
    [
        ("bert", {"hidden_act": "relu"}),
        ("bert", {"layer_norm_eps": 1e-5}),
        ("bert", {"is_decoder": True}),
        ("bert", {"add_cross_attention": True}),
        ("bert", {"tie_word_embeddings": False}),
        ("bert", {"position_embedding_type": "relative_key"}),
        ("bert", {"pad_token_id": 1}),
        ("bert", {"type_vocab_size": 1}),
        ("bert", {"intermediate_size": 24}),
        ("gpt2", {"activation_function": "gelu"}),
        ("gpt2", {"layer_norm_epsilon": 1e-6}),
        ("gpt2", {"tie_word_embeddings": False}),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
        ("gpt2", {"scale_attn_weights": False}),
        ("gpt2", {"add_cross_attention": True}),
        ("gpt2", {"n_inner": 24}),
        ("llama", {"hidden_act": "gelu"}),
        ("llama", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 5e5}}),
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": None}),
        ("llama", {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}),
        ("llama", {"sliding_window": 3}),
        ("llama", {"attention_bias": True}),
        ("llama", {"mlp_bias": True}),
        ("llama", {"head_dim": 8}),
        ("llama", {"layer_types": ["sliding_attention"]}),
        ("resnet", {"hidden_act": "gelu"}),
        ("resnet", {"downsample_in_first_stage": True}),
        ("resnet", {"downsample_in_bottleneck": True}),
        ("vit", {"hidden_act": "relu"}),
        ("ddpm", {"flip_sin_to_cos": True}),
        ("ddpm", {"norm_eps": 1e-5}),
    ],
)
def test_another_network_is_refused(
    folders: Path, tmp_path: Path, paper: str, changed: dict[str, object]
) -> None:
    for file in (folders / paper).iterdir():
        (tmp_path / file.name).symlink_to(file)
    said = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(said | changed))
    line = line_of(lambda: PAPERS[paper](tmp_path))
    assert line.startswith(f"{tmp_path}/config.json: ")
    assert line.endswith("choose other weights")
    named = next(iter(changed))
    inner = changed[named] if isinstance(changed[named], dict) else {}
    assert any(f": {name} is " in line for name in (named, *inner))


# The papers whose loaders say what may be passed over.
CLOSED = ("bert", "gpt2", "llama")


@pytest.mark.parametrize("paper", CLOSED)
def test_a_setting_that_nobody_has_heard_of_is_refused(
    folders: Path, tmp_path: Path, paper: str
) -> None:
    for file in (folders / paper).iterdir():
        (tmp_path / file.name).symlink_to(file)
    config = tmp_path / "config.json"
    said = json.loads(config.read_text())
    config.unlink()
    for value in (True, False, 0, "new", {}):
        config.write_text(json.dumps(said | {"soft_cap": value}))
        line = line_of(lambda: PAPERS[paper](tmp_path))
        assert line.startswith(f"{config}: soft_cap is {value!r}, which is not known here")
    # Not said, not what is about something else, and nothing that a library writes by itself.
    for harmless in ({"soft_cap": None}, {"architectures": ["Other"]}, {"eos_token_id": 7}):
        config.write_text(json.dumps(said | harmless))
        PAPERS[paper](tmp_path)


# Settings


def test_settings_that_lack_something_name_it(tmp_path: Path) -> None:
    place = tmp_path / "config.json"
    assert line_of(lambda: settings(tmp_path, "bert")) == (
        f"{place} is missing: download it, with the files that belong to it"
    )
    place.mkdir()
    assert f"{place} cannot be read: " in line_of(lambda: settings(tmp_path, "bert"))
    place.rmdir()
    for text in (b"", b"{", b"[1]", b"\xff"):
        place.write_bytes(text)
        line = line_of(lambda: settings(tmp_path, "bert"))
        assert line.startswith(f"{place} is damaged (")
        assert line.endswith("): download it again")
    place.write_text('{"n": 3, "m": [1, 2], "x": 0.5}')
    told = settings(tmp_path, "bert")
    assert (told.count("n"), told.counts("m"), told.counts("n")) == (3, (1, 2), (3,))
    assert (told.number("x"), told.number("n")) == (0.5, 3)
    assert line_of(lambda: told["k"]) == f"{place} has no 'k': is it of a bert?"
    for name, wrong in (("x", told.count), ("m", told.number)):
        assert f"{place} is damaged ({name} is " in line_of(lambda w=wrong, n=name: w(n))
    told.requires(n=3, x=0.5)
    told.presumes(n=3, x=0.5, unsaid=7)
    told.refuses(n=4, unsaid=True)
    refusals = (
        lambda: told.requires(x=0.4),
        lambda: told.presumes(x=0.4, unsaid=7),
        lambda: told.refuses(x=0.5),
    )
    for refusal in refusals:
        assert line_of(refusal).startswith(f"{place}: x is 0.5, unlike the network here")
    assert "no 'unsaid'" in line_of(lambda: told.requires(unsaid=True))


# Tensors


def same(name: str) -> str:
    return name


def test_shards_are_read_as_one(tmp_path: Path) -> None:
    parts = {"one": {"a": torch.rand(2), "b": torch.rand(3)}, "two": {"c": torch.rand(4)}}
    for name, held in parts.items():
        save_file(held, tmp_path / f"{name}.safetensors")
    places = {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    read = tensors(tmp_path, str.upper)
    assert list(read) == ["A", "B", "C"]
    assert torch.equal(read["B"], parts["one"]["b"])
    (tmp_path / "two.safetensors").unlink()
    assert line_of(lambda: tensors(tmp_path, same)) == (
        f"{tmp_path}/two.safetensors is missing: download it, with the files that belong to it"
    )
    for wrong in ({}, {"weight_map": ["one.safetensors"]}, {"weight_map": {"a": 1}}):
        index.write_text(json.dumps(wrong))
        line = line_of(lambda: tensors(tmp_path, same))
        assert line == f"{index} is damaged (it has no weight_map): download it again"


def test_pickles_are_not_read(tmp_path: Path) -> None:
    torch.save({"a": torch.rand(1)}, tmp_path / "pytorch_model.bin")
    line = line_of(lambda: tensors(tmp_path, same))
    assert line.startswith(f"{tmp_path} has its weights in pytorch_model.bin, a pickle, which is")
    # Beside the tensors it is not in the way.
    save_file({"a": torch.rand(1)}, tmp_path / "model.safetensors")
    assert list(tensors(tmp_path, same)) == ["a"]


def test_a_file_that_is_not_whole_is_named(tmp_path: Path) -> None:
    place = tmp_path / "model.safetensors"
    assert f"{place} is missing" in line_of(lambda: tensors(tmp_path, same))
    save_file({"a": torch.rand(100), "b": torch.rand(2)}, place)
    whole = place.read_bytes()
    for content in (b"", b"not weights", whole[:-10], whole[:40], b"\xff" * 100):
        place.write_bytes(content)
        line = line_of(lambda: tensors(tmp_path, same))
        assert line.startswith(f"{place} is damaged (")
    place.unlink()
    place.mkdir()
    assert f"{place} cannot be read: " in line_of(lambda: tensors(tmp_path, same))


def test_names_go_over_and_what_has_none_is_left(tmp_path: Path) -> None:
    names = {r"^model\.": "", r"^copy\..*": "", r"\.q\.": ".query."}
    held = {"model.1.q.weight": torch.rand(1), "copy.q.weight": torch.rand(1)}
    save_file(held, tmp_path / "model.safetensors")
    read = tensors(tmp_path, lambda name: renamed(name, names))
    assert list(read) == ["1.query.weight"]
    assert line_of(lambda: read["head"]) == (
        f"{tmp_path}/model.safetensors has nothing for head: is it of another model?"
    )


def test_a_table_of_names_goes_both_ways() -> None:
    table = {"h.*.mlp.c_fc": "blocks.*.up", "e.*.*.x": "*.of.*", "ln": "norm"}
    names = Names(table, prefix="model.", unused=r"\.mask$")
    pairs = {
        "h.12.mlp.c_fc.weight": "blocks.12.up.weight",
        "e.3.4.x.bias": "3.of.4.bias",
        "ln.weight": "norm.weight",
        "ln": "norm",
        "other.weight": "other.weight",
        "lnx.weight": "lnx.weight",
        "h.one.mlp.c_fc": "h.one.mlp.c_fc",
    }
    for theirs, ours in pairs.items():
        assert names.ours(theirs) == names.ours(f"model.{theirs}") == ours
        assert names.theirs(ours) == theirs
    assert names.ours("h.1.mask") == names.ours("model.h.1.mask") == ""


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    weights = {"a": torch.rand(3, 2).T, "b": nn.Parameter(torch.rand(2))}
    save(tmp_path / "new" / "folder", {"model_type": "bert", "n": 3}, weights)
    assert settings(tmp_path / "new/folder", "bert").count("n") == 3
    read = tensors(str(tmp_path / "new" / "folder"), same)
    assert all(torch.equal(read[name], weights[name]) for name in weights)


# Filling


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: torch.rand(tensor.shape) for name, tensor in model.state_dict().items()}


def test_a_model_is_filled_in_place_and_evaluates() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5))
    weights = weights_of(model)
    weights["0.bias"] = weights["0.bias"].half()
    filled = fill(model, weights, Path("f"))
    assert not filled.training
    # Not copied, but for the one of another type.
    assert filled[0].weight.data_ptr() == weights["0.weight"].data_ptr()
    assert filled[0].weight.requires_grad
    assert filled[0].bias.dtype == torch.float32
    x = torch.rand(2)
    torch.testing.assert_close(filled(x), weights["0.weight"] @ x + weights["0.bias"].float())


def test_whatever_does_not_fit_is_named() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))

    def told(change: dict[str, Tensor], *lost: str) -> str:
        weights = weights_of(model) | change
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        for name in lost:
            del weights[name]
        line = line_of(lambda: fill(model, weights, Path("place")))
        assert all(torch.equal(tensor, before[k]) for k, tensor in model.state_dict().items())
        start = "place does not fit the model that its config.json describes: "
        assert line.startswith(start)
        return line.removeprefix(start)

    assert told({}, "1.bias") == "no 1.bias"
    assert told({"2.bias": torch.rand(1)}) == "2.bias besides"
    assert told({"0.weight": torch.rand(3, 3)}) == "0.weight of size 3×3 for 3×2"
    assert told({"x": torch.rand(1)}, "0.bias", "1.bias") == "no 0.bias, no 1.bias, x besides"
    weights = weights_of(model)
    del weights["1.bias"]
    line = line_of(lambda: fill(model, weights, "place", lambda name: f"their {name}"))
    assert line.endswith(": no their 1.bias")
    extra = {str(i): torch.rand(1) for i in range(5)}
    assert told(extra) == "0 besides, 1 besides, 2 besides and 2 more"


@pytest.mark.parametrize("paper", PAPERS)
def test_a_weight_that_is_lost_changed_or_added_is_seen(
    folders: Path, tmp_path: Path, paper: str
) -> None:
    from safetensors.torch import load_file

    (source,) = (folders / paper).glob("*.safetensors")
    for file in (folders / paper).iterdir():
        (tmp_path / file.name).symlink_to(file)
    place, stored = tmp_path / source.name, load_file(source)
    place.unlink()
    victim = next(name for name in stored if stored[name].dim() > 1)
    changes: list[dict[str, Tensor]] = [
        {name: tensor for name, tensor in stored.items() if name != victim},
        stored | {"spare": torch.rand(2)},
        stored | {victim: torch.rand(1, 1, 2)},
    ]
    for weights in changes:
        save_file(weights, place)
        assert str(tmp_path) in line_of(lambda: PAPERS[paper](tmp_path))
    save_file(stored, place)
    PAPERS[paper](tmp_path)


def test_importing_is_silent_and_waits_for_no_library() -> None:
    heavy = ["safetensors", "tokenizers", "transformers"]
    code = (
        "import sys, papers.transformers.llama, papers.transformers.bert, papers.vision.vit;"
        f"import papers.diffusion.ddpm; print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
