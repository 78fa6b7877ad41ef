"""The model: shapes, causality, grouped heads, positions, and how weights get in."""

import dataclasses

import pytest
import torch


@pytest.fixture
def model(programs, tiny):
    model = programs.llama.Llama(tiny)
    # Ten times the usual width: the logits must differ by more than rounding.
    weights = programs.llama.initial_weights(tiny, seed=1)
    programs.llama.load_weights(model, ((name, tensor * 3) for name, tensor in weights))
    return model


@pytest.fixture
def tokens():
    return torch.randint(259, (2, 17), generator=torch.Generator().manual_seed(0))


def test_one_row_of_logits_per_token(model, tokens):
    assert model(tokens).shape == (2, 17, 259)


def test_names_and_shapes_are_those_of_hugging_face(model):
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert shapes["model.embed_tokens.weight"] == (259, 24)
    assert shapes["model.layers.1.self_attn.q_proj.weight"] == (32, 24)
    assert shapes["model.layers.1.self_attn.k_proj.weight"] == (16, 24)
    assert shapes["model.layers.0.mlp.down_proj.weight"] == (24, 40)
    assert shapes["lm_head.weight"] == (259, 24)
    assert len(shapes) == 3 + 2 * 9


def test_later_tokens_do_not_change_earlier_logits(model, tokens):
    changed = tokens.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % 259
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :9], after[:, :9])
    assert not torch.allclose(before[:, 9:], after[:, 9:])


def test_grouped_heads_equal_repeated_heads(programs, tiny, model, tokens):
    full = dataclasses.replace(tiny, num_key_value_heads=tiny.num_attention_heads)

    def repeated(name, weight):
        if "k_proj" not in name and "v_proj" not in name:
            return weight
        return weight.view(2, 8, 24).repeat_interleave(2, dim=0).reshape(32, 24)

    other = programs.llama.Llama(full)
    programs.llama.load_weights(
        other, [(name, repeated(name, weight)) for name, weight in model.named_parameters()]
    )
    torch.testing.assert_close(other(tokens), model(tokens))


def test_tied_head_is_the_embedding(programs, tiny, model, tokens):
    tied = programs.llama.Llama(dataclasses.replace(tiny, tie_word_embeddings=True))
    weights = dict(model.named_parameters())
    weights["lm_head.weight"].data.copy_(weights["model.embed_tokens.weight"])
    without_head = [item for item in weights.items() if item[0] != "lm_head.weight"]
    programs.llama.load_weights(tied, without_head)
    assert torch.equal(tied(tokens), model(tokens))


def test_rotation_depends_on_the_distance_alone(programs, tiny):
    cos, sin = programs.llama.rope_tables(tiny, 30, torch.device("cpu"))
    query, key = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))

    def score(query_at, key_at):
        turned = programs.llama.rotate(query, cos[query_at], sin[query_at])
        return turned @ programs.llama.rotate(key, cos[key_at], sin[key_at])

    torch.testing.assert_close(score(5, 2), score(29, 26), rtol=1e-4, atol=1e-5)
    assert not torch.isclose(score(5, 2), score(5, 3))


def test_llama3_scaling_slows_down_only_the_slow_waves(programs, tiny):
    scaling = programs.llama.RopeScaling(8.0, 1.0, 4.0, 256)
    wide = dataclasses.replace(tiny, head_dim=64, rope_theta=500_000.0)
    plain = programs.llama.rope_frequencies(wide, torch.device("cpu"))
    scaled = programs.llama.rope_frequencies(
        dataclasses.replace(wide, rope_scaling=scaling), torch.device("cpu")
    )
    ratio = scaled / plain
    assert ratio[0] == 1
    assert ratio[-1] == pytest.approx(1 / 8)
    assert (ratio.diff() <= 1e-6).all()
    assert ((ratio > 1 / 8 + 1e-3) & (ratio < 1 - 1e-3)).any()


def test_a_seed_gives_the_same_weights_and_another_seed_others(programs, tiny):
    first, again, other = (dict(programs.llama.initial_weights(tiny, seed)) for seed in (4, 4, 5))
    name = "model.layers.1.mlp.up_proj.weight"
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda weights: weights[:-1], "1 of the model's parameters are missing, such as lm_head"),
        (lambda weights: [*weights, weights[0]], "embed_tokens.weight is no parameter"),
        (lambda weights: [("model.odd", torch.ones(1))], "model.odd is no parameter"),
        (
            lambda weights: [("lm_head.weight", torch.ones(259, 25))],
            r"is \[259, 25\], but the config asks for \[259, 24\]",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(programs, tiny, change, complaint):
    weights = list(programs.llama.initial_weights(tiny, seed=0))
    with pytest.raises(ValueError, match=complaint):
        programs.llama.load_weights(programs.llama.Llama(tiny), change(weights))
