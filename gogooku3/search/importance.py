"""Which parameters mattered: PED-ANOVA (Watanabe et al., IJCAI 2023), as Optuna has it."""

from __future__ import annotations

from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from gogooku3.search.study import Search

FEWEST = 4
"""Complete trials below which nothing can be said."""


def importances(search: Search, goal: int = 0) -> dict[str, float] | None:
    """Share of each parameter in how good trials differ from the others, largest first; the shares
    add up to 1. None with too few complete trials, or none that differ.

    `goal`: place of the objective in question, when there are several.
    """
    study = search.study
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < FEWEST or len({trial.values[goal] for trial in complete}) == 1:
        return None
    try:
        found = get_param_importances(
            study,
            evaluator=PedAnovaImportanceEvaluator(),
            target=(lambda trial: trial.values[goal]) if len(study.directions) > 1 else None,
        )
    except (ValueError, RuntimeError):
        # No parameter varies over the complete trials.
        return None
    return {path: float(share) for path, share in found.items()}
