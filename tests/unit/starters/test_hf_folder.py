"""Hugging Face-layout folders: whole and sharded, of several ages, and broken ones."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file


@pytest.fixture
def folder(programs, tiny, tmp_path):
    """A folder as `--save` writes it, from known weights."""
    model = programs.llama.Llama(tiny)
    programs.llama.load_weights(model, programs.llama.initial_weights(tiny, seed=3))
    programs.hf.save(model, tmp_path / "model", write=True)
    return tmp_path / "model"


def change_config(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def shard(folder):
    """Split the weights over two files with an index, as large models come."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map = {
        name: f"model-0000{1 + number % 2}-of-00002.safetensors"
        for number, name in enumerate(tensors)
    }
    for file in set(weight_map.values()):
        part = {name: tensors[name] for name, home in weight_map.items() if home == file}
        save_file(part, folder / file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def load(programs, folder):
    model = programs.llama.Llama(programs.hf.read_config(folder))
    programs.hf.load(model, folder)
    return model


def assert_holds_seed_3(programs, model):
    expected = dict(programs.llama.initial_weights(model.config, seed=3))
    assert model.state_dict().keys() == expected.keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("tied", [False, True])
def test_what_is_saved_is_loaded(programs, tiny, tmp_path, tied):
    config = dataclasses.replace(
        tiny,
        tie_word_embeddings=tied,
        rope_theta=500_000.0,
        rope_scaling=programs.llama.RopeScaling(32.0, 1.0, 4.0, 8192),
    )
    model = programs.llama.Llama(config)
    programs.llama.load_weights(model, programs.llama.initial_weights(config, seed=3))
    programs.hf.save(model, tmp_path, write=True)
    loaded = load(programs, tmp_path)
    assert loaded.config == config
    assert_holds_seed_3(programs, loaded)


def test_sharded_weights_are_loaded(programs, folder):
    shard(folder)
    assert_holds_seed_3(programs, load(programs, folder))


def test_weights_in_bf16_are_loaded_as_fp32(programs, folder):
    path = folder / "model.safetensors"
    save_file({name: tensor.bfloat16() for name, tensor in load_file(path).items()}, path)
    weight = load(programs, folder).lm_head.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, weight.bfloat16().float())


def test_tensors_that_repeat_what_is_known_are_ignored(programs, tiny, folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    save_file(tensors, path)
    change_config(folder, tie_word_embeddings=True)
    assert_holds_seed_3(programs, load(programs, folder))


def test_missing_keys_have_the_defaults_of_old_models(programs, folder):
    change_config(folder, head_dim=None, num_key_value_heads=None, rope_theta=None)
    config = programs.hf.read_config(folder)
    assert (config.head_dim, config.num_key_value_heads) == (6, 4)
    assert config.rope_theta == 10_000.0


def test_rope_is_read_where_transformers_5_writes_it(programs, folder):
    section = {"rope_type": "default", "rope_theta": 50_000.0}
    change_config(folder, rope_theta=None, rope_parameters=section)
    assert programs.hf.read_config(folder).rope_theta == 50_000.0


def break_config(folder):
    (folder / "config.json").write_text("{")


def break_weights(folder):
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")


def lose_shard(folder):
    shard(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
        (break_config, "config.json cannot be read as JSON"),
        (lambda folder: change_config(folder, hidden_size=None), "'hidden_size' is missing"),
        (lambda folder: change_config(folder, model_type="gpt2"), "'gpt2'.* is not a Llama"),
        (lambda folder: change_config(folder, hidden_act="gelu"), "'gelu' is not a Llama"),
        (
            lambda folder: change_config(folder, rope_scaling={"type": "yarn", "factor": 2.0}),
            "rope_type 'yarn' is not known",
        ),
        (
            lambda folder: change_config(folder, rope_scaling={"rope_type": "llama3"}),
            "config.json: the key 'factor' is missing",
        ),
        (lambda folder: change_config(folder, num_hidden_layers=3), "9 of the model's parameters"),
        (lambda folder: change_config(folder, num_hidden_layers=1), "layers.1.* is no parameter"),
        (lambda folder: change_config(folder, vocab_size=300), r"is \[259, 24\], but .* \[300"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing"),
        (break_weights, "model.safetensors is not a safetensors file"),
        (lose_shard, "model-00002-of-00002.safetensors is missing"),
    ],
)
def test_a_broken_folder_is_named_with_what_is_wrong(programs, folder, spoil, complaint):
    spoil(folder)
    with pytest.raises(programs.hf.ModelFolderError, match=complaint) as caught:
        load(programs, folder)
    assert str(folder) in str(caught.value)
