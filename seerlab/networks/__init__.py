"""Networks to look at, their weights, and pictures to show them.

A file per family holds the definition alone. `load` finds weights: those that come with the package, published ones
(downloaded once and checked), a file of one's own, or random ones, labelled as such.
"""

from seerlab.networks.loading import Description, Network, describe, list_networks, load
from seerlab.networks.pictures import sample_images

__all__ = ["Description", "Network", "describe", "list_networks", "load", "sample_images"]
