"""The Transformer against torch's layers, and the claims of sections 3 and 5."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError
from papers.common.data import grid
from papers.tools.shapes import check_shapes
from papers.transformers import transformer
from papers.transformers.attention import MultiHeadAttention, causal_mask, padding_mask
from papers.transformers.transformer import (
    BASE,
    BIG,
    END,
    PAD,
    START,
    VOCABULARY,
    WORDS,
    Config,
    DecoderLayer,
    EncoderLayer,
    FeedForward,
    Residual,
    Transformer,
    alignment,
    corpus,
    evaluate,
    greedy,
    learning_rate,
    sinusoids,
    smoothed_loss,
    task,
    train,
)
from tests.transformers.plain import watch

pytestmark = pytest.mark.usefixtures("seeded")

B, H, T, S, C, V = 2, 3, 5, 7, 12, 23
M = 4 * C
TINY = Config(layers=2, heads=H, width=C, dropout=0.0, length=6, batch=4, steps=3)
LENGTHS = torch.tensor([S, S - 3])

either_norm = pytest.mark.parametrize("pre_norm", [False, True], ids=["post-norm", "pre-norm"])


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def quiet(folder: Path, data: str = "") -> Options:
    return Options(device="cpu", out=folder, quiet=True, data=data)


# Parity


def attention(bias: bool = True) -> MultiHeadAttention:
    return MultiHeadAttention(C, H, bias)


def pairs_of(ours: EncoderLayer | DecoderLayer) -> dict[str, list[nn.Parameter]]:
    """Torch's names of an encoder or decoder layer, and the parameters of ours they hold."""
    decoder = isinstance(ours, DecoderLayer)
    attentions = {"self_attn": ours.attention} | ({"multihead_attn": ours.cross} if decoder else {})
    norms = [ours.around_attention, *([ours.around_cross] if decoder else [])]
    linears = {"linear1": ours.feed_forward.up, "linear2": ours.feed_forward.down}
    norms.append(ours.around_feed_forward)
    linears |= {f"norm{i}": around.norm for i, around in enumerate(norms, start=1)}
    found = {}
    for kind in ("weight", "bias"):
        for name, part in attentions.items():
            packed = (part.query, part.key, part.value)
            found[f"{name}.in_proj_{kind}"] = [getattr(each, kind) for each in packed]
            found[f"{name}.out_proj.{kind}"] = [getattr(part.out, kind)]
        for name, linear in linears.items():
            found[f"{name}.{kind}"] = [getattr(linear, kind)]
    return found


def share_weights(ours: EncoderLayer | DecoderLayer, theirs: nn.Module) -> None:
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
        parameters = dict(theirs.named_parameters())
        assert parameters.keys() == pairs_of(ours).keys()
        for name, parts in pairs_of(ours).items():
            parameters[name].copy_(torch.cat(parts))


def assert_same_gradients(ours: EncoderLayer | DecoderLayer, theirs: nn.Module) -> None:
    for name, parts in pairs_of(ours).items():
        ours_grad = torch.cat([part.grad for part in parts])
        theirs_grad = theirs.get_parameter(name).grad
        torch.testing.assert_close(ours_grad, theirs_grad, rtol=1e-9, atol=1e-9)


@either_norm
@pytest.mark.parametrize("masked", [False, True])
def test_encoder_layer_is_torchs(pre_norm: bool, masked: bool) -> None:
    ours = EncoderLayer(C, attention(), FeedForward(C, M), 0.0, pre_norm).double()
    theirs = nn.TransformerEncoderLayer(
        C, H, M, dropout=0.0, batch_first=True, norm_first=pre_norm, dtype=torch.float64
    )
    share_weights(ours, theirs)
    ours_x, theirs_x = (x := randn(B, S, C)), x.detach().clone().requires_grad_()
    mask = padding_mask(LENGTHS, S) & causal_mask(S) if masked else None
    blocked = {
        "src_mask": ~causal_mask(S),
        "src_key_padding_mask": ~padding_mask(LENGTHS, S)[:, 0, 0],
    }
    ours_y = ours(ours_x, mask)
    theirs_y = theirs(theirs_x, **(blocked if masked else {}))
    torch.testing.assert_close(ours_y, theirs_y, rtol=1e-10, atol=1e-10)
    toward = torch.randn_like(ours_y)
    (ours_y * toward).sum().backward()
    (theirs_y * toward).sum().backward()
    torch.testing.assert_close(ours_x.grad, theirs_x.grad, rtol=1e-9, atol=1e-9)
    assert_same_gradients(ours, theirs)


@either_norm
@pytest.mark.parametrize("masked", [False, True])
def test_decoder_layer_is_torchs(pre_norm: bool, masked: bool) -> None:
    ours = DecoderLayer(C, attention(), attention(), FeedForward(C, M), 0.0, pre_norm).double()
    theirs = nn.TransformerDecoderLayer(
        C, H, M, dropout=0.0, batch_first=True, norm_first=pre_norm, dtype=torch.float64
    )
    share_weights(ours, theirs)
    y, memory = randn(B, T, C), randn(B, S, C)
    ours_masks = (causal_mask(T), padding_mask(LENGTHS, S)) if masked else (None, None)
    blocked = {
        "tgt_mask": ~causal_mask(T),
        "memory_key_padding_mask": ~padding_mask(LENGTHS, S)[:, 0, 0],
    }
    ours_out = ours(y, memory, *ours_masks)
    theirs_out = theirs(y, memory, **(blocked if masked else {}))
    torch.testing.assert_close(ours_out, theirs_out, rtol=1e-10, atol=1e-10)
    toward = torch.randn_like(ours_out)
    ours_grads = torch.autograd.grad((ours_out * toward).sum(), (y, memory), retain_graph=True)
    theirs_grads = torch.autograd.grad((theirs_out * toward).sum(), (y, memory), retain_graph=True)
    torch.testing.assert_close(ours_grads, theirs_grads, rtol=1e-9, atol=1e-9)
    (ours_out * toward).sum().backward()
    (theirs_out * toward).sum().backward()
    assert_same_gradients(ours, theirs)


@either_norm
def test_the_whole_is_its_parts_as_torch_stacks_them(pre_norm: bool) -> None:
    """What stands before, between and after the layers; only pre-norm has a last norm."""
    model = Transformer(replace(TINY, pre_norm=pre_norm), V).double()
    source = torch.tensor([[3, 4, 5, 6], [7, 8, PAD, PAD]])
    target = torch.tensor([[START, 9, 10], [START, 11, 12]])
    options = {"dropout": 0.0, "batch_first": True, "norm_first": pre_norm}
    encoder_layer = nn.TransformerEncoderLayer(C, H, M, **options)
    decoder_layer = nn.TransformerDecoderLayer(C, H, M, **options)
    norms = [nn.LayerNorm(C) if pre_norm else None for _ in range(2)]
    encoder = nn.TransformerEncoder(encoder_layer, 2, norms[0], enable_nested_tensor=False).double()
    decoder = nn.TransformerDecoder(decoder_layer, 2, norms[1]).double()
    with torch.no_grad():
        for ours_stack, theirs_stack in ((model.encoder, encoder), (model.decoder, decoder)):
            for ours_layer, theirs_layer in zip(ours_stack, theirs_stack.layers, strict=True):
                for name, parts in pairs_of(replaced_biases(ours_layer)).items():
                    theirs_layer.get_parameter(name).copy_(torch.cat(parts))
    scaled = model.embedding.weight * math.sqrt(C)
    places = sinusoids(10, C, torch.float64)
    memory = encoder(scaled[source] + places[:4], src_key_padding_mask=source == PAD)
    out = decoder(
        scaled[target] + places[:3],
        memory,
        tgt_mask=~causal_mask(3),
        memory_key_padding_mask=source == PAD,
    )
    ours, theirs = model(source, target), out @ model.embedding.weight.T
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def replaced_biases(layer: nn.Module) -> nn.Module:
    """The paper's attention has no bias; torch's has, here of zero."""
    for part in layer.modules():
        if isinstance(part, MultiHeadAttention):
            for linear in (part.query, part.key, part.value, part.out):
                linear.bias = nn.Parameter(torch.zeros(C, dtype=torch.float64))
    return layer


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_smoothed_loss_is_torchs(smoothing: float) -> None:
    logits, target = randn(B, T, V), torch.randint(0, V, (B, T))
    target[1, -2:] = PAD
    ours = smoothed_loss(logits, target, smoothing)
    theirs = F.cross_entropy(
        logits.flatten(0, 1), target.flatten(), ignore_index=PAD, label_smoothing=smoothing
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    ours_grad, theirs_grad = (torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs))
    torch.testing.assert_close(ours_grad, theirs_grad, rtol=1e-12, atol=1e-12)


# Claims


def rotation(k: float, width: int) -> Tensor:
    turn = torch.zeros(width, width, dtype=torch.float64)
    for i in range(width // 2):
        angle = k * 10_000 ** (-2 * i / width)
        cos, sin = math.cos(angle), math.sin(angle)
        block = torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64)
        turn[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = block
    return turn


def test_sinusoids_are_the_papers() -> None:
    places = sinusoids(50, C, torch.float64)
    for p in (0, 1, 17, 49):
        for i in range(C // 2):
            angle = p / 10_000 ** (2 * i / C)
            assert places[p, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-12)
            assert places[p, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-12)


@pytest.mark.parametrize("k", [1, 5, 40])
def test_going_on_is_a_rotation_and_going_backwards_a_reflection(k: int) -> None:
    places, turn = sinusoids(100, 64, torch.float64), rotation(k, 64)
    torch.testing.assert_close(places[k:], places[:-k] @ turn.T, rtol=0, atol=1e-12)
    torch.testing.assert_close(turn @ turn.T, torch.eye(64).double(), rtol=0, atol=1e-12)
    # What the task needs: place n - p from place p, for every p at once. PE(-p) turns sines.
    mirror = torch.diag(torch.tensor([-1.0, 1.0]).repeat(32)).double()
    backwards = places[: k + 1].flip(0)
    torch.testing.assert_close(backwards, places[: k + 1] @ (turn @ mirror).T, rtol=0, atol=1e-12)


def test_without_positions_the_source_is_a_bag(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Transformer(TINY, V).double()
    source, target = torch.randint(WORDS, V, (B, S)), torch.randint(WORDS, V, (B, T))
    shuffled = source[:, torch.randperm(S)]
    assert (model(source, target) - model(shuffled, target)).abs().max() > 1e-3
    monkeypatch.setattr(transformer, "sinusoids", lambda T, C, *rest: torch.zeros(T, C))
    torch.testing.assert_close(model(source, target), model(shuffled, target))


@either_norm
def test_no_position_sees_what_it_predicts_and_none_sees_filling(pre_norm: bool) -> None:
    model = Transformer(replace(TINY, pre_norm=pre_norm), V).double()
    source, target = torch.randint(WORDS, V, (1, S)), torch.randint(WORDS, V, (1, T))
    before = model(source, target)
    changed = target.clone()
    changed[0, 3] = WORDS + (changed[0, 3] - WORDS + 1) % (V - WORDS)
    after = model(source, changed)
    torch.testing.assert_close(after[:, :3], before[:, :3])
    assert (after[:, 3:] - before[:, 3:]).abs().amax(-1).min() > 1e-6
    padded = F.pad(source, (0, 4), value=PAD)
    torch.testing.assert_close(model(padded, target), before)


def test_embeddings_are_shared_and_as_loud_as_positions() -> None:
    model = Transformer(replace(TINY, width=96), V)
    with torch.no_grad():
        loud = (model.embedding.weight * math.sqrt(96)).var().item()
    assert loud == pytest.approx(1, abs=0.1)
    tokens = torch.tensor([[3, 4]])
    embedded = model.embedding.weight[tokens] * math.sqrt(96) + sinusoids(2, 96)
    torch.testing.assert_close(model.eval().embed(tokens), embedded)
    assert sinusoids(200, 96).square().mean().item() == pytest.approx(0.5, abs=1e-3)
    model(torch.tensor([[3, 4]]), torch.tensor([[START, 5]]))[0, 1, 7].backward()
    moved = model.embedding.weight.grad.abs().sum(1).nonzero().flatten().tolist()
    assert moved == [START, 3, 4, 5, 7]


@either_norm
def test_dropout_falls_on_what_a_sublayer_adds_and_on_embeddings(pre_norm: bool) -> None:
    """Section 5.4. With a share of one nothing is left of them."""
    around, x = Residual(C, 1.0, pre_norm), torch.randn(B, T, C)
    left = x if pre_norm else F.layer_norm(x, (C,))
    torch.testing.assert_close(around(x, FeedForward(C, M)), left)
    model = Transformer(replace(TINY, dropout=1.0, pre_norm=pre_norm), V)
    tokens = torch.randint(WORDS, V, (B, S))
    assert model.embed(tokens).abs().max() == 0
    assert (model.eval().embed(tokens).abs() > 0.01).float().mean() > 0.9


def test_schedule_is_equation_3() -> None:
    for step in (1, 7, 3999, 4000, 4001, 100_000):
        exact = 512**-0.5 * min(step**-0.5, step * 4000**-1.5)
        assert learning_rate(step, 512, 4000) == pytest.approx(exact, rel=1e-12)
    rates = [learning_rate(step, 512, 400) for step in range(1, 2001)]
    assert max(rates) == rates[399] == pytest.approx((512 * 400) ** -0.5, rel=1e-12)


def test_least_smoothed_loss_is_the_entropy_of_the_target() -> None:
    wanted = torch.full((V,), 0.1 / V, dtype=torch.float64)
    wanted[4] += 0.9
    entropy = -(wanted * wanted.log()).sum()
    logits = wanted.log()[None, None].requires_grad_()
    loss = smoothed_loss(logits, torch.tensor([[4]]), 0.1)
    torch.testing.assert_close(loss, entropy)
    assert torch.autograd.grad(loss, logits)[0].abs().max() < 1e-12
    # Without smoothing the loss falls on, however sure the model is.
    sharper = (3 * logits).detach()
    assert smoothed_loss(sharper, torch.tensor([[4]]), 0.1) > loss
    hard = [smoothed_loss(x, torch.tensor([[4]]), 0.0) for x in (logits, sharper)]
    assert hard[1] < hard[0]


# Where libraries differ


def test_a_norm_after_a_post_norm_stack_changes_nothing_at_first() -> None:
    tokens = torch.randint(WORDS, V, (B, S))
    for pre_norm in (False, True):
        model = Transformer(replace(TINY, pre_norm=pre_norm), V)
        model.encoder_norm = nn.Identity()
        y, _ = model.encode(tokens)
        moved = (F.layer_norm(y, (C,)) - y).abs().max()
        assert moved > 0.1 if pre_norm else moved < 1e-4


def test_biases_of_attention_are_all_that_torchs_layer_has_more() -> None:
    ours = EncoderLayer(C, attention(bias=False), FeedForward(C, M))
    theirs = nn.TransformerEncoderLayer(C, H, M)
    sizes = [sum(p.numel() for p in layer.parameters()) for layer in (ours, theirs)]
    assert sizes[1] - sizes[0] == 4 * C


def test_torch_drops_in_two_more_places() -> None:
    """With nothing dropped from what is added, ours is a function, and theirs still is not."""
    ours = EncoderLayer(C, attention(), FeedForward(C, M), 0.5)
    theirs = nn.TransformerEncoderLayer(C, H, M, dropout=0.5, batch_first=True)
    for part in (ours.around_attention, ours.around_feed_forward):
        part.dropout.p = 0.0
    theirs.dropout1.p = theirs.dropout2.p = 0.0
    x = torch.randn(B, S, C)
    assert torch.equal(ours(x), ours(x))
    # One of the two places at a time.
    for inside, of_weights in ((0.5, 0.0), (0.0, 0.5)):
        theirs.dropout.p, theirs.self_attn.dropout = inside, of_weights
        assert (theirs(x) - theirs(x)).abs().max() > 0.01


def test_torchs_queries_start_smaller() -> None:
    """Xavier's bound is that of (C, C) in ours, and of (3 C, C) in theirs."""
    width = 48
    ours = Transformer(replace(TINY, width=width), V)
    theirs = nn.Transformer(width, 4, 1, 1, M, batch_first=True).encoder.layers[0].self_attn
    queries = [layer.attention.query.weight.abs().max().item() for layer in ours.encoder]
    assert max(queries) == pytest.approx((6 / (2 * width)) ** 0.5, rel=0.01)
    ratio = max(queries) / theirs.in_proj_weight.abs().max().item()
    assert ratio == pytest.approx(2**0.5, rel=0.01)
    assert ours.embedding.weight.std().item() == pytest.approx(width**-0.5, rel=0.1)


def test_the_waves_of_tensor2tensor_are_slightly_longer() -> None:
    """Its exponents go from 0 to 1, ours from 0 to nearly 1."""
    n = 256
    speeds = 10_000 ** (-torch.arange(n, dtype=torch.float64) / (n - 1))
    angles = torch.arange(50, dtype=torch.float64)[:, None] * speeds
    theirs = torch.cat([angles.sin(), angles.cos()], dim=1)
    ours = sinusoids(50, 2 * n, torch.float64)
    ours = torch.cat([ours[:, ::2], ours[:, 1::2]], dim=1)
    # At position 1 a small angle is its sine.
    ratios = ours[1, :n].asin() / theirs[1, :n].asin()
    assert ratios[0].item() == pytest.approx(1)
    assert ratios.max().item() == ratios[-1].item() == pytest.approx(1.037, abs=0.001)
    assert (ours - theirs).abs().max() > 0.05


def test_smoothing_all_but_the_right_token_is_smoothing_a_little_more() -> None:
    logits, target, smoothing = 9 * randn(1, T, V), torch.randint(1, V, (1, T)), 0.1
    log_p = logits.log_softmax(-1)
    right = log_p.gather(-1, target[..., None])[..., 0]
    others = (log_p.sum(-1) - right) / (V - 1)
    theirs = -((1 - smoothing) * right + smoothing * others).mean()
    torch.testing.assert_close(smoothed_loss(logits, target, smoothing * V / (V - 1)), theirs)
    assert (smoothed_loss(logits, target, smoothing) - theirs).abs() > 1e-3


def gradients(layers: int, pre_norm: bool) -> tuple[float, float]:
    """Norms at the feed-forward networks of the first and last layer that writes, untrained."""
    config = Config(layers=layers, heads=4, width=32, dropout=0.0, pre_norm=pre_norm)
    norms = []
    for seed in range(4):
        torch.manual_seed(seed)
        model = Transformer(config, 40)
        source, target = torch.randint(WORDS, 40, (8, 10)), torch.randint(WORDS, 40, (8, 11))
        smoothed_loss(model(source, target[:, :-1]), target[:, 1:], 0.0).backward()
        ends = [model.decoder[end].feed_forward.down.weight.grad.norm() for end in (0, -1)]
        norms.append(torch.stack(ends))
    first, last = torch.stack(norms).mean(0).tolist()
    return first, last


def test_gradients_fall_with_depth_as_the_page_says() -> None:
    """Xiong 2020: theorem 1 for the last layer, section 3.3 for the first."""
    (_, post_shallow), (post_first, post_last) = (gradients(L, False) for L in (2, 12))
    (_, pre_shallow), (pre_first, pre_last) = (gradients(L, True) for L in (2, 12))
    assert 0.7 < post_last / post_shallow < 1.7
    assert pre_last / pre_shallow == pytest.approx(math.sqrt(2 / 12), abs=0.1)
    # Under post-norm hardly anything arrives at the bottom.
    assert post_first < 0.1 * post_last
    assert pre_first > pre_last


def test_greedy_writes_what_one_pass_finds_likeliest() -> None:
    model = Transformer(TINY, V).double()
    source = torch.randint(WORDS, V, (40, 6))
    written = greedy(model, source, 9)
    going = ~(written == END).any(1)
    assert going.sum() > 20
    shifted = F.pad(written, (1, 0), value=START)[:, :-1]
    assert torch.equal(written[going], model(source, shifted).argmax(-1)[going])


def test_greedy_does_not_read_filling() -> None:
    model = Transformer(TINY, V).double()
    source = torch.randint(WORDS, V, (40, 6))
    padded = F.pad(source, (0, 5), value=PAD)
    assert torch.equal(greedy(model, padded, 9), greedy(model, source, 9))


def test_the_picture_shows_where_the_last_layer_looks() -> None:
    model = Transformer(TINY, V).double()
    source, target = torch.randint(WORDS, V, (2, S)), torch.randint(WORDS, V, (2, T))
    memory, mask = model.encode(source)
    y, seen = model.embed(target), causal_mask(T)
    last = model.decoder[1]
    y = last.around_attention(
        model.decoder[0](y, memory, seen, mask), lambda y: last.attention(y, mask=seen)
    )
    expected = last.cross.weights(y, memory, mask)[0]
    torch.testing.assert_close(alignment(model, source, target), expected)


@pytest.mark.training
def test_each_source_is_shown_beside_what_is_written_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def perfect(model: Transformer, source: Tensor, length: int) -> Tensor:
        return F.pad(source.flip(1), (0, 1), value=END)

    shown: dict[str, str | Tensor] = {}
    monkeypatch.setattr(transformer, "greedy", perfect)
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    assert train(replace(TINY, steps=1), quiet(tmp_path))["exact"] == 1
    pairs = [line.split(" → ") for line in str(shown["translations"]).splitlines()]
    assert len({read for read, _ in pairs}) == 3
    assert all(wrote == read[::-1] for read, wrote in pairs)


def test_greedy_writes_nothing_after_the_end() -> None:
    script = torch.tensor([[5, 6, END, 7, 7], [END, START, 4, 4, 4], [3, 3, 3, 3, 3]])

    class Scripted(Transformer):
        def decode(self, y: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
            return F.one_hot(script[:, : y.shape[1]], V).double()

    written = greedy(Scripted(TINY, V), torch.full((3, 4), 5), 5)
    assert written.tolist() == [[5, 6, END, PAD, PAD], [END, *[PAD] * 4], [3] * 5]


# Size


def size(config: Config, vocabulary: int) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in Transformer(config, vocabulary).parameters())


def test_sizes_are_what_the_page_says() -> None:
    assert size(BASE, VOCABULARY) == 63_045_632
    assert size(BIG, VOCABULARY) == 214_171_648
    for config in (BASE, BIG):
        d, ff = config.width, 4 * config.width
        encoder, decoder = 4 * d * d + 2 * d * ff + ff + 5 * d, 8 * d * d + 2 * d * ff + ff + 7 * d
        assert size(config, 0) == 6 * (encoder + decoder)
    assert size(BASE, 0) == 44_101_632
    assert size(BIG, 0) == 176_283_648


def test_one_vocabulary_makes_every_size_of_table_3_but_the_last() -> None:
    """Rows base, B and C, in millions."""

    def million(layers: int = 6, d: int = 512, ff: int = 2048, narrow: int = 64) -> int:
        ours = size(replace(BASE, layers=layers, width=d), 41_100)
        # Where a row has another inner width than four times its width, or, in rows B, fewer
        # features of queries and keys in each of eight heads.
        ours += 2 * layers * (ff - 4 * d) * (2 * d + 1)
        ours -= 3 * layers * 2 * d * (64 - narrow) * 8
        return round(ours / 1e6)

    assert million() == 65
    assert [million(narrow=d_k) for d_k in (16, 32)] == [58, 60]
    assert [million(layers=N) for N in (2, 4, 8)] == [36, 50, 80]
    assert [million(d=d) for d in (256, 1024)] == [28, 168]
    assert [million(ff=ff) for ff in (1024, 4096)] == [53, 90]
    assert size(BASE, 41_100) == 65_144_832
    assert round(size(BIG, 41_100) / 1e6) == 218
    assert round(size(BIG, 35_900) / 1e6) == 213
    # And no vocabulary fits both.
    assert size(BASE, 35_900) < 62.6e6


def test_defaults_of_the_full_sizes_are_the_papers() -> None:
    assert (BASE.layers, BASE.heads, BASE.dropout, BASE.smoothing, BASE.warmup) == (
        *(6, 8, 0.1),
        *(0.1, 4000),
    )
    assert (BIG.heads, BIG.dropout, BIG.steps, BIG.pre_norm) == (16, 0.3, 300_000, False)
    # Section 5.2: a step takes 0.4 and 1.0 seconds. Section 6.1: five and twenty checkpoints,
    # ten minutes apart.
    assert BASE.interval == 600 / 0.4
    assert 5 * BIG.interval == 20 * 600 / 1.0


# Task and training


def test_targets_are_the_source_backwards_or_in_order() -> None:
    for name in ("reverse", "sort"):
        source, target, tokenizer = task(name, 50, 9)
        assert (target[:, 0] == START).all()
        assert (target[:, -1] == END).all()
        for x, y in zip(source.tolist(), target[:, 1:-1].tolist(), strict=True):
            assert y == (x[::-1] if name == "reverse" else sorted(x))
        assert source.min() == WORDS
        assert source.max() == WORDS + len(tokenizer) - 1
    with pytest.raises(UserError, match="choose reverse, sort or multi30k"):
        corpus("wmt14", TINY)


def test_a_width_without_pairs_is_a_users_error() -> None:
    with pytest.raises(UserError, match="width 9 is odd"):
        sinusoids(3, 9)


def test_measures_measure(tmp_path: Path) -> None:
    """A model that is right in all but one letter. What it says after the end does not count."""
    source, target, _ = task("reverse", 4, 5)
    target = F.pad(target, (0, 3), value=PAD)

    class Perfect(Transformer):
        def decode(self, y: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
            logits = F.one_hot(target[:, 1:][:, : y.shape[1]], V).float() * 100
            logits[2, 1:2] = logits[2, 1:2].roll(1, dims=-1)
            logits[:, 6:] = logits[:, 6:].roll(5, dims=-1)
            return logits

    numbers = evaluate(Run(TINY, quiet(tmp_path)), Perfect(TINY, V), source, target)
    assert numbers["exact"] == 0.75
    assert numbers["tokens"] == pytest.approx(1 - 1 / 24)
    assert numbers["test_loss"] == pytest.approx(100 / 24)


def test_measures_of_many_are_those_of_all_at_once(tmp_path: Path) -> None:
    """More sequences than fit one batch, of which the last is not full."""
    source, target, _ = task("reverse", 130, 5)
    model = Transformer(TINY, V)
    with torch.no_grad():
        # A model that leaves the first letter to chance is right about it now and then.
        written, logits = greedy(model, source, 6), model(source, target[:, :-1])
    numbers = evaluate(Run(TINY, quiet(tmp_path)), model, source, target)
    right = (written == target[:, 1:]).float().mean()
    assert 0 < right < 1
    assert numbers["tokens"] == pytest.approx(right.item())
    loss = smoothed_loss(logits, target[:, 1:], 0.0)
    assert numbers["test_loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_training_and_its_shapes(tmp_path: Path) -> None:
    config = replace(TINY, width=18)
    with check_shapes("papers/transformers/transformer.py", C=18, H=3, M=72):
        train(config, quiet(tmp_path))
        model = Transformer(replace(config, pre_norm=True), V)
        source, target = torch.randint(WORDS, V, (2, 7)), torch.randint(WORDS, V, (2, 5))
        evaluate(Run(config, quiet(tmp_path)), model, source, target)
        alignment(model, source, target)
        sinusoids(5, 18)
    assert (tmp_path / "heads.png").exists()


@pytest.mark.training
def test_translation_trains_on_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sentences = [("ein Hund läuft", "a dog runs"), ("zwei Hunde", "two dogs here now")] * 20
    monkeypatch.setattr(transformer, "multi30k", lambda split: sentences)
    monkeypatch.setattr(transformer, "HELD_OUT", 4)
    source, target, tokenizer = corpus("multi30k", TINY)
    assert len(source) == len(target) == 44
    english = target[1]
    assert english[0] == START
    words = english[(english >= WORDS)] - WORDS
    assert tokenizer.decode(words) == "two dogs here now"
    assert english[len(words) + 1] == END
    assert (source[0] == PAD).any() or (source[1] == PAD).any()
    numbers = train(
        replace(TINY, width=24, steps=60, warmup=30, batch=8), quiet(tmp_path, "multi30k")
    )
    assert numbers["test_loss"] < 0.5 * math.log(len(tokenizer))


@pytest.mark.training
@pytest.mark.parametrize("ramp", [True, False])
def test_training_is_this_loop(ramp: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same steps written plainly, with the constants of sections 5.3 and 5.4."""
    config = replace(TINY, smoothing=0.3, warmup=3, ramp=ramp, steps=5, interval=2)
    watched = watch(monkeypatch)
    numbers = train(config, quiet(tmp_path))
    (optimizer,) = watched.optimizers
    assert isinstance(optimizer, torch.optim.Adam)
    defaults = optimizer.defaults
    assert (defaults["betas"], defaults["eps"]) == ((0.9, 0.98), 1e-9)
    assert defaults["weight_decay"] == 0
    assert watched.clips == {None}
    peak = (C * 3) ** -0.5
    rise = [peak / 3, peak * 2 / 3, peak] if ramp else [peak] * 3
    assert watched.rates == pytest.approx([*rise, (C * 4) ** -0.5, (C * 5) ** -0.5])

    run = Run(config, quiet(tmp_path / "plain"))
    source, target, tokenizer = corpus("", config)
    pairs = run.batches(source[:-500], target[:-500], size=4)
    model = Transformer(config, 23)
    mean = [torch.zeros_like(p) for p in model.parameters()]
    plain = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), eps=1e-9)
    for step, rate in enumerate(watched.rates):
        x, y = pairs[step]
        logits = model(x, y[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), y[:, 1:].flatten(), label_smoothing=0.3)
        plain.param_groups[0]["lr"] = rate
        plain.zero_grad()
        loss.backward()
        plain.step()
        if step in (0, 2, 4):
            for total, p in zip(mean, model.parameters(), strict=True):
                total += p.detach() / 3
    for ours, theirs in zip(optimizer.param_groups[0]["params"], mean, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-4)

    with torch.no_grad():
        for p, total in zip(model.parameters(), mean, strict=True):
            p.copy_(total)
    x, y = source[-500:], target[-500:]
    expected = evaluate(run, model, x, y)
    assert numbers["test_loss"] == pytest.approx(expected["test_loss"], abs=1e-3)
    lines = str(watched.shown["translations"]).splitlines()
    read = [tokenizer.decode(row - WORDS) for row in x[:3]]
    wrote = [
        tokenizer.decode(row[row >= WORDS] - WORDS) for row in greedy(model, x[:3], y.shape[1])
    ]
    assert lines == [f"{a} → {b}" for a, b in zip(read, wrote, strict=True)]
    maps = F.interpolate(alignment(model, x[:1], y[:1])[:, None], scale_factor=8)
    expected_picture = grid(maps, columns=config.heads)
    torch.testing.assert_close(watched.shown["heads"], expected_picture, rtol=0, atol=1e-3)


@pytest.mark.training
@pytest.mark.parametrize(("steps", "averaged"), [(14, [5, 7, 9, 11, 13]), (4, [1, 3])])
def test_what_is_measured_is_the_mean_of_the_last_five_checkpoints(
    steps: int, averaged: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    measured: list[Tensor] = []

    def update(run: Run, optimizer: torch.optim.Optimizer, clip: float | None = None) -> None:
        optimizer.step()
        seen.append(nn.utils.parameters_to_vector(optimizer.param_groups[0]["params"]).detach())

    def look(run: Run, model: Transformer, *rest: Tensor) -> dict[str, float]:
        assert not model.training
        measured.append(nn.utils.parameters_to_vector(model.parameters()).detach())
        return {}

    monkeypatch.setattr(Run, "update", update)
    monkeypatch.setattr(transformer, "evaluate", look)
    train(replace(TINY, warmup=1, steps=steps, interval=2), quiet(tmp_path))
    assert len(seen) == steps
    mean = torch.stack([seen[i] for i in averaged]).mean(0)
    torch.testing.assert_close(measured[0], mean)
    assert (mean - seen[-1]).abs().max() > 1e-3


@pytest.mark.slow
@pytest.mark.training
def test_only_deep_post_norm_needs_the_warm_up(tmp_path: Path) -> None:
    """The page's runs in small: a dozen seconds, since it takes depth to fail and time to learn.

    Over three seeds the losses were 1.8 to 2.0, 2.8 to 2.9, 0.4 to 1.4 and 0.1 to 0.2.
    """
    config = Config(layers=4, width=32, dropout=0.0, length=4, warmup=200, batch=16, steps=250)
    runs = {
        "warm-up": config,
        "none": replace(config, ramp=False),
        "none, pre-norm": replace(config, ramp=False, pre_norm=True),
        "none, one layer": replace(config, ramp=False, layers=1),
    }
    found = {name: train(each, quiet(tmp_path)) for name, each in runs.items()}
    losses = {name: numbers["test_loss"] for name, numbers in found.items()}
    assert losses["warm-up"] < losses["none"] - 0.4
    assert losses["none, pre-norm"] < losses["none"] - 0.7
    assert losses["none, one layer"] < losses["none"] - 1.5
    assert found["none, one layer"]["exact"] > 0.6
