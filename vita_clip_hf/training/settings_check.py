"""Settings that do not go together, and packages that they need: found before anything is loaded."""

import difflib

from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from .arguments import VitaClipTrainingArguments
from .callbacks.step_profile import WARMUP_STEPS
from .options import DataOptions

_OF_THE_EXTRA = ("tensorboard", "trackio")
_FIGURES = ("loss", "top_1", "top_5")


def check_settings(data: DataOptions, args: VitaClipTrainingArguments) -> None:
    """
    Raises:
        ValueError: settings do not go together.
        ImportError: a package that `report_to` names is not installed.
    """
    check_trackers(args.report_to)
    if args.profile_steps and 0 < args.max_steps <= WARMUP_STEPS:
        raise ValueError(
            f"profile_steps is {args.profile_steps}, but the first {WARMUP_STEPS} steps are not profiled, and "
            f"max_steps is {args.max_steps}: give more."
        )
    evaluates = args.eval_strategy != IntervalStrategy.NO
    if evaluates and not data.validation:
        raise ValueError(
            f"eval_strategy is {args.eval_strategy.value!r}, but there is nothing to evaluate on in the course of the "
            "training: give --validation. (Zero-shot sets alone are evaluated in the end.)"
        )
    if args.early_stopping_patience and not evaluates:
        raise ValueError(
            f"early_stopping_patience is {args.early_stopping_patience}, but nothing is evaluated in the course of "
            "the training: give --validation, and --eval_strategy 'epoch' or 'steps'."
        )
    if args.early_stopping_patience and args.metric_for_best_model is None:
        raise ValueError(
            f"early_stopping_patience is {args.early_stopping_patience}, but no figure is named that is to get "
            "better: give --metric_for_best_model, such as eval_top_1."
        )
    if args.save_strategy == SaveStrategy.BEST and (args.metric_for_best_model is None or not evaluates):
        raise ValueError(
            "save_strategy is 'best', but nothing says which is: give --validation and --metric_for_best_model, such "
            "as eval_top_1."
        )
    _check_metric(data, args)


def _check_metric(data: DataOptions, args: VitaClipTrainingArguments) -> None:
    if args.metric_for_best_model is None:
        return
    name = args.metric_for_best_model.removeprefix("eval_")
    sets = ["", *(f"{source.name}_" for source in data.zero_shot_sources())]
    known = [f"{prefix}{figure}" for prefix in sets for figure in _FIGURES]
    if name not in known:
        raise ValueError(
            f"metric_for_best_model is {args.metric_for_best_model!r}; expected one of "
            f"{', '.join(f'eval_{figure}' for figure in known)}."
        )


def check_trackers(report_to: list[str] | str | None) -> None:
    """
    Raises:
        ValueError: transformers knows no such tracker.
        ImportError: its package is not installed.
    """
    named = [report_to] if isinstance(report_to, str) else list(report_to or [])
    available = get_available_reporting_integrations()
    for name in named:
        if name in (*available, "none", "all", "flyte", "kubeflow"):  # the last two need no package
            continue
        if name not in INTEGRATION_TO_CALLBACK:
            near = difflib.get_close_matches(name, INTEGRATION_TO_CALLBACK, 1)
            raise ValueError(
                f"report_to is {name!r}; expected none or some of {', '.join(sorted(INTEGRATION_TO_CALLBACK))}"
                + (f"; is {near[0]!r} meant?" if near else ".")
            )
        package = "'vita-clip-hf[tracking]'" if name in _OF_THE_EXTRA else name.replace("_", "-")
        raise ImportError(f"report_to names {name}, which is not installed: pip install {package}")
