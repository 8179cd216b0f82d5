# SPDX-License-Identifier: Apache-2.0
"""Sound: codec `walloc.3`, in units that decode alone."""
