"""A Llama in plain PyTorch, with the parameter names of Hugging Face's layout.

The names are the contract: ``model.layers.0.self_attn.q_proj.weight`` here is the same tensor as in
a ``model.safetensors`` that others wrote, so hf.py loads and saves without a translation table.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


@dataclass(frozen=True)
class RopeScaling:
    """How Llama 3.1 and later stretch RoPE over a longer context (``rope_type: llama3``)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


@dataclass(frozen=True)
class LlamaConfig:
    """The keys of config.json that shape the model; the defaults learn on two CPU cores.

    A next size up for one GPU: hidden_size=768, intermediate_size=2048, num_hidden_layers=12,
    num_attention_heads=12, num_key_value_heads=4 - about 80 million parameters.
    """

    vocab_size: int = 256  # one token per byte: no tokenizer to download
    hidden_size: int = 128
    intermediate_size: int = 352
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 32
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    max_position_embeddings: int = 2048
    tie_word_embeddings: bool = True


class RMSNorm(nn.Module):
    """Divide by the root mean square; in float32, because sums of squares in bf16 lose digits."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return x (..., size) with unit root mean square, scaled by the weight."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


def rope_frequencies(config: LlamaConfig, device: torch.device) -> Tensor:
    """Return the angle per position of each pair of a head, (head_dim / 2,), float32."""
    exponents = torch.arange(0, config.head_dim, 2, device=device).float() / config.head_dim
    frequencies = 1.0 / config.rope_theta**exponents
    if (scaling := config.rope_scaling) is None:
        return frequencies
    # Llama 3.1: waves longer than the original context turn `factor` times slower, fast waves stay
    # as they are, and those between are blended.
    turns = scaling.original_max_position_embeddings * frequencies / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    keep = ((turns - low) / (high - low)).clamp(0, 1)
    return frequencies * keep + frequencies / scaling.factor * (1 - keep)


def rope_tables(config: LlamaConfig, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return cos and sin, each (length, head_dim), float32 whatever the model computes in.

    They are computed in every forward pass, which is cheap, and not kept as buffers: a buffer
    of a model that is built on the meta device would come out of ``to_empty`` as garbage.
    """
    positions = torch.arange(length, device=device).float()
    angles = torch.outer(positions, rope_frequencies(config, device))
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x[i], x[i + head_dim/2]) by its position's angle; x is (..., seq, head_dim).

    Hugging Face pairs the two halves of a head; Meta's own files pair neighbours. The weights of
    one are wrong for the other, so this has to be the "rotate half" convention.
    """
    first, second = x.chunk(2, dim=-1)
    half_turned = torch.cat((-second, first), dim=-1)
    return (x * cos + half_turned * sin).to(x.dtype)


class Attention(nn.Module):
    """Causal self-attention in which several query heads share one key-value head."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        query_size = config.num_attention_heads * config.head_dim
        key_size = config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, query_size, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, key_size, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, key_size, bias=False)
        self.o_proj = nn.Linear(query_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Mix x (batch, seq, hidden) over the positions up to each one's own."""

        def heads(projected: Tensor) -> Tensor:  # (batch, seq, n * d) -> (batch, n, seq, d)
            return projected.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            rotate(heads(self.q_proj(x)), cos, sin),
            rotate(heads(self.k_proj(x)), cos, sin),
            heads(self.v_proj(x)),
            is_causal=True,
            enable_gqa=True,
        )
        projected: Tensor = self.o_proj(mixed.transpose(1, 2).flatten(-2))
        return projected


class SwiGLU(nn.Module):
    """The feed-forward part: one projection gates the other."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., hidden) to the same shape, position by position."""
        output: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return output


class DecoderLayer(nn.Module):
    """One block, with the norms before the parts; FSDP shards the model block by block."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = SwiGLU(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Add attention and feed-forward to x (batch, seq, hidden)."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        output: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return output


class Decoder(nn.Module):
    """Embedding, blocks and final norm: what Hugging Face's names call ``model``."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Llama(nn.Module):
    """The language model; its parameters are uninitialised until `load_weights` fills them."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits (batch, seq, vocab) of the token after each of tokens (batch, seq)."""
        x = self.model.embed_tokens(tokens)
        cos, sin = rope_tables(self.config, tokens.shape[1], tokens.device)
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        x = self.model.norm(x)
        # Tied: use the embedding itself; a second name for one parameter is lost in to_empty.
        tied = self.config.tie_word_embeddings
        return F.linear(x, self.model.embed_tokens.weight if tied else self.lm_head.weight)


def initial_weights(config: LlamaConfig, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Yield a fresh start, tensor by tensor: the same for a seed whatever the number of ranks."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in Llama(config).named_parameters()}
    for name, shape in shapes.items():
        if len(shape) == 1:  # the scale of a norm
            yield name, torch.ones(shape)
            continue
        # Narrower for wider models, so that sums over hidden_size keep their scale; narrower again
        # for what adds to the residual stream, or the stream would grow with the depth.
        std = math.sqrt(0.4 / config.hidden_size)
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            std /= math.sqrt(2 * config.num_hidden_layers)
        yield name, torch.empty(shape).normal_(std=std, generator=generator)


@torch.no_grad()
def load_weights(model: Llama, weights: Iterable[tuple[str, Tensor]]) -> None:
    """Fill every parameter of the model, sharded or not, from (name, whole tensor) pairs.

    One whole tensor is in memory at a time and each rank keeps its own shard of it, so a model
    that fits on no single device can be loaded.

    Raises:
        ValueError: a tensor is missing, unknown or of another shape than the model's.
    """
    missing = dict(model.named_parameters())
    for name, tensor in weights:
        if name not in missing:
            raise ValueError(f"{name} is no parameter of this model, or came twice")
        parameter = missing.pop(name)
        if parameter.shape != tensor.shape:
            raise ValueError(
                f"{name} is {list(tensor.shape)}, but the config asks for {list(parameter.shape)}"
            )
        parameter.copy_(_shard_like(parameter, tensor))
    if missing:
        names = ", ".join(sorted(missing)[:3])
        raise ValueError(f"{len(missing)} of the model's parameters are missing, such as {names}")


def _shard_like(parameter: Tensor, whole: Tensor) -> Tensor:
    if not isinstance(parameter, DTensor):
        return whole
    # src_data_rank=None: every rank has the whole tensor already, so nothing need be sent.
    return distribute_tensor(
        whole.to(parameter.device), parameter.device_mesh, parameter.placements, src_data_rank=None
    )
