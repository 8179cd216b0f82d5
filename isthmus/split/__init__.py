# SPDX-License-Identifier: Apache-2.0
"""Networks in two parts: what a device computes and sends as bytes, and what a server makes of them.

split = SplitModel(network, at="layer2", channels=12)
data = split.head(image)      # bytes
logits = split.tail(data)
"""

from isthmus.lazy import names_on_demand

__all__ = ["Client", "Link", "SplitModel", "Tail"]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "Client": "isthmus.split.client",
        "Link": "isthmus.split.link",
        "SplitModel": "isthmus.split.model",
        "Tail": "isthmus.split.tail",
    },
)
