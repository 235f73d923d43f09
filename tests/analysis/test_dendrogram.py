import pytest
import torch

from prosopon.analysis.dendrogram import cluster
from prosopon.errors import OptionError
from prosopon.subnetwork import Subnetwork
from tests.subnetwork.samples import config


def subnetwork(*pruned):
    mask = torch.ones(1, 20, dtype=torch.bool)
    mask[0, list(pruned)] = False
    return Subnetwork({"a": mask}, config())


def test_average_linkage_of_jaccard_distances():
    found = cluster({"a": subnetwork(0, 1, 2, 3), "b": subnetwork(9, 10), "c": subnetwork(0, 1, 2)})
    assert found.distances == ((0, 1, 0.25), (1, 0, 1), (0.25, 1, 0))
    (first, second, near, two), (third, last, far, three) = found.merges
    assert ({first, second}, near, two) == ({0, 2}, 0.25, 2)
    assert ({third, last}, far, three) == ({1, 3}, 1.0, 3)
    assert set(found.order) == {"a", "b", "c"}
    assert abs(found.order.index("a") - found.order.index("c")) == 1


def test_equal_and_empty_masks_are_at_distance_0():
    found = cluster({"a": subnetwork(1), "b": subnetwork(1), "c": subnetwork(), "d": subnetwork()})
    assert found.distances[0][1] == found.distances[2][3] == 0
    assert found.distances[0][2] == 1
    assert found.to_json()["names"] == list("abcd")


def test_one_persona_cannot_be_clustered():
    with pytest.raises(OptionError, match="at least two"):
        cluster({"a": subnetwork(1)})
