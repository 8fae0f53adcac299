"""JobSpec: what a client posts to `/v1/jobs`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from gogooku3.config.base import ConfigModel
from gogooku3.config.loss import OF_SEVERAL_DAYS
from gogooku3.config.model import BY_GRADIENT
from gogooku3.config.train import TrainConfig

DatasetName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", strip_whitespace=True)
]
LabelKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
LabelValue = Annotated[str, StringConstraints(max_length=256)]
Priority = Annotated[int, Field(ge=-1000, le=1000)]
Note = Annotated[str, StringConstraints(max_length=10_000)]
MAX_LABELS = 64


class ResourcesConfig(ConfigModel):
    """What the job asks of the worker."""

    gpus: int | None = Field(default=None, ge=0, le=16)
    """GPUs of one worker, one slot each, that the job has to itself, each training on its share of
    every step's days; where no worker has any, it trains on the CPU and says so in a warning.
    0 = the CPU; null = a GPU if a worker has one and the model is trained in steps, else the CPU,
    without a warning."""
    cpu_threads: int = Field(default=2, ge=1, le=256)
    """Threads of every arithmetic library in the trainer, set before it starts."""


class LimitsConfig(ConfigModel):
    """When the server gives up on the job."""

    max_attempts: int = Field(default=3, ge=1, le=100)
    """Runs the job may use up when its worker or trainer is lost."""
    memory_mb: int | None = Field(default=None, ge=256, le=16_777_216)
    """MiB of memory that a trainer's process may hold beside the mapped dataset, which all share;
    null = no limit. A run that needs more fails as `oom`, and is told which batch would fit."""
    timeout_s: int | None = Field(default=None, ge=1, le=30 * 86_400)
    """Wall-clock limit of one attempt; null = none."""


class JobSpec(ConfigModel):
    """A training job as a client asks for it."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    """What people call the job; free text."""
    dataset: DatasetName
    """Name of a dataset: a cache under the server's home, made by `gogooku3 data`."""
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, max_length=MAX_LABELS)
    """Key-value pairs to find and group jobs by."""
    priority: Priority = 0
    """Higher runs earlier; equal priorities run in order of submission."""
    note: Note | None = None
    """Free text for people."""
    config: TrainConfig
    resources: ResourcesConfig = ResourcesConfig()
    limits: LimitsConfig = LimitsConfig()

    @model_validator(mode="after")
    def _asks_for_no_gpu_in_vain(self) -> Self:
        if self.resources.gpus is None and not isinstance(self.config.model, BY_GRADIENT):
            self.__dict__["resources"] = self.resources.model_copy(update={"gpus": 0})
        return self

    @model_validator(mode="after")
    def _has_days_for_its_gpus(self) -> Self:
        if (fault := gpu_fault(self.resources, self.config)) is not None:
            raise fault
        return self

    def with_config(self, config: TrainConfig) -> Self:
        """The same job with another training configuration."""
        return self.model_copy(update={"config": config})


def gpu_fault(resources: ResourcesConfig, config: TrainConfig) -> PydanticCustomError | None:
    """What is wrong with training on several GPUs: each needs days of every step, and a term that
    looks at the days of a batch together needs them together."""
    gpus, batch = resources.gpus or 1, config.batch
    if gpus == 1 or not isinstance(config.model, BY_GRADIENT):
        return None
    days = batch.days_per_step * batch.accumulate
    if gpus > days:
        return PydanticCustomError(
            "gpus_without_days",
            "{gpus} GPUs share the days of a step, and a step has {days} (batch.days_per_step x "
            "batch.accumulate): ask for at most {days}, or set batch.accumulate to {gpus}",
            {"gpus": gpus, "days": days, "field": "resources/gpus"},
        )
    together = [t.kind for t in config.loss.terms if t.weight > 0.0 and t.kind in OF_SEVERAL_DAYS]
    if together and gpus > batch.batches_per_step:
        return PydanticCustomError(
            "gpus_cut_batches",
            "loss term {kind} looks at the days of a batch together, and {gpus} GPUs would have to "
            "cut the batches of a step, which has {batches}: ask for at most {batches}, or set "
            "batch.accumulate to {gpus}",
            {
                "kind": together[0],
                "gpus": gpus,
                "batches": batch.batches_per_step,
                "field": "resources/gpus",
            },
        )
    return None


class JobPatch(ConfigModel):
    """What to change of a job; what is left out stays as it is."""

    labels: dict[LabelKey, LabelValue | None] = Field(default_factory=dict, max_length=MAX_LABELS)
    """Merged into the job's; null removes a label."""
    priority: Priority = 0
    """Higher runs earlier."""
    note: Note | None = None
    """Free text for people; null removes it."""
