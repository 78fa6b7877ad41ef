"""Read and write a Hugging Face-layout folder: config.json and safetensors, whole or sharded."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from llama import Llama, LlamaConfig, RopeScaling, load_weights


class ModelFolderError(Exception):
    """The folder given as --model cannot be used; the message says which file and why."""


def read_config(folder: Path) -> LlamaConfig:
    """Return the shape of the model in the folder.

    Raises:
        ModelFolderError: no or broken config.json, or a model that llama.py cannot compute.
    """
    path = folder / "config.json"
    raw = _read_json(path)
    if raw.get("model_type") != "llama" or raw.get("hidden_act", "silu") != "silu":
        raise ModelFolderError(
            f"{path}: model_type {raw.get('model_type')!r} with hidden_act"
            f" {raw.get('hidden_act')!r} is not a Llama with silu"
        )
    try:
        heads = raw["num_attention_heads"]
        return LlamaConfig(
            vocab_size=raw["vocab_size"],
            hidden_size=raw["hidden_size"],
            intermediate_size=raw["intermediate_size"],
            num_hidden_layers=raw["num_hidden_layers"],
            num_attention_heads=heads,
            num_key_value_heads=raw.get("num_key_value_heads") or heads,
            head_dim=raw.get("head_dim") or raw["hidden_size"] // heads,
            rms_norm_eps=raw["rms_norm_eps"],
            max_position_embeddings=raw["max_position_embeddings"],
            tie_word_embeddings=raw.get("tie_word_embeddings", False),
            **_rope(raw, path),
        )
    except KeyError as error:
        raise ModelFolderError(f"{path}: the key {error} is missing") from None


def _rope(raw: dict[str, Any], path: Path) -> dict[str, Any]:
    # transformers 5 writes one section, rope_parameters; 4 wrote rope_theta beside rope_scaling.
    section = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    theta = section.get("rope_theta") or raw.get("rope_theta") or LlamaConfig.rope_theta
    kind = section.get("rope_type") or section.get("type") or "default"
    if kind == "default":
        return {"rope_theta": theta}
    if kind != "llama3":
        raise ModelFolderError(f"{path}: rope_type {kind!r} is not known; default and llama3 are")
    scaling = RopeScaling(**{key: section[key] for key in RopeScaling.__dataclass_fields__})
    return {"rope_theta": theta, "rope_scaling": scaling}


def load(model: Llama, folder: Path) -> None:
    """Fill the model, sharded or not, from the folder; every rank reads it.

    Raises:
        ModelFolderError: a file is missing or broken, or its tensors are not those of the config.
    """
    try:
        load_weights(model, read_weights(folder, model.config))
    except ValueError as error:
        raise ModelFolderError(f"{folder}: {error}") from None


def read_weights(folder: Path, config: LlamaConfig) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) for every parameter in the folder; files are mapped, not read whole.

    Raises:
        ModelFolderError: a file is missing or is not a safetensors file.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        files = sorted(set(_read_json(index).get("weight_map", {}).values()))
    else:
        files = ["model.safetensors"]
    for name in files:
        path = folder / name
        if not path.is_file():
            raise ModelFolderError(
                f"{path} is missing: --model needs safetensors, whole or sharded"
            )
        try:
            with safe_open(path, framework="pt") as tensors:
                for key in tensors.keys():  # noqa: SIM118 - not a mapping
                    if not _is_redundant(key, config):
                        yield key, tensors.get_tensor(key)
        except SafetensorError as error:
            raise ModelFolderError(f"{path} is not a safetensors file: {error}") from None


def _is_redundant(key: str, config: LlamaConfig) -> bool:
    """Old folders carry the RoPE table, and some carry the tied head a second time."""
    return key.endswith("rotary_emb.inv_freq") or (
        config.tie_word_embeddings and key == "lm_head.weight"
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFolderError(f"{path} is missing: is this a Hugging Face folder?") from None
    except (OSError, ValueError) as error:
        raise ModelFolderError(f"{path} cannot be read as JSON: {error}") from None
    return content


def save(model: Llama, folder: Path, *, write: bool) -> None:
    """Write the model so that `--model` and transformers load it.

    Every rank must call it, because gathering shards takes all of them; one has ``write`` set.
    """
    tensors = {}
    for name, parameter in model.named_parameters():
        whole = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
        if write:
            tensors[name] = whole.detach().cpu().contiguous()
    if not write:
        return
    folder.mkdir(parents=True, exist_ok=True)
    config = asdict(model.config)
    theta, scaling = config.pop("rope_theta"), config.pop("rope_scaling")
    if scaling is not None:
        config["rope_scaling"] = {"rope_type": "llama3", **scaling}
    config |= {"rope_theta": theta, "model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
