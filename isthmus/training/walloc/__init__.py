# SPDX-License-Identifier: Apache-2.0
"""Training of WaLLoC codecs: trainer, starting point, entropy models, validation, export."""
