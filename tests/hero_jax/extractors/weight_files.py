"""Writes the kinds of files that weights of networks come in, by hand and without PyTorch."""

import pickle
import struct
import zipfile

import numpy as np

from tests.hero_jax.conversion.torch.torch_archives import Pickler, pickled, whole


def _string(text):
    """A string as Python 2 pickled it: of bytes."""
    raw = text.encode() if isinstance(text, str) else text
    if len(raw) < 256:
        return pickle.SHORT_BINSTRING + bytes([len(raw)]) + raw
    return pickle.BINSTRING + struct.pack("<i", len(raw)) + raw


def _number(value):
    return pickle.BININT + struct.pack("<i", value)


def _tuple(*items):
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def _global(module, name):
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _dict(items):
    return pickle.EMPTY_DICT + pickle.MARK + b"".join(items) + pickle.SETITEMS


def python2_array(array, dtype=None, raw=None):
    """An array as NumPy of Python 2 pickled it."""
    order, code = array.dtype.str[0], array.dtype.str[1:]
    arguments = _tuple(_string(dtype or code), _number(0), _number(1))
    sizes = [_number(-1), _number(-1), _number(0)]
    details = _tuple(_number(3), _string(order), *[pickle.NONE] * 3, *sizes)
    kind = _global("numpy", "dtype") + arguments + pickle.REDUCE + details + pickle.BUILD
    is_fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    raw = array.tobytes("F" if is_fortran else "C") if raw is None else raw
    empty = _tuple(_global("numpy", "ndarray"), _tuple(_number(0)), _string("b"))
    state = _tuple(
        _number(1),
        _tuple(*map(_number, array.shape)),
        kind,
        pickle.NEWTRUE if is_fortran else pickle.NEWFALSE,
        _string(raw),
    )
    made = _global("numpy.core.multiarray", "_reconstruct") + empty + pickle.REDUCE
    return made + state + pickle.BUILD


def python2_pickle(content):
    """A pickle of a dict of programs."""
    return pickle.PROTO + b"\x02" + content + pickle.STOP


def save_caffe2(path, arrays, **others):
    """A file of caffe2's: `{"blobs": {name: array}}`, with what training leaves beside weights."""
    programs = {name: python2_array(array) for name, array in arrays.items()}
    for name in list(programs)[:2]:
        programs[f"{name}_momentum"] = programs[name]
    for name in "lr", "model_iter":
        programs[name] = python2_array(np.zeros(1, np.float32))
    programs |= others
    blobs = _dict(_string(name) + program for name, program in programs.items())
    path.write_bytes(python2_pickle(_dict([_string("blobs") + blobs])))
    return path


def ordered_dict(items):
    """A dict that keeps its order, as Python 2 pickled it: of lists of two."""
    lists = b"".join(
        pickle.EMPTY_LIST + pickle.MARK + key + value + pickle.APPENDS
        for key, value in items.items()
    )
    argument = pickle.EMPTY_LIST + pickle.MARK + lists + pickle.APPENDS + pickle.TUPLE1
    return _global("collections", "OrderedDict") + argument + pickle.REDUCE


def save_python2_dict(path, arrays):
    """A pickle of Python 2's ordered dict of arrays."""
    items = {_string(name): python2_array(array) for name, array in arrays.items()}
    path.write_bytes(python2_pickle(_dict([_string("model_state") + ordered_dict(items)])))
    return path


class Script:
    """An object of TorchScript."""

    def __init__(self, name, attributes):
        self.name, self.attributes = name, attributes


class ScriptPickler(Pickler):
    dispatch = dict(Pickler.dispatch)  # noqa: RUF012 - as in the class above

    def save_script(self, value):
        self.write(pickle.GLOBAL + f"__torch__.torch.nn\n{value.name}\n".encode())
        self.write(pickle.EMPTY_TUPLE + pickle.NEWOBJ)
        self.save(value.attributes)
        self.write(pickle.BUILD)

    dispatch[Script] = save_script


def script_of(arrays, plain=()):
    """Returns nested objects whose tensors have the arrays' names, joined by dots."""
    root = Script("Module", dict(plain) | {"training": True, "_is_full_backward_hook": None})
    for number, (name, array) in enumerate(arrays.items()):
        *folders, leaf = name.split(".")
        place = root
        for folder in folders:
            place = place.attributes.setdefault(folder, Script("Module", {"training": False}))
        place.attributes[leaf] = whole(array, str(number))
    return root


def save_torchscript(path, content):
    """A zip archive as torch.jit.save writes it: its code is deflated."""
    program, storages = pickled(content, pickler=ScriptPickler)
    with zipfile.ZipFile(path, "w") as archive:
        for storage in storages.values():
            archive.writestr(f"{path.stem}/data/{storage.key}", storage.array.tobytes())
        archive.writestr(f"{path.stem}/data.pkl", program)
        code = "class Module(Module):\n  training : bool\n"
        archive.writestr(f"{path.stem}/code/__torch__.py", code, zipfile.ZIP_DEFLATED)
        archive.writestr(f"{path.stem}/constants.pkl", b"\x80\x02).")
        archive.writestr(f"{path.stem}/version", "3\n")
    return path
