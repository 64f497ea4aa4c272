"""HDF5 files whose claims go beyond what they hold."""

import h5py
import numpy as np
import pytest

from data.sources.hdf5_files import open_hdf5, read_dataset

VALUES = np.arange(24, dtype=np.float32).reshape(6, 4)
PACKED = {"chunks": (2, 4), "compression": "gzip"}


def read(path):
    with open_hdf5(path) as file:
        return read_dataset(file["features"])


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("userblock", [0, 512, 2048])
@pytest.mark.parametrize(
    "options",
    [
        {},
        PACKED,
        {"chunks": (5, 3)},
        {"chunks": (4, 4), "maxshape": (None, 4)},
        {"chunks": (6, 4), "fletcher32": True, "shuffle": True, "compression": "lzf"},
    ],
    ids=str,
)
def test_what_was_written_is_read(tmp_path, libver, userblock, options):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver=libver, userblock_size=userblock) as file:
        file.create_dataset("features", data=VALUES, **options)
    np.testing.assert_array_equal(read(path), VALUES)


def test_compact_resized_virtual_and_constant_datasets_are_read(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        grown = file.create_dataset("grown", (2, 4), "f4", chunks=(2, 4), maxshape=(None, 4))
        grown.resize((6, 4))
        grown[...] = VALUES
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple(VALUES.shape)
        compact = h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F32LE, space, dcpl=plist)
        compact.write(h5py.h5s.ALL, h5py.h5s.ALL, VALUES)
        layout = h5py.VirtualLayout((6, 4), "f4")
        layout[...] = h5py.VirtualSource(file["grown"])
        file.create_virtual_dataset("virtual", layout)
        # A thousandth of it is in the file.
        file.create_dataset("constant", data=np.ones((500, 1000), "f4"), **PACKED)
    with open_hdf5(path) as file:
        for name in "grown", "compact", "virtual":
            np.testing.assert_array_equal(read_dataset(file[name]), VALUES, err_msg=name)
        assert read_dataset(file["constant"]).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "it has 0 bytes of values instead of 4000000000"),
        ({"chunks": (1000, 1000)}, "1000 of its 1000 blocks of values are missing"),
        (PACKED | {"chunks": (1000, 1000)}, "1000 of its 1000 blocks of values are missing"),
    ],
    ids=str,
)
def test_a_shape_without_values_takes_no_memory(tmp_path, options, said):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("features", (1_000_000, 1000), "f4", **options)
    with pytest.raises(ValueError, match=said):
        read(tmp_path / "a.h5")


def test_blocks_that_were_not_written_are_no_zeros(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("features", (6, 4), "f4", chunks=(2, 4))[:2] = 1
    with pytest.raises(ValueError, match="2 of its 3 blocks of values are missing"):
        read(tmp_path / "a.h5")


def test_a_large_block_of_few_values_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset(
            "features",
            (1, 4),
            "f4",
            chunks=(200_000, 100),
            maxshape=(None, None),
            **{"compression": "gzip"},
        )
        dataset.id.write_direct_chunk((0, 0), b"x" * 50)
    with pytest.raises(ValueError, match=r"bytes of values instead of 80000000"):
        read(tmp_path / "a.h5")


def test_a_description_of_a_driver_is_refused_before_the_library_reads_it(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["features"] = VALUES
    content = bytearray(path.read_bytes())
    content[48:56] = (96).to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(ValueError, match="its first block is damaged"):
        read(path)
    # The signature alone.
    path.write_bytes(content[:8])
    with pytest.raises(OSError, match="Unable to"):
        read(path)
