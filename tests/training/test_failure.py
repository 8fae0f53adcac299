"""Every way to fail has a class, a code and words."""

import errno

import pytest
import torch

from gogooku3.errors import CheckpointError, ConfigError, DatasetCorruptError, DivergedError
from gogooku3.training.failure import failure_of, with_fit
from gogooku3.training.probe import Search


@pytest.mark.parametrize(
    ("error", "failure_class", "code"),
    [
        (DivergedError("NaN at step 3"), "diverged", "diverged"),
        (DatasetCorruptError(), "data", "dataset-corrupt"),
        (ConfigError("no"), "user", "invalid-config"),
        (CheckpointError("no"), "data", "checkpoint"),
        (MemoryError(), "oom", "oom"),
        (torch.OutOfMemoryError("CUDA out of memory"), "oom", "oom"),
        (OSError(errno.ENOSPC, "No space left on device"), "infra", "disk-full"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "oom", "oom"),
        (RuntimeError("CUDA error: out of memory"), "oom", "oom"),
        (RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"), "oom", "oom"),
        # Nothing bounds this process's memory, so that is not what a thread lacks.
        (RuntimeError("can't start new thread"), "infra", "internal"),
        (KeyError("x"), "infra", "internal"),
    ],
)
def test_each_error_has_its_class(error: Exception, failure_class: str, code: str) -> None:
    event = failure_of(error)
    assert (event.failure_class, event.code) == (failure_class, code)
    assert event.message


def test_what_torch_says_when_the_memory_is_gone() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert failure_of(caught.value).failure_class == "oom"


@pytest.mark.parametrize(
    ("is_whole", "words"), [(True, "no smaller batch fitted"), (False, "was not finished")]
)
def test_a_search_that_found_nothing_says_whether_it_looked_everywhere(
    is_whole: bool, words: str
) -> None:
    found = with_fit(failure_of(MemoryError()), Search(None, is_whole))
    assert words in (found.next_action or "")
    assert found.findings == ()
