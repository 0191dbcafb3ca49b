"""Every paper's notebook runs from its first cell to its last, here for one step."""

from __future__ import annotations

import codeop
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from site_builder.publish.notebook import render_notebook
from site_builder.read.cells import read_cells
from site_builder.read.document import read_document
from site_builder.read.settings import read_settings
from site_builder.read.source import Source, decode

from .test_flags import ROOT, papers

SETTINGS, _ = read_settings(ROOT)
# What takes longer than a step: a page's own measures at the end, made small.
SHORT = {"layers": 1, "context": 32}
SMALL: dict[str, dict[str, Any]] = {
    "papers.activations.fta": {"rates": 1},
    "papers.adaptation.lora": {"pretraining": 1, "layers": 1, "width": 16},
    "papers.adversarial.gradient_penalty": {"width": 16, "critic_steps": 1},
    "papers.adversarial.wasserstein": {"steps": 2, "critic_steps": 1},
    "papers.diffusion.ddim": {"number": 2},
    "papers.diffusion.ddpm": {"timesteps": 21, "width": 8},
    "papers.diffusion.dit": {"layers": 1, "width": 8},
    "papers.diffusion.latent.autoencoder": {"widths": [8, 8]},
    "papers.diffusion.latent.latent_diffusion": {"first_steps": 1, "width": 16, "text": 8},
    "papers.diffusion.latent.text_unet": {"width": 8, "text": 8},
    "papers.diffusion.latent.text_encoder": {"layers": 1, "width": 8},
    "papers.diffusion.masked_language": {"width": 12, "length": 4, "number": 10},
    "papers.flows.flow_matching": {"drawn": 50},
    "papers.diffusion.score_sde": {"evaluations": 2, "solving": 2, "number": 20},
    "papers.flows.mean_flow": {"drawn": 50},
    "papers.diffusion.guidance": {"width": 16, "number": 2, "taken": 2},
    "papers.language.bpe": {"size": 300, "layers": 1},
    "papers.language.induction_heads": {"layers": 1},
    "papers.normalization.batch_channel_norm": {"layers": 2, "width": 8, "batch": 64},
    "papers.normalization.compared": {"layers": 1, "width": 8},
    "papers.normalization.deep_norm": {"layers": 2},
    "papers.normalization.group_norm": {"layers": 2, "width": 8, "batch": 64},
    "papers.normalization.instance_norm": {"layers": 2, "width": 8, "epochs": 1},
    "papers.normalization.weight_standardization": {"layers": 2, "width": 8, "batch": 64},
    "papers.optimizers.muon": {"rates": 1, "width": 16},
    "papers.parallel.gradient_checkpointing": {"layers": 8, "width": 16},
    "papers.preference.dpo": {"pretraining": 1, "width": 8, "pairs": 64, "samples": 4},
    "papers.quantisation.int8": {"layers": 1, "width": 4, "context": 16},
    "papers.quantisation.qlora": {"pretraining": 1, "layers": 1, "width": 16},
    "papers.quantisation.gptq": {"layers": 1, "width": 32, "stretches": 4},
    "papers.recurrent.gru": {"length": 5, "width": 8},
    "papers.optimizers.noam": {"steps": 2, "warmup": 1, "factors": 2},
    "papers.recurrent.highway": {"depth": 1, "width": 8, "context": 4, "batch": 4},
    "papers.optimizers.sophia": {"rates": 1, "width": 16},
    "papers.recurrent.hyper_lstm": {"width": 8, "small": 4, "context": 4, "batch": 4},
    "papers.recurrent.lstm": {"length": 10},
    "papers.recurrent.seq2seq": {"phrases": 2, "width": 16},
    "papers.regularization.distillation": {"teacher_steps": 1, "teacher_width": 16},
    "papers.regularization.dropout": {"passes": 2, "images": 100, "width": 16},
    "papers.training.data_parallel": {"processes": 2},
    "papers.training.speed": {"width": 16, "length": 5, "words": 11, "turns": 1},
    "papers.serving.beam_search": SHORT | {"width": 16, "texts": 2},
    "papers.serving.speculative_decoding": SHORT | {"width": 16, "pieces": 2},
    "papers.transformers.attention_sinks": {"layers": 1, "length": 8},
    "papers.transformers.experts.deepseek": {"layers": 1, "experts": 1},
    "papers.transformers.experts.deepseek_v3": {"experts": 1, "width": 16},
    "papers.transformers.experts.switch": {"layers": 2, "experts": 2},
    "papers.transformers.flash_attention": {"lengths": 2},
    "papers.transformers.flash_triton": {"texts": 1, "length": 20},
    "papers.transformers.functional": {"models": 2, "examples": 4},
    "papers.transformers.gpt2": SHORT,
    "papers.transformers.hourglass": {"middle": 1, "width": 16},
    "papers.transformers.kv_cache": {"length": 32},
    "papers.transformers.latent_attention": {"layers": 1},
    "papers.transformers.linear_time.mamba": {"batch": 2, "state": 2},
    "papers.transformers.linear_time.mamba2": {"longest": 8},
    "papers.transformers.linear_time.rwkv": {"layers": 1, "width": 8},
    "papers.transformers.llama": SHORT,
    "papers.transformers.memory.knn_lm": {"layers": 1, "store": 512, "asked": 256},
    "papers.transformers.neox": SHORT | {"timed": 64},
    "papers.transformers.mixing.aft": {"layers": 1, "width": 16},
    "papers.transformers.mixing.fnet": {"layers": 1, "width": 8},
    "papers.transformers.mixing.gmlp": {"layers": 1, "width": 16},
    "papers.transformers.positions.alibi": {"layers": 1},
    "papers.transformers.positions.rope": {"layers": 1},
    "papers.transformers.positions.roper": {"layers": 1},
    "papers.transformers.positions.sinusoidal": {"layers": 1},
    "papers.transformers.sampling.nucleus": {"texts": 1},
    "papers.transformers.sampling.temperature": {"texts": 1},
    "papers.transformers.sampling.top_k": {"texts": 1},
    "papers.transformers.transformer": {"layers": 1},
    "papers.variational.sketch_rnn": {"width": 8, "bumps": 2},
    "papers.variational.vq_vae": {"prior": 1},
}


def cells(paper: str) -> list[dict[str, Any]]:
    path = paper.replace(".", "/") + ".py"
    source = decode(path, (ROOT / path).read_bytes())
    assert isinstance(source, Source)
    more = SETTINGS.install, SETTINGS.calls, SETTINGS.afterwards
    reading = read_document(source, frozenset(), True)
    made = render_notebook(path, source.module, read_cells(reading), *more)
    notebook: dict[str, Any] = json.loads(made)
    return [cell | {"source": "".join(cell["source"])} for cell in notebook["cells"]]


@pytest.mark.parametrize("paper", list(papers()))
def test_it_runs(paper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if paper.endswith("triton"):
        pytest.importorskip("triton", reason="Triton is there for Linux alone")
    monkeypatch.chdir(tmp_path)
    # Where Jupyter runs cells, and where whoever asks a class for its hints looks.
    here = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", here)
    # As in Jupyter, what one cell imports from the future holds for the next.
    compiled = codeop.Compile()
    install, *code, call, afterwards = [
        c["source"] for c in cells(paper) if c["cell_type"] == "code"
    ]
    assert install == f"%pip install -q {json.dumps(SETTINGS.install)}"
    for number, text in enumerate(code):
        exec(compiled(f"{text}\n", f"cell {number}", "exec"), here.__dict__)
    *above, call = call.split("\n")
    # Of processes, which would import another file than this one.
    exec(compiled("\n".join(above), "import", "exec"), here.__dict__)
    config = vars(here)["Config"]
    steps = {"steps": 1} if "steps" in config.__dataclass_fields__ else {}
    given = ", ".join(f"{k}={v!r}" for k, v in (steps | SMALL.get(paper, {})).items())
    assert call.endswith("(Config(), Options())")
    small = call.replace("(Config(), Options())", f"(Config({given}), Options(quiet=True))")
    numbers = eval(compiled(small, "call", "eval"), here.__dict__)
    assert numbers
    assert all(isinstance(value, float) for value in numbers.values())
    result = max(tmp_path.glob("runs/*/*/result.json"), key=lambda file: file.stat().st_mtime)
    # The last cell shows what its last line gives.
    *above, shown = afterwards.split("\n")
    exec(compiled("\n".join(above), "import", "exec"), here.__dict__)
    svg = eval(compiled(shown, "picture", "eval"), here.__dict__)._repr_svg_()
    series = json.loads(result.read_text())["series"]
    names = {name.partition("/")[0] for name in series}
    shows = "loss" if "loss" in names else next(iter(names), "")
    assert f"{result.parent.relative_to(tmp_path)}" in svg
    assert svg.count("<circle") == sum(name.partition("/")[0] == shows for name in series)
