# SPDX-License-Identifier: Apache-2.0
"""What trainings draw their batches from."""
