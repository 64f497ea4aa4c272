"""Protobuf messages of `tf.train.Example`, with which records are read without TensorFlow.

The layout is TensorFlow's (`core/example/example.proto` and `feature.proto`). Records use only its
lists of bytes; other fields of a message are kept but have no name here.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "hero_jax"
_Field = descriptor_pb2.FieldDescriptorProto


def _example() -> Any:
    """Returns the message class; protobuf gives its fields no types."""
    file = descriptor_pb2.FileDescriptorProto(
        name="hero_jax/example.proto", package=_PACKAGE, syntax="proto3"
    )
    file.message_type.add(name="BytesList").field.add(
        name="value", number=1, type=_Field.TYPE_BYTES, label=_Field.LABEL_REPEATED
    )
    _add_message(file.message_type.add(name="Feature"), "bytes_list", 1, "BytesList")
    features = file.message_type.add(name="Features")
    # A map is a list of entries that have a key and a value.
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
    _add_message(entry, "value", 2, "Feature")
    _add_message(features, "feature", 1, "Features.FeatureEntry", _Field.LABEL_REPEATED)
    _add_message(file.message_type.add(name="Example"), "features", 1, "Features")
    # The default pool may hold TensorFlow's messages of the same kind.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Example"))


def _add_message(
    message: descriptor_pb2.DescriptorProto,
    name: str,
    number: int,
    type_name: str,
    label: Any = _Field.LABEL_OPTIONAL,
) -> None:
    message.field.add(
        name=name,
        number=number,
        type=_Field.TYPE_MESSAGE,
        type_name=f".{_PACKAGE}.{type_name}",
        label=label,
    )


Example = _example()
