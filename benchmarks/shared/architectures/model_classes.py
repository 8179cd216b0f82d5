# SPDX-License-Identifier: Apache-2.0
"""Which auto class loads a type of model: the one that it is most used with."""

from typing import Any

import transformers
from transformers.models.auto import auto_factory, modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

PREFERRED = (
    "SpeechSeq2Seq", "Seq2SeqLM", "MaskedLM", "ImageTextToText", "CausalLM", "CTC", "ZeroShotImageClassification",
    "ImageClassification",
    "MultimodalLM", "TextToWaveform", "TextToSpectrogram", "ObjectDetection", "UniversalSegmentation",
    "SemanticSegmentation", "DepthEstimation", "MaskGeneration",
    "ZeroShotObjectDetection", "VideoClassification", "AudioClassification", "KeypointDetection", "KeypointMatching",
    "ImageToImage", "TimeSeriesPrediction", "VisualQuestionAnswering", "QuestionAnswering", "TableQuestionAnswering",
    "", "PreTraining",
)  # fmt: skip


def auto_classes() -> dict[str, Any]:
    """Auto classes by the end of their name, the preferred ones first."""
    every = {
        name.removeprefix("AutoModelFor").removeprefix("AutoModel"): found
        for name in dir(modeling_auto)
        if name.startswith("AutoModel") and isinstance(found := getattr(modeling_auto, name), type)
        and issubclass(found, auto_factory._BaseAutoModelClass)
    }  # fmt: skip
    first = {name: every[name] for name in PREFERRED if name in every}
    return first | {name: found for name, found in every.items() if not name.startswith("_")}


def model_types() -> list[str]:
    """Every type that transformers' configs list."""
    return sorted(CONFIG_MAPPING_NAMES)


def auto_class_of(config: transformers.PreTrainedConfig) -> Any | None:
    """The auto class for a config; None where there is none."""
    for name, found in auto_classes().items():
        mapping = found._model_mapping
        if mapping is None or type(config) not in mapping:
            continue
        if name == "CausalLM" and config.is_encoder_decoder:  # a decoder alone
            continue
        return found
    return None
