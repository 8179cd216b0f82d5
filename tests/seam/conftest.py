# SPDX-License-Identifier: Apache-2.0
"""The toy family is a part of `isthmus.codecs`, where `plug_in` puts it, and cannot be imported from here."""

collect_ignore = ["toy"]
