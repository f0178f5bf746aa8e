"""The process of llama.cpp: reads a job from standard input, prints the answers. Imports nothing that takes long."""

from __future__ import annotations

import json
import sys
from typing import Any
from urllib.request import Request, urlopen

import xllamacpp


def main() -> None:
    """Answer the prompts at every strength of the adapter, by the requests that llama-server takes."""
    job = json.load(sys.stdin)
    parameters, adapter = xllamacpp.CommonParams(), xllamacpp.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = job["lora"], 1.0
    parameters.model.path, parameters.lora_adapters = job["base"], [adapter]
    parameters.n_ctx, parameters.n_parallel, parameters.warmup, parameters.verbosity = 512, 1, False, 0
    parameters.cpuparams.n_threads = 1
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    server = xllamacpp.Server(parameters)
    address = server.listening_address
    print(json.dumps([[_answer(address, job, prompt, scale) for prompt in job["prompts"]] for scale in job["scales"]]))


def _answer(address: str, job: dict[str, Any], prompt: list[int], scale: float) -> list[int]:
    request = {
        "prompt": prompt,
        "n_predict": job["length"],
        "temperature": 0,
        "return_tokens": True,
        "cache_prompt": False,
        "lora": [{"id": 0, "scale": scale}],
    }
    body = json.dumps(request).encode()
    with urlopen(Request(f"{address}/completion", body, {"Content-Type": "application/json"})) as reply:
        return list(json.load(reply)["tokens"])


if __name__ == "__main__":
    main()
