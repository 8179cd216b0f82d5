# SPDX-License-Identifier: Apache-2.0
"""What weights take, stored or expected, tensor by tensor: numbers and pictures of them."""
