"""The bill of materials names every package of the locks with every hash, and nothing else."""

import json

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from l2m_utils.project import PROJECT
from l2m_utils.release.components import LOCKS, bill_of_materials, read_pins
from l2m_utils.release.errors import ReleaseError


def test_the_bill_is_the_locks_as_another_parser_reads_them():
    bill = json.loads(bill_of_materials(PROJECT, "1.2.3"))
    found = {
        (one["name"], one["version"]): {
            hash["content"] for hash in one.get("externalReferences", [{}])[0].get("hashes", [])
        }
        for one in bill["components"]
    }
    wanted = {}
    for line in "".join((PROJECT / name).read_text() for name in LOCKS).replace("\\\n", " ").splitlines():
        if line and not line.startswith("#"):
            requirement, *hashes = line.split("--hash=sha256:")
            asked = Requirement(requirement)
            (pin,) = asked.specifier
            wanted[(canonicalize_name(asked.name), pin.version)] = {word.strip() for word in hashes}
    assert found == wanted and len(found) == len(bill["components"]) > 200
    torch = next(one for one in bill["components"] if one["name"] == "torch")
    assert torch["purl"] == f"pkg:pypi/torch@{torch['version']}"
    windows = next(one for one in bill["components"] if one["name"] == "pywinpty")
    assert windows["properties"] == [{"name": "python:marker", "value": "os_name == 'nt'"}]
    assert bill["dependencies"][0]["dependsOn"] == sorted({one["bom-ref"] for one in bill["components"]})


def test_the_bill_has_the_form_of_cyclonedx_and_depends_on_the_locks_alone(tmp_path):
    """The fields that the schema of CycloneDX 1.6 asks for; the whole schema was asked once, by another tool."""
    first = bill_of_materials(PROJECT, "1.2.3")
    bill = json.loads(first)
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert all({"type", "name", "version", "purl", "bom-ref"} <= set(one) for one in bill["components"])
    for name in LOCKS:
        (tmp_path / name).write_text((PROJECT / name).read_text())
    assert bill_of_materials(tmp_path, "1.2.3") == first
    (tmp_path / LOCKS[1]).write_text("torch==9.9.9\n")
    other = json.loads(bill_of_materials(tmp_path, "1.2.3"))
    assert other["serialNumber"] != bill["serialNumber"] and other["serialNumber"].startswith("urn:uuid:")


@pytest.mark.parametrize(
    "line", ["numpy>=2", "numpy", "-e .", "numpy @ https://example.org/numpy.whl", "--index-url x"]
)
def test_a_line_that_is_no_pin_is_refused(line):
    with pytest.raises(ReleaseError, match="expected NAME==VERSION"):
        read_pins(f"{line}\n")
