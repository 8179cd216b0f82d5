# SPDX-License-Identifier: Apache-2.0
"""What there is to know of symbols beside coding them: information of labels, couplings of distributions."""

from isthmus.entropy.analysis.coupling import Bottleneck, couple, couple_through, entropy
from isthmus.entropy.analysis.information import LabelInformation, code_length, label_information

__all__ = [
    "Bottleneck",
    "LabelInformation",
    "code_length",
    "couple",
    "couple_through",
    "entropy",
    "label_information",
]
