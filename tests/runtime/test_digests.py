import hashlib
import os

import pytest
import torch
from torch import nn

from fido.runtime.digests import digest, file_digest, folder_digest, network_digest


def test_files_and_folders_are_known_by_what_is_in_them(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "w.bin").write_bytes(b"weights")
        (folder / "config.json").write_text("{}")
    assert file_digest(one / "w.bin") == file_digest(other / "w.bin")
    assert folder_digest(one) == folder_digest(other)
    (other / ".cache").write_text("hidden")
    assert folder_digest(one) == folder_digest(other)
    before = os.stat(other / "w.bin")
    (other / "w.bin").write_bytes(b"WEIGHTS")  # same size
    os.utime(other / "w.bin", ns=(before.st_atime_ns, before.st_mtime_ns))  # and same time
    assert file_digest(one / "w.bin") != file_digest(other / "w.bin")
    assert folder_digest(one) != folder_digest(other)


def test_networks_are_known_by_their_tensors():
    torch.manual_seed(0)
    one = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    before = network_digest(one)
    assert network_digest(one.to(memory_format=torch.channels_last)) == before
    with torch.no_grad():
        one[1].running_mean[0] += 1e-3
    assert network_digest(one) != before
    assert network_digest(nn.ReLU()) is None
    assert len(network_digest(nn.Linear(2, 2).to(torch.bfloat16))) == 64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_tensors_of_every_precision_have_a_digest_of_type_shape_and_bytes(dtype):
    values = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert digest(values) == digest(values.clone())
    assert digest(values) == digest(values.T.contiguous().T), "layout is no content"
    others = (values.T, values.flatten(), values + 1, values.to(torch.int32))
    assert len({digest(values), *map(digest, others)}) == 5
    if dtype != torch.bfloat16:  # NumPy has none
        raw = f"{dtype}(2, 3)".encode() + values.numpy().tobytes() + b"\0"
        assert digest(values) == hashlib.sha256(raw).hexdigest()[:24]
    assert digest(torch.empty(0, dtype=dtype)) != digest(torch.tensor(0.0, dtype=dtype))
