# SPDX-License-Identifier: Apache-2.0
"""Training loops: codecs from folders of media."""
