"""A real model server for tests: llama.cpp's own HTTP server, over a tiny model with random weights made on the spot.

    with llama_server(tmp_path, slots=2) as base_url:
        ...  # http://127.0.0.1:<port>/v1

It runs in a process of its own (this file, started as a program): leaving an interpreter while its threads generate
aborts the process. It ends with the `with` block, and by itself when the process that started it is gone. It takes
about a second to start: give a module one fixture of it. The model speaks a fluent nonsense of lower-case letters,
never ends by itself and makes thousands of tokens per second; a character is a token.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MODEL = "tiny"  # the name under which the server offers its model
CONTEXT = 32_768  # tokens that prompt and reply of one slot may have together

_FORWARD, _WIDTH, _HEADS, _LAYERS = 64, 32, 2, 2
_SPACE = "\u2581"  # how llama's vocabulary writes a space
_USER, _MODEL = "<|user|>", "<|model|>"
_TEMPLATE = (
    "{% for message in messages %}"
    + "{{ '" + _MODEL + "' if message['role'] == 'assistant' else '" + _USER + "' }}{{ message['content'] }}"
    + "{% endfor %}{% if add_generation_prompt %}{{ '" + _MODEL + "' }}{% endif %}"
)  # fmt: skip


@contextmanager
def llama_server(directory: Path, slots: int = 2) -> Iterator[str]:
    """A server that answers `slots` requests at a time; yields its base URL. The model's file goes to `directory`."""
    command = [sys.executable, "-P", __file__, str(directory / "tiny.gguf"), str(slots)]
    with (
        (directory / "llama.log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            assert address, (directory / "llama.log").read_text(errors="replace")
            yield f"{address}/v1"
        finally:
            process.kill()


# --- what runs in the process of its own ------------------------------------------------------------------------------


def main(model: Path, slots: int) -> None:
    """Make the model, serve it, print the address as one line, end when stdin ends."""
    out = os.dup(1)
    os.dup2(2, 1)  # llama.cpp may print what it likes: the address stands alone
    write_model(model)
    server = serve(model, slots)
    os.write(out, f"{server.listening_address}\n".encode())
    sys.stdin.read()
    os._exit(0)


def serve(model: Path, slots: int) -> Any:
    """A running server, on any free port."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {MODEL}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = slots
    params.n_ctx = slots * CONTEXT
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.fit_params = params.warmup = False
    params.cache_ram_mib = 0
    params.endpoint_slots = True
    return xllamacpp.Server(params)


def write_model(path: Path) -> None:
    """A model of the llama architecture, some 200 KB."""
    import gguf

    words, types, mute = _vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(_LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(words)
    writer.add_token_types(types)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(_TEMPLATE)
    for name, tensor in _tensors(len(words), mute):
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _vocabulary() -> tuple[list[str], list[int], list[int]]:
    """Its words, their types, and which of them the model never says: all but letters and the space."""
    import gguf

    kinds = gguf.TokenType
    spoken = [_SPACE, *"abcdefghijklmnopqrstuvwxyz"]
    others = [chr(code) for code in range(33, 127) if chr(code) not in spoken]
    entries = [
        ("<unk>", kinds.UNKNOWN),
        ("<s>", kinds.CONTROL),
        ("</s>", kinds.CONTROL),
        *((f"<0x{byte:02X}>", kinds.BYTE) for byte in range(256)),
        (_USER, kinds.CONTROL),
        (_MODEL, kinds.CONTROL),
        *((word, kinds.NORMAL) for word in [*others, *spoken]),
    ]
    words = [word for word, _ in entries]
    return words, [int(kind) for _, kind in entries], list(range(len(words) - len(spoken)))


def _tensors(words: int, mute: list[int]) -> Iterator[tuple[str, Any]]:
    """The weights by name: random, but the same each time. The first dimension is a constant that no layer adds to;
    by it the output makes mute words improbable at any temperature."""
    import numpy

    random = numpy.random.default_rng(1)

    def weights(outputs: int, inputs: int) -> Any:
        return (random.standard_normal((outputs, inputs)) * 2 / numpy.sqrt(inputs)).astype(numpy.float32)

    def addition(inputs: int) -> Any:
        added = weights(_WIDTH, inputs)
        added[0] = 0
        return added

    embedding, output = weights(words, _WIDTH), weights(words, _WIDTH)
    embedding[:, 0] = 1
    output[:, 0] = 0
    output[mute] = 0
    output[mute, 0] = -500
    yield "token_embd.weight", embedding
    yield "output_norm.weight", numpy.ones(_WIDTH, numpy.float32)
    yield "output.weight", output
    for layer in range(_LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{name}.weight", numpy.ones(_WIDTH, numpy.float32)
        for name in ("attn_q", "attn_k", "attn_v"):
            yield f"blk.{layer}.{name}.weight", weights(_WIDTH, _WIDTH)
        yield f"blk.{layer}.attn_output.weight", addition(_WIDTH)
        yield f"blk.{layer}.ffn_gate.weight", weights(_FORWARD, _WIDTH)
        yield f"blk.{layer}.ffn_up.weight", weights(_FORWARD, _WIDTH)
        yield f"blk.{layer}.ffn_down.weight", addition(_FORWARD)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
