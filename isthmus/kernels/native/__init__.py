# SPDX-License-Identifier: Apache-2.0
"""What numba has no spelling for, as LLVM intrinsics; and views that tell it an array is read alone."""
