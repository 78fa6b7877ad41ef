"""The training program: alone, on two ranks, and started wrongly."""

import itertools
import os
import re
import shutil
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from slurmkit.train import ResumableLoader, Share

LOSS = re.compile(r"^step +(\d+)/\d+ +loss (\d+\.\d+) +[\d,]+ tokens/s +[\d.]+ ms/step$", re.M)
QUICK = ["--steps=3", "--seq-len=32", "--log-every=1"]


def losses(output):
    return [float(loss) for _, loss in LOSS.findall(output)]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def train(programs, monkeypatch, capsys, clean_env, tmp_path):
    """Run the program in this process, as its only rank; return its exit code and its output."""
    for name in os.environ.keys() - clean_env.keys():
        monkeypatch.delenv(name)
    folders = (tmp_path / f"alone-{number}" for number in itertools.count())

    def run(*args):
        if not any(arg.startswith("--checkpoints=") for arg in args):
            args = (*args, f"--checkpoints={next(folders)}")
        code = programs.train.main(programs.train.parse_args(list(args)))
        return code, capsys.readouterr()

    return run


@pytest.fixture
def train_on_two_ranks(llama_files, clean_env, tmp_path):
    """Run the program as two processes, told their places as every launcher does it."""

    folders = (tmp_path / f"two-{number}" for number in itertools.count())

    def run(*args):
        if not any(arg.startswith("--checkpoints=") for arg in args):
            args = (*args, f"--checkpoints={next(folders)}")
        env = clean_env | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        ranks = [
            subprocess.Popen(
                [sys.executable, llama_files / "train.py", *args],
                env=env | {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in ("0", "1")
        ]
        try:
            results = [rank.communicate(timeout=120) for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
        assert [rank.returncode for rank in ranks] == [0, 0], results
        return [output for output, _ in results]

    return run


def test_the_loss_falls_on_one_process(train):
    code, printed = train("--steps=25", "--seq-len=64")
    assert code == 0
    first, *_, last = losses(printed.out)
    assert 5.3 < first < 6.0  # a guess among 256 bytes costs ln 256 = 5.55
    assert last < 3.0
    assert re.search(r"^rank 0 of 1 on \S+: cpu, local rank 0, 1 threads$", printed.out, re.M)
    assert re.search(rf"^done: 25 steps in .*, loss {first:.2f} -> {last:.2f}$", printed.out, re.M)


def test_the_same_seed_gives_the_same_losses(train):
    runs = [losses(train(*QUICK, f"--seed={seed}")[1].out) for seed in (7, 7, 8)]
    assert runs[0] == runs[1] != runs[2]
    assert len(runs[0]) == 3


def test_ddp_and_fsdp_on_two_ranks_do_what_one_process_does(train, train_on_two_ranks, tmp_path):
    alone = train(*QUICK, "--batch-size=8", f"--save={tmp_path / 'alone'}")[1].out
    for strategy in ("ddp", "fsdp"):
        first, second = train_on_two_ranks(
            *QUICK, "--batch-size=4", f"--strategy={strategy}", f"--save={tmp_path / strategy}"
        )
        assert losses(first) == pytest.approx(losses(alone), abs=2e-3)
        assert "2 of 2" not in first
        assert re.fullmatch(r"rank 1 of 2 on \S+: cpu, local rank 1, 1 threads\n", second)
        saved, expected = (
            load_file(tmp_path / name / "model.safetensors") for name in (strategy, "alone")
        )
        assert saved.keys() == expected.keys()
        for name, tensor in saved.items():
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-3, msg=name)


def test_a_saved_model_goes_on_under_fsdp_in_bf16(train, train_on_two_ranks, tmp_path):
    before = losses(train("--steps=20", "--seq-len=32", f"--save={tmp_path}")[1].out)
    output, _ = train_on_two_ranks(
        "--steps=2", "--seq-len=32", "--strategy=fsdp", "--dtype=bf16", f"--model={tmp_path}"
    )
    assert "fsdp, bf16, gloo" in output
    assert losses(output)[0] == pytest.approx(before[-1], abs=0.4)


def test_a_wrong_start_is_one_line_and_exit_code_2(llama_files, clean_env):
    command = [sys.executable, llama_files / "train.py"]
    env = clean_env | {"RANK": "0"}
    done = subprocess.run(
        command, env=env, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"train\.py: RANK is set, but .*\n", done.stderr)


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["--model=no-such-folder"], "no-such-folder/config.json is missing"),
        (["--data=no-such-file"], "--data no-such-file: No such file"),
        (["--seq-len=1000000"], "tokens, fewer than --seq-len"),
        (["--seq-len=4096"], "--seq-len is over the model's 2048"),
    ],
)
def test_what_cannot_be_used_is_named(train, args, complaint):
    code, printed = train(*args)
    assert code == 2
    assert complaint in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    "args", [["--steps=0"], ["--log-every=-1"], ["--strategy=zero"], ["--lrr"]]
)
def test_wrong_options_are_usage_errors(programs, args, capsys):
    with pytest.raises(SystemExit) as caught:
        programs.train.parse_args(args)
    assert caught.value.code == 2
    assert args[0].partition("=")[0] in capsys.readouterr().err


def test_ranks_share_one_batch_however_many_they_are(programs):
    windows = programs.train.Windows(torch.arange(500), 8)
    assert len(windows) == 492

    def starts(size, batch_size):
        batches = [
            next(
                iter(
                    ResumableLoader(windows, Share(rank, size), batch_size=batch_size, shuffle=True)
                )
            )
            for rank in range(size)
        ]
        for batch in batches:
            assert torch.equal(batch[:, :-1] + 1, batch[:, 1:])
        return torch.cat([batch[:, 0] for batch in batches]).tolist()

    assert starts(1, 12) == starts(3, 4) == starts(4, 3)
    assert len(set(starts(1, 12))) == 12


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_second_start_ends_with_the_same_bits(train_on_two_ranks, clean_env, tmp_path, strategy):
    clean_env.update(SLURMKIT_CHECKPOINT_EVERY="2", SLURMKIT_CHECKPOINT_ASYNC="0")
    args = ["--steps=6", *QUICK[1:], f"--strategy={strategy}", "--digest"]

    def start():
        output, _ = train_on_two_ranks(*args, f"--checkpoints={tmp_path / 'steps'}")
        return output, re.search(r"^weights sha256 ([0-9a-f]{64})$", output, re.M)[1]

    undisturbed, expected = start()
    assert "resumed" not in undisturbed
    shutil.rmtree(tmp_path / "steps" / "step-0000000006")  # as if it had been killed before
    output, digest = start()
    assert "resumed at step 4\n" in output
    assert losses(output) == losses(undisturbed)[4:]
    assert digest == expected


@pytest.mark.parametrize("strategy", ["fsdp", "ddp"])
def test_shards_of_two_ranks_go_on_in_one_process(
    train, train_on_two_ranks, clean_env, monkeypatch, tmp_path, strategy
):
    every = {"SLURMKIT_CHECKPOINT_EVERY": "2", "SLURMKIT_CHECKPOINT_ASYNC": "0"}
    clean_env.update(every)
    for name, value in every.items():
        monkeypatch.setenv(name, value)
    args = ["--steps=4", *QUICK[1:], f"--checkpoints={tmp_path / 'steps'}"]
    sharded, _ = train_on_two_ranks(*args, "--batch-size=4", "--strategy=fsdp")
    shutil.rmtree(tmp_path / "steps" / "step-0000000004")
    code, printed = train(*args, "--batch-size=8", f"--strategy={strategy}")
    assert code == 0
    assert "resumed at step 2\n" in printed.out
    assert losses(printed.out) == pytest.approx(losses(sharded)[2:], abs=2e-3)


def test_a_model_with_a_tokenizer_needs_the_package(programs, tmp_path, monkeypatch):
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "text").write_text("a text")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(programs.train.StartError, match="needs the tokenizers package"):
        programs.train.read_tokens(tmp_path / "text", tmp_path, 32_000)


def test_without_a_tokenizer_the_bytes_are_the_tokens(programs, tmp_path):
    (tmp_path / "text").write_text("aé")
    assert programs.train.read_tokens(tmp_path / "text", None, 256).tolist() == [97, 195, 169]
    with pytest.raises(programs.train.StartError, match="vocabulary of 255 cannot hold"):
        programs.train.read_tokens(tmp_path / "text", None, 255)


@pytest.mark.parametrize("steps", [1, 2, 10, 60])
def test_the_learning_rate_rises_and_falls(programs, steps):
    factors = [programs.train.learning_rate_factor(step, steps) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == 1
    peak = factors.index(1)
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
