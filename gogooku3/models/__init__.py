"""Models: a batch in, scores out."""

from gogooku3.models.base import Model, ModelOutput, ModelShape
from gogooku3.models.registry import MODELS, build_model

__all__ = ["MODELS", "Model", "ModelOutput", "ModelShape", "build_model"]
