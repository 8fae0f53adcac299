"""The one definition of a training job: validation, OpenAPI, storage, CLI and trainer read it.

No torch below this line, and nothing here imports anything else of the project but its errors.
"""

from gogooku3.config.base import ConfigModel
from gogooku3.config.data import DataConfig
from gogooku3.config.dataset import (
    BuildResources,
    DatasetConfig,
    DatasetSpec,
    FileSource,
    JQuantsSource,
    SynthSource,
)
from gogooku3.config.graph import GraphConfig
from gogooku3.config.job import (
    MAX_LABELS,
    DatasetName,
    JobPatch,
    JobSpec,
    LimitsConfig,
    ResourcesConfig,
)
from gogooku3.config.loss import (
    HuberConfig,
    IcConfig,
    ListNetConfig,
    LossConfig,
    LossTerm,
    MseConfig,
    SoftSpearmanConfig,
)
from gogooku3.config.model import (
    AtftGatFanConfig,
    AttentionConfig,
    EncoderConfig,
    FanConfig,
    GatConfig,
    GatOnlyConfig,
    HeadConfig,
    LightGbmConfig,
    LinearConfig,
    LstmAttentionConfig,
    LstmConfig,
    ModelConfig,
    ReversalConfig,
    SelectionConfig,
    StreamingFanConfig,
    WindowFanConfig,
    edges_of,
)
from gogooku3.config.optimizer import (
    AdaBeliefConfig,
    AdamWConfig,
    ConstantConfig,
    CosineRestartsConfig,
    OptimizerConfig,
    SchedulerConfig,
    WarmupCosineConfig,
)
from gogooku3.config.problems import Problem, check, pointer
from gogooku3.config.search_space import Params, SearchSpace
from gogooku3.config.sources import Source, config_sources
from gogooku3.config.split import (
    DateSplit,
    PurgedKFoldSplit,
    SplitConfig,
    WalkForwardSplit,
)
from gogooku3.config.sweep import ObjectiveConfig, RetentionConfig, SweepSpec
from gogooku3.config.sweep_check import CheckedSweep, check_sweep
from gogooku3.config.train import (
    BatchConfig,
    EarlyStoppingConfig,
    EvaluationConfig,
    TrainConfig,
)

__all__ = [
    "MAX_LABELS",
    "AdaBeliefConfig",
    "AdamWConfig",
    "AtftGatFanConfig",
    "AttentionConfig",
    "BatchConfig",
    "BuildResources",
    "CheckedSweep",
    "ConfigModel",
    "ConstantConfig",
    "CosineRestartsConfig",
    "DataConfig",
    "DatasetConfig",
    "DatasetName",
    "DatasetSpec",
    "DateSplit",
    "EarlyStoppingConfig",
    "EncoderConfig",
    "EvaluationConfig",
    "FanConfig",
    "FileSource",
    "GatConfig",
    "GatOnlyConfig",
    "GraphConfig",
    "HeadConfig",
    "HuberConfig",
    "IcConfig",
    "JQuantsSource",
    "JobPatch",
    "JobSpec",
    "LightGbmConfig",
    "LimitsConfig",
    "LinearConfig",
    "ListNetConfig",
    "LossConfig",
    "LossTerm",
    "LstmAttentionConfig",
    "LstmConfig",
    "ModelConfig",
    "MseConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "Params",
    "Problem",
    "PurgedKFoldSplit",
    "ResourcesConfig",
    "RetentionConfig",
    "ReversalConfig",
    "SchedulerConfig",
    "SearchSpace",
    "SelectionConfig",
    "SoftSpearmanConfig",
    "Source",
    "SplitConfig",
    "StreamingFanConfig",
    "SweepSpec",
    "SynthSource",
    "TrainConfig",
    "WalkForwardSplit",
    "WarmupCosineConfig",
    "WindowFanConfig",
    "check",
    "check_sweep",
    "config_sources",
    "edges_of",
    "pointer",
]
