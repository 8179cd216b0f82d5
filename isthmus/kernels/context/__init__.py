# SPDX-License-Identifier: Apache-2.0
"""Contexts of latents: what a channel looks at in itself and in earlier channels, pass by pass."""
