"""Writes PyTorch's file formats without PyTorch, from stand-ins for its tensors and storages."""

import collections
import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from data.errors import InputError
from hero_jax.conversion.torch.read import read_state_dict

MAGIC = 0x1950A86A20F9469CFC6C
MACHINE = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4, "long": 4}}
TYPES = {"f8": "Double", "f4": "Float", "f2": "Half", "i8": "Long", "u1": "Byte", "b1": "Bool"}
WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


class Name:
    """Pickled as a reference to `module.name`, which need not exist."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self):
        raise AssertionError("is only pickled")


class Storage:
    """The memory of an array."""

    def __init__(self, array, key, kind=None):
        self.array, self.key = array, key
        self.kind = kind or TYPES[array.dtype.str[1:]]

    def persistent_id(self):
        name = Name("torch", f"{self.kind}Storage")
        return ("storage", name, self.key, "cuda:0", self.array.size)


class Call:
    """Pickled as the result of a call."""

    def __init__(self, module, name, *arguments):
        self.reduced = Name(module, name), arguments

    def __reduce__(self):
        return self.reduced


def tensor(storage, offset, shape, strides):
    hooks = collections.OrderedDict()
    return Call("torch._utils", "_rebuild_tensor_v2", storage, offset, shape, strides, False, hooks)


def whole(array, key="0", kind=None):
    """A contiguous tensor in its own storage."""
    strides = tuple(n // array.itemsize for n in array.strides)
    return tensor(Storage(array, key, kind), 0, array.shape, strides)


class Pickler(pickle._Pickler):
    """Python's pickler written in Python, which lets a test define how `Name` is written."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012 - as in the class above

    def __init__(self, file, protocol, legacy=False):
        super().__init__(file, protocol)
        self.legacy, self.storages = legacy, {}

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        self.storages[value.key] = value
        return value.persistent_id() + ((None,) if self.legacy else ())

    def save_name(self, value):
        self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())

    dispatch[Name] = save_name


def pickled(content, protocol=2, legacy=False, pickler=Pickler):
    file = io.BytesIO()
    written = pickler(file, protocol, legacy)
    written.dump(content)
    return file.getvalue(), written.storages


def save_zip(path, content, protocol=2, extra=(), compression=zipfile.ZIP_STORED):
    program, storages = content if isinstance(content, tuple) else pickled(content, protocol)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", program)
        for storage in storages.values():
            archive.writestr(f"archive/data/{storage.key}", storage.array.tobytes())
        for name, value in [("archive/version", "3\n"), *extra]:
            archive.writestr(name, value)
    return path


def save_legacy(path, content, protocol=2, magic=MAGIC, version=1001, machine=MACHINE):
    program, storages = content if isinstance(content, tuple) else pickled(content, protocol, True)
    with open(path, "wb") as file:
        for value in (magic, version, machine):
            pickle.dump(value, file, protocol=2)
        file.write(program)
        pickle.dump(sorted(storages), file, protocol=2)
        for key in sorted(storages):
            file.write(struct.pack("<q", storages[key].array.size))
            file.write(storages[key].array.tobytes())
    return path


class Payload:
    """Makes a directory when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def refusal(path):
    """Returns the message with which the file is refused, which names the file."""
    with pytest.raises(InputError) as caught:
        read_state_dict(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path} ")
    assert not sentence.endswith(".")
    assert "\n" not in sentence
    return sentence
