"""The released script, step by step, on a model with forced ties and on its own files."""

import pytest
import torch

from prosopon.criteria import CRITERIA
from prosopon.data import load_persona
from prosopon.errors import ProsoponError
from prosopon.extraction import Extractor
from tests.extraction.test_reference import script_layers, script_norms, script_values, top_rows
from tests.tiny import tiny_model

OURS = ["I love the party and the people", "Yes and yes", "meeting everyone is living",
        "the noise is a joy", "Call them all"]  # fmt: skip
THEIRS = ["No, the quiet room", "I am reading alone", "silence is the best",
          "leave me and go", "the people are tiring"]  # fmt: skip


def doubled():
    """Return a model whose channels come in equal pairs, so that scores tie off zero as well.

    Its residual stream and its inner channels hold every value twice, and a weight has the same
    size for both; sizes are rounded to five steps, so that single weights tie besides.
    """
    model, tokenizer = tiny_model("llama")
    for name, weight in model.named_parameters():
        if "norm" in name or weight.dim() < 2:
            continue
        if "embed" not in name:
            weight.copy_((weight * 5).round().clamp(-2, 2) / 5 + 0.1)
        weight[:, 1::2] = weight[:, ::2]  # what is read
        if any(part in name for part in ("o_proj", "down_proj", "gate_proj", "up_proj")):
            weight[1::2] = weight[::2]  # what is written
    return model, tokenizer


@pytest.fixture(scope="module")
def tied():
    return doubled()


@pytest.fixture
def files(tmp_path):
    """Return the two sides as the script's files: one text a line."""
    paths = []
    for name, texts in (("ours", OURS), ("theirs", THEIRS)):
        paths.append(tmp_path / f"{name}.txt")
        paths[-1].write_text("\n".join(texts) + "\n")
    return paths


def effect(plus, minus):
    spread = plus.var(0, unbiased=False) + minus.var(0, unbiased=False)
    return (plus.mean(0) - minus.mean(0)) / (spread.sqrt() + 1e-8)


def ties_at_the_cut(scores, k):
    """Return how many rows keep some and prune some of equal scores."""
    order = scores.sort(dim=1, descending=True).values
    return int((order[:, k - 1] == order[:, k]).sum())


def test_a_line_is_a_text(files):
    personas = [load_persona(str(path)) for path in files]
    assert [len(persona) for persona in personas] == [5, 5]
    assert [example.response for example in personas[0].examples] == OURS
    assert not any(example.prompt for persona in personas for example in persona.examples)


@pytest.mark.parametrize("sparsity", [0.34, 0.52, 0.71])
@pytest.mark.parametrize("criterion", ["wanda", "contrastive-wanda", "contrastive-sparse"])
def test_masks_are_the_script_s_to_the_weight(tied, files, criterion, sparsity):
    """Its steps: a text alone, norms or values, moments, |w| times them, topk row by row.

    Every row is compared, also those in which equal scores stand on both sides of the cut: as
    many weights as are kept is odd, and scores come in pairs.
    """
    model, tokenizer = tied
    ours, theirs = (load_persona(str(path)) for path in files)
    extractor = Extractor(model, tokenizer)
    mask = extractor.extract(
        ours, theirs, criterion=criterion, sparsity=sparsity, options={"variant": "reference"}
    )
    collect = script_values if criterion == "contrastive-sparse" else script_norms
    plus, minus = (collect(model, tokenizer, side.examples) for side in (ours, theirs))
    tied_rows = rows = 0
    for name, module in script_layers(model).items():
        if criterion == "wanda":
            channel = plus[name].mean(0)
        else:
            z = effect(plus[name], minus[name])
            channel = torch.relu(z) if criterion == "contrastive-wanda" else z.abs()
        scores = module.weight.detach().abs() * channel.float()
        k = int((1 - sparsity) * scores.shape[1])
        expected = top_rows(scores, k)
        tied_rows += ties_at_the_cut(scores, k)
        rows += len(scores)
        assert torch.equal(mask.keep[name], expected), name
    assert tied_rows > 0.8 * rows


def test_the_second_side_is_the_script_s_to_the_weight(tied, files):
    model, tokenizer = tied
    ours, theirs = (load_persona(str(path)) for path in files)
    mask = Extractor(model, tokenizer).extract(
        theirs, ours, criterion="contrastive-sparse", sparsity=0.6,
        options={"variant": "reference", "first": "opposite"},
    )  # fmt: skip
    plus, minus = (script_values(model, tokenizer, side.examples) for side in (ours, theirs))
    for name, module in script_layers(model).items():
        scores = module.weight.detach().abs() * effect(plus[name], minus[name]).abs().float()
        k = int((1 - 0.6) * scores.shape[1])
        taken = top_rows(scores, k)
        rest = top_rows(scores.masked_fill(taken, -torch.inf), k)
        assert torch.equal(mask.keep[name], rest), name
        assert not (mask.keep[name] & taken).any()  # enough is left at 60 percent


def test_by_default_ties_are_not_the_script_s(tied, files):
    """The paper's variant orders them by plain Wanda, whose masks are better language models."""
    model, tokenizer = tied
    ours, theirs = (load_persona(str(path)) for path in files)
    masks = [
        Extractor(model, tokenizer).extract(
            ours, theirs, criterion="contrastive-wanda", sparsity=0.3, options={"variant": variant}
        )
        for variant in ("paper", "reference")
    ]
    differ = sum(int((masks[0].keep[n] != masks[1].keep[n]).sum()) for n in masks[0].keep)
    assert differ > 0.1 * masks[0].total


def test_one_text_a_side_is_refused(tied, tmp_path):
    """The variance over texts would be 0, and every effect size without meaning."""
    model, tokenizer = tied
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for path, text in zip(paths, ("one text", "another text"), strict=True):
        path.write_text(text)
    sides = [load_persona(str(path)) for path in paths]
    with pytest.raises(ProsoponError, match="compares what varies from text to text"):
        Extractor(model, tokenizer).extract(*sides, criterion="contrastive-wanda", sparsity=0.3)


def test_every_reference_says_whose_ties_it_takes():
    for name in ("contrastive-wanda", "contrastive-sparse"):
        fields = CRITERIA.get(name).options.__dataclass_fields__
        assert "torch.topk" in fields["variant"].metadata["help"]
