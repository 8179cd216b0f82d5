# SPDX-License-Identifier: Apache-2.0
"""Networks in two parts: what a device computes and sends as bytes, and what a server makes of them."""
