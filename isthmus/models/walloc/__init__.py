# SPDX-License-Identifier: Apache-2.0
"""WaLLoC autoencoders of images and sound: a linear analysis, a network behind the linear synthesis."""
