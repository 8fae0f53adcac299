"""One suggestion in a process of its own: `python -m gogooku3.search.ask`.

For samplers that import torch (a Gaussian process), which neither the server nor a worker does. A
request comes as JSON on standard input: url, name, spec, base, index; the answer goes to standard
output: index and params.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from gogooku3.config.search_space import SearchSpace
from gogooku3.config.sweep import SweepSpec
from gogooku3.search.storage import open_storage
from gogooku3.search.study import Search, Suggestion

TIMEOUT_S = 60.0


class AskError(Exception):
    """The child process did not answer."""


def ask_in_child(url: str, search: Search, index: int) -> Suggestion:
    """`search.suggest(index)`, made by a child process. Raises AskError."""
    request = {
        "url": url,
        "name": search.name,
        "spec": search.spec.model_dump(mode="json"),
        "base": search.space.base,
        "index": index,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "gogooku3.search.ask"],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=TIMEOUT_S,
            # A fit of a few hundred points gains nothing from more threads than one.
            env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise AskError(f"no suggestion within {TIMEOUT_S:g} s") from error
    if done.returncode:
        told = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise AskError(told[-1] if told else f"exit code {done.returncode}")
    answer = json.loads(done.stdout)
    return Suggestion(answer["index"], answer["params"])


def main() -> int:
    """Answer one request."""
    request: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    spec = SweepSpec.model_validate(request["spec"])
    space = SearchSpace.make(request["base"], spec.config, spec.search_space)
    search = Search(open_storage(request["url"]), request["name"], spec, space)
    found = search.suggest(int(request["index"]))
    sys.stdout.write(json.dumps({"index": found.index, "params": found.params}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
