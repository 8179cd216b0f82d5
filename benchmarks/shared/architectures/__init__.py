# SPDX-License-Identifier: Apache-2.0
"""Small random models of every architecture that transformers and diffusers have, with inputs for each."""
