# SPDX-License-Identifier: Apache-2.0
"""Training of WaLLoC codecs of sound: the KLT to begin with, then the network behind it."""
