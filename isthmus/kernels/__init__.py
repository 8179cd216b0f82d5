# SPDX-License-Identifier: Apache-2.0
"""The hot loops. `reference_*` are the definition in plain numpy; every other module equals them bit for bit."""
