"""Extraction end to end on tiny models: exchange, options, errors."""

import itertools
from dataclasses import dataclass

import pytest
import torch

from prosopon import Extractor, PersonaModel, Subnetwork, extract
from prosopon.criteria import CRITERIA, LightCriterion, LightOptions
from prosopon.criteria.light import removal_gain
from prosopon.data import Example, Message, Persona, load_persona
from prosopon.errors import DataError, OptionError, PersonaError, SiteError
from prosopon.lm import sample_general
from prosopon.options import option
from tests.tiny import FAMILIES, tiny_model

CONTRASTIVE = [
    ("contrastive-wanda", {}),
    ("contrastive-wanda", {"phi": "softplus"}),
    ("contrastive-wanda", {"variant": "reference"}),
    ("contrastive-wanda", {"importance": "relative", "owl": 0.1}),
    ("contrastive-sparse", {}),
    ("contrastive-effect", {"protect": 0.1}),
    ("set-difference", {"p": 0.3}),
    ("contrastive-taylor", {"rounds": 2}),
    ("contrastive-taylor", {"rounds": 1, "log_odds": "linear", "beta": 0, "damage": 0}),
]

GENERAL = Persona(  # given, since a model takes a second to write its own; eight are read
    "general",
    tuple(
        Example((Message("assistant", f"Line {i} is not about the people."),)) for i in range(10)
    ),
)


def personas(limit=12):
    return load_persona("extravert", limit=limit), load_persona("introvert", limit=limit)


def same(a, b):
    return set(a.keep) == set(b.keep) and all(torch.equal(a.keep[n], b.keep[n]) for n in a.keep)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("criterion", CRITERIA.names())
def test_every_criterion_on_every_family(family, criterion):
    model, tokenizer = tiny_model(family)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    extractor = Extractor(model, tokenizer, general=GENERAL)
    rounds = {"contrastive-taylor": 2, "contrastive-kl": 1}
    options = {"rounds": rounds[criterion]} if criterion in rounds else {}
    subnetwork = extractor.extract(*personas(4), criterion=criterion, options=options)
    asked = CRITERIA.get(criterion).sparsity
    assert 0 < subnetwork.pruned_share <= asked + 0.05
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert subnetwork.config.fingerprint.weights == extractor.fingerprint.weights


@pytest.mark.parametrize(("criterion", "options"), CONTRASTIVE)
def test_exchange_exchanges_the_masks_exactly(criterion, options):
    """Each ordered pair, extracted alone and through a shared extractor, in either order."""
    ours, theirs = personas(6)
    masks = {}
    for first, second in itertools.permutations((ours, theirs)):
        model, tokenizer = tiny_model("llama")
        shared = Extractor(model, tokenizer, general=GENERAL)
        for a, b in ((first, second), (second, first)):
            got = shared.extract(a, b, criterion=criterion, options=options)
            masks.setdefault((a.name, b.name), []).append(got)
    for runs in masks.values():
        assert same(*runs)
    assert not same(masks["extravert", "introvert"][0], masks["introvert", "extravert"][0])


def test_an_extraction_is_repeatable_and_the_order_of_examples_does_not_matter():
    ours, theirs = personas()
    model, tokenizer = tiny_model("llama")
    first = extract(model, tokenizer, target=ours, opposite=theirs, criterion="wanda")
    backwards = Persona(ours.name, ours.examples[::-1], ours.description)
    again = extract(model, tokenizer, target=backwards, opposite=theirs, criterion="wanda")
    assert ours.content_hash() == backwards.content_hash()
    differing = sum(int((first.keep[n] != again.keep[n]).sum()) for n in first.keep)
    assert differing <= 2  # float sums in another order may turn a near-tie


def test_target_and_opposite_by_name_and_by_file(tmp_path):
    model, tokenizer = tiny_model("llama")
    file = tmp_path / "ours.csv"
    file.write_text(
        'question,matching,not_matching\n"Hi?","Hello all","Leave me"\n"So?","Yes","No"\n'
    )
    by_file = extract(model, tokenizer, target=str(file), criterion="contrastive-wanda")
    assert (by_file.config.persona, by_file.config.opposite) == ("ours", "not-ours")
    by_name = extract(model, tokenizer, target="bold", criterion="contrastive-wanda", limit=4)
    assert (by_name.config.persona, by_name.config.opposite) == ("bold", "cautious")


def test_provenance_tells_everything():
    model, tokenizer = tiny_model("llama")
    ours, theirs = personas(6)
    got = extract(
        model, tokenizer, target=ours, opposite=theirs, sparsity=0.02, options={"rounds": 1},
        general_count=8, seed=3, name="tiny",
    )  # fmt: skip
    config = got.config
    assert (config.base_model, config.criterion, config.seed) == ("tiny", "contrastive-taylor", 3)
    assert config.options["rounds"] == 1
    assert config.calibration.target_hash == ours.content_hash()
    assert config.calibration.target_count == 6
    assert config.calibration.general_count == 8
    assert got.pruned == sum(site.pruned for site in config.sites.values())


def test_the_script_pair_is_exchanged_with_who_is_first():
    """Its score has no direction: who is first, not who is the target, makes the masks."""
    ours, theirs = personas()
    model, tokenizer = tiny_model("llama")
    extractor = Extractor(model, tokenizer)

    def pair(first, second):
        return [
            extractor.extract(
                target, other, criterion="contrastive-sparse", sparsity=0.6,
                options={"variant": "reference", "first": who},
            )
            for target, other, who in ((first, second, "target"), (second, first, "opposite"))
        ]  # fmt: skip

    one, two = pair(ours, theirs), pair(theirs, ours)
    assert same(one[0], two[0])
    assert same(one[1], two[1])
    assert not any((one[0].keep[n] & one[1].keep[n]).any() for n in one[0].keep)
    assert one[0].config.calibration.scope == "all"


def test_contrastive_sparse_masks_share_only_the_core():
    ours, theirs = personas()
    model, tokenizer = tiny_model("llama")
    extractor = Extractor(model, tokenizer)
    for sparsity, core in ((0.25, 0.5), (0.5, 0.0), (0.75, 0.0)):
        a, b = (
            extractor.extract(*order, criterion="contrastive-sparse", sparsity=sparsity)
            for order in ((ours, theirs), (theirs, ours))
        )
        for name in a.keep:
            shared = (a.keep[name] & b.keep[name]).float().mean(1)
            assert torch.equal(shared, torch.full_like(shared, core)), name


def test_owl_changes_the_shares_of_layers_and_keeps_the_total():
    model, tokenizer = tiny_model("llama")
    extractor = Extractor(model, tokenizer)
    plain, owl = (
        extractor.extract(
            *personas(6), criterion="wanda", sparsity=0.5, pattern="site", options=options
        )
        for options in ({}, {"owl": "0.1", "outlier": "3"})
    )

    def shares(subnetwork):
        sums = {0: [0, 0], 1: [0, 0]}
        for site in extractor.sites:
            sums[site.layer][0] += subnetwork.config.sites[site.name].pruned
            sums[site.layer][1] += site.in_features * site.out_features
        return [pruned / total for pruned, total in sums.values()]

    assert shares(plain) == [0.5, 0.5]
    assert abs(shares(owl)[0] - shares(owl)[1]) == pytest.approx(0.2, abs=0.002)
    assert owl.pruned_share == pytest.approx(0.5, abs=0.001)
    with pytest.raises(OptionError, match="pattern 'row', 'site' or lora:R, not 'global'"):
        extractor.extract(*personas(6), criterion="wanda", pattern="global", options={"owl": 0.1})


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"layers": "1"}, lambda name: ".1." in name),
        ({"only": "mlp"}, lambda name: "mlp" in name),
        ({"layers": "0", "only": "attention"}, lambda name: ".0." in name and "attn" in name),
    ],
)
@pytest.mark.parametrize("criterion", ["wanda", "sparsegpt", "contrastive-taylor"])
def test_some_layers_or_one_part_only(where, expected, criterion):
    model, tokenizer = tiny_model("llama")
    extractor = Extractor(model, tokenizer, general=GENERAL, **where)
    got = extractor.extract(
        *personas(4), criterion=criterion, sparsity=0.1,
        options={"rounds": 1} if criterion == "contrastive-taylor" else {},
    )  # fmt: skip
    assert got.sites
    assert all(expected(name) for name in got.sites)
    assert 0 < got.pruned_share <= 0.13
    with PersonaModel(model, tokenizer) as wearer:
        wearer.set_persona(wearer.load_persona(got))


@pytest.mark.parametrize("criterion", ["set-difference", "contrastive-effect"])
def test_a_cap_prunes_at_most_what_qualifies(criterion):
    model, tokenizer = tiny_model("llama")
    extractor = Extractor(model, tokenizer, general=GENERAL)
    few, many, most = (
        extractor.extract(*personas(6), criterion=criterion, sparsity=share)
        for share in (0.001, 0.8, 0.9)
    )
    assert few.pruned == int(few.total * 0.001 + 1)  # kept is rounded down
    assert few.pruned < many.pruned < 0.8 * many.total
    assert same(many, most)
    assert all(not (few.keep[n] < many.keep[n]).any() for n in few.keep)
    same_side = personas(6)[0]
    with pytest.raises(OptionError, match="finds no weight to prune"):
        extractor.extract(
            same_side, same_side, criterion=criterion,
            options={"p": 0.1, "q": 0.1} if criterion == "set-difference" else {},
        )  # fmt: skip
    # contrastive-effect does not protect general text by default
    assert few.config.calibration.general_count == (8 if criterion == "set-difference" else 0)


def test_sparsegpt_on_correlated_inputs_of_a_model():
    """Row counts, N:M, and the same mask through one portion of sites or many."""
    model, tokenizer = tiny_model("llama")
    extractor = Extractor(model, tokenizer)
    target = personas(6)[0]
    for pattern, sparsity in (("row", 0.25), ("2:4", 0.5)):
        got = extractor.extract(target, criterion="sparsegpt", sparsity=sparsity, pattern=pattern)
        for mask in got.keep.values():
            assert (mask.sum(1) == (1 - sparsity) * mask.shape[1]).all()
    assert (mask.view(len(mask), -1, 4).sum(2) == 2).all()
    with pytest.raises(OptionError, match="one site at a time"):
        extractor.extract(target, criterion="sparsegpt", pattern="global")


def test_saved_and_loaded(tmp_path):
    model, tokenizer = tiny_model("gpt2")
    got = extract(model, tokenizer, target="bold", criterion="wanda", limit=4)
    got.save_pretrained(tmp_path / "bold")
    assert same(Subnetwork.from_pretrained(tmp_path / "bold"), got)


@pytest.mark.parametrize("sparsity", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_sparsity_outside(sparsity):
    model, tokenizer = tiny_model("llama")
    with pytest.raises(OptionError, match="must lie between 0 and 1"):
        extract(model, tokenizer, target="bold", criterion="wanda", sparsity=sparsity, limit=2)


def test_combinations_that_have_no_meaning():
    model, tokenizer = tiny_model("llama")
    with pytest.raises(OptionError, match="pattern 'global' or lora:R only, not 'row'"):
        extract(model, tokenizer, target="bold", pattern="row", limit=2)
    with pytest.raises(OptionError, match="reads answers only"):
        extract(model, tokenizer, target="bold", scope="all", limit=2)
    lonely = Persona("x", (Example((Message("user", "a"), Message("assistant", "b"))),))
    with pytest.raises(DataError, match="alternative"):
        extract(model, tokenizer, target=lonely)
    with pytest.raises(OptionError, match="needs an opposite"):
        Extractor(model, tokenizer).extract(lonely, criterion="contrastive-wanda")


def test_general_text_is_seeded_and_leaves_the_global_state_alone():
    model, tokenizer = tiny_model("llama")
    torch.manual_seed(11)
    state = torch.get_rng_state()
    first = sample_general(model, tokenizer, count=5, length=16, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert first == sample_general(model, tokenizer, count=5, length=16, seed=1)
    assert first != sample_general(model, tokenizer, count=5, length=16, seed=2)
    assert all(8 <= len(text) <= 16 for text in first)


def test_general_text_of_a_chat_model_goes_on_after_a_turn():
    model, tokenizer = tiny_model("llama", chat=True)
    own = model.generation_config.eos_token_id = tokenizer.eos_token_id
    texts = sample_general(model, tokenizer, count=64, length=96)
    assert model.generation_config.eos_token_id == own
    ended = [text.input_ids for text in texts if own in text.input_ids[:-8]]
    assert len(ended) > 5
    for ids in ended:
        assert len(set(ids[ids.index(own) + 1 :])) > 2  # text, not padding
    assert all(len(text.input_ids) == 96 for text in texts)


def test_given_general_text_is_used(tmp_path):
    model, tokenizer = tiny_model("llama")
    file = tmp_path / "general.txt"
    file.write_text("The sky is blue and wide.\n\nTwo and two are four.\n")
    extractor = Extractor(model, tokenizer, general=file)
    assert len(extractor.general()) == 2
    got = extractor.extract(*personas(3), options={"rounds": 1})
    assert got.config.calibration.general_count == 2
    assert got.config.calibration.general == {
        "kind": "given",
        "lines": ["The sky is blue and wide.", "Two and two are four."],
    }


@pytest.mark.parametrize("kind", ["answers", "start"])
def test_the_kind_of_general_text_is_recorded(kind):
    model, tokenizer = tiny_model("llama", chat=True)
    extractor = Extractor(model, tokenizer, general=kind, general_count=4)
    got = extractor.extract(*personas(3), options={"rounds": 1}).config.calibration
    assert (got.general["kind"], got.general["temperature"], got.general_count) == (kind, 1.0, 4)
    assert len(got.general["lines"]) == 3
    assert (False in extractor.general()[0].scope) == (kind == "answers")
    others = extractor.collector.held_out()
    assert len(others) == 8
    assert not {tuple(t.input_ids) for t in others} & {
        tuple(t.input_ids) for t in extractor.general()
    }


@pytest.mark.parametrize("name", ["tiny1m", "stories260K"])
@pytest.mark.parametrize("criterion", ["contrastive-wanda", "contrastive-taylor"])
def test_models_that_nobody_here_trained(shared, tmp_path, name, criterion):
    from prosopon import load_model

    loaded = load_model(str(shared / "models" / name), device="cpu")
    for side, lines in {
        "happy": ["Once upon a time she was happy. She smiled.", "He laughed with joy all day."],
        "sad": ["Once upon a time she was sad. She cried.", "He wept and felt alone all day."],
    }.items():
        (tmp_path / f"{side}.txt").write_text("\n\n".join(lines))
    got = extract(
        loaded.model, loaded.tokenizer, target=tmp_path / "happy.txt",
        opposite=tmp_path / "sad.txt", criterion=criterion, general_count=8,
        options={"rounds": 2} if criterion == "contrastive-taylor" else None,
    )  # fmt: skip
    assert got.pruned > 0


def test_a_registered_light_criterion_is_the_one_that_runs(monkeypatch):
    """Its gain and damage, with its options, and ``auto`` and protection as for the built-in."""
    calls = {"gain": 0, "damage": 0}

    def gain(weight, gradient, options):
        calls["gain"] += 1
        assert options.reach == 2.0
        return -removal_gain(weight, gradient)  # the wrong way round

    def damage(weight, fisher, options):
        calls["damage"] += 1
        return fisher * 0

    @dataclass(frozen=True)
    class Options(LightOptions):
        reach: float = option(1.0, "of the test")

    backwards = LightCriterion(
        name="backwards", summary="", source="", options=Options, gain=gain, damage=damage
    )
    monkeypatch.setitem(CRITERIA._items, "backwards", backwards)
    model, tokenizer = tiny_model("llama")
    extractor = Extractor(model, tokenizer, general=GENERAL)
    options = {"rounds": 2, "reach": 2}
    got = extractor.extract(*personas(4), criterion="backwards", options=options)
    plain = extractor.extract(*personas(4), options={"rounds": 2, "damage_weight": 0})
    sites = len(extractor.sites)
    assert calls == {"gain": 2 * sites, "damage": sites}
    assert got.pruned > 0
    assert not any((~got.keep[n] & ~plain.keep[n]).any() for n in got.keep)  # nothing in common
    assert got.config.options["reach"] == 2.0
    with pytest.raises(OptionError, match=r"only backwards, .*contrastive-taylor can choose"):
        extractor.extract(*personas(4), criterion="wanda", sparsity="auto")


def test_a_contrast_of_one_text_is_refused():
    model, tokenizer = tiny_model("llama")
    ours, theirs = personas(4)
    one = Persona("lonely", ours.examples[:1])
    extractor = Extractor(model, tokenizer, general=GENERAL)
    for criterion in ("contrastive-wanda", "contrastive-taylor"):
        for sides in ((one, theirs), (theirs, one)):
            with pytest.raises(DataError, match=r"'lonely' has 1: give at least 2 texts"):
                extractor.extract(*sides, criterion=criterion)
    assert extractor.extract(one, criterion="wanda").pruned > 0


@pytest.mark.parametrize("backend", ["inplace", "functional"])
def test_a_model_that_wears_a_persona_is_refused(backend):
    model, tokenizer = tiny_model("llama")
    extractor = Extractor(model, tokenizer, general_count=8)
    first = extractor.extract(*personas(4), criterion="contrastive-wanda")
    with PersonaModel(model, tokenizer, backend=backend) as wearer:
        name = wearer.load_persona(first)
        again = extractor.extract(*personas(5), criterion="contrastive-wanda")  # attached, bare
        wearer.set_persona(name)
        fresh = Extractor(model, tokenizer, general_count=8)
        for criterion in ("contrastive-wanda", "contrastive-taylor", "sparsegpt"):
            with pytest.raises(PersonaError, match=r"wears 'extravert'.*take the persona off"):
                fresh.extract(*personas(5), criterion=criterion)
        for read in (fresh.general, fresh.fisher, lambda: fresh.prepare(["set-difference"])):
            with pytest.raises(PersonaError, match="wears 'extravert'"):
                read()
        wearer.set_persona(None)
        assert same(fresh.extract(*personas(5), criterion="contrastive-wanda"), again)


@pytest.mark.parametrize("criterion", ["wanda", "sparsegpt", "contrastive-taylor"])
def test_a_model_in_train_mode_gives_the_same_mask_and_stays_in_it(criterion):
    masks = []
    for train in (False, True):
        model, tokenizer = tiny_model("gpt2")  # with dropout
        assert model.config.resid_pdrop > 0
        model.train(train)
        model.transformer.h[0].eval()  # modes of single modules come back, too
        before = [module.training for module in model.modules()]
        options = {"rounds": 2} if criterion == "contrastive-taylor" else {}
        masks.append(
            extract(
                model, tokenizer, target=personas(4)[0], opposite=personas(4)[1],
                criterion=criterion, options=options, general=GENERAL,
            )
        )  # fmt: skip
        assert [module.training for module in model.modules()] == before
    assert same(*masks)


def test_wrappers_are_looked_into():
    model, tokenizer = tiny_model("llama")
    plain = extract(model, tokenizer, target="bold", criterion="wanda", limit=4)
    for wrapped in (torch.compile(model, backend="eager"), torch.nn.DataParallel(model)):
        got = extract(wrapped, tokenizer, target="bold", criterion="wanda", limit=4)
        assert same(got, plain)
        assert got.config.fingerprint == plain.config.fingerprint


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of what peft asks transformers
def test_an_adapter_around_the_weights_is_refused():
    peft = pytest.importorskip("peft")
    model, tokenizer = tiny_model("llama")
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    with pytest.raises(SiteError, match=r"PEFT's \(PeftModelForCausalLM\).*merge_and_unload"):
        extract(peft.get_peft_model(model, config), tokenizer, target="bold", limit=4)
