# SPDX-License-Identifier: Apache-2.0
"""How any network is fitted: checkpoints, optimizers, averages. Below codecs, since some encode by fitting."""
