"""Arguments that begin with hyphens, which are ids or misspelt flags."""

import argparse
import signal
from fractions import Fraction

import pytest

from data.command import Parser, ends_with_a_sentence, seconds_argument, terminable


@pytest.fixture
def parser():
    parser = Parser(prog="program")
    commands = parser.add_subparsers(required=True)
    delete = commands.add_parser("delete")
    delete.add_argument("--index", required=True)
    delete.add_argument("--json", action="store_true")
    delete.add_argument("--file")
    delete.add_argument("clips", nargs="+")
    return parser


@pytest.mark.parametrize(
    ("arguments", "index", "clips"),
    [
        ("delete --index=x -a b -h0", "x", ["-a", "b", "-h0"]),
        ("delete -a --index=-x", "-x", ["-a"]),
        ("delete --index -x --json -a=b -1", "-x", ["-a=b", "-1"]),
        ("delete --index=--x -- --a -b", "--x", ["--a", "-b"]),
    ],
)
def test_a_hyphen_begins_an_id(parser, arguments, index, clips):
    options = parser.parse_args(arguments.split())
    assert (options.index, options.clips) == (index, clips)


def test_a_single_hyphen_is_a_value_and_h_is_help(parser, capsys):
    assert parser.parse_args(["delete", "--index=x", "--file", "-", "a"]).file == "-"
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(["delete", "-h"])
    assert caught.value.code == 0
    assert "usage: program delete" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--index=x --idx", "required: clips (if --idx is no flag, write it last, after --)"),
        ("--index=x a --idx=2", "arguments: --idx=2 (if --idx=2 is no flag, write it last, after"),
        ("--index --x a", "expected one argument (if that is --x, write --index=--x)"),
        ("--index=x a -file b", "unrecognized arguments: -file b\n"),
        ("--index=x a -json", "unrecognized arguments: -json\n"),
        ("--index=x", "the following arguments are required: clips\n"),
        ("a --index", "argument --index: expected one argument\n"),
    ],
)
def test_two_hyphens_begin_a_misspelt_flag_or_show_how_to_write_an_id(
    parser, arguments, said, capsys
):
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(["delete", *arguments.split()])
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3/2", Fraction(3, 2)), ("1.5", Fraction(3, 2)), ("2", 2), (".5", Fraction(1, 2))],
)
def test_seconds_are_fractions_or_decimals(text, seconds):
    assert seconds_argument(text) == seconds


# The second would take forever as a fraction.
@pytest.mark.parametrize("text", ["", "1e999999999", "3/0", "0", "-1", "nan", "1_0", "1,5", "."])
def test_other_seconds_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is no number of seconds above 0, as 3/2"):
        seconds_argument(text)


def test_commands_in_a_description_keep_their_lines(capsys):
    description = "Does it.\n\npython -m a b\npython -m a c"
    with pytest.raises(SystemExit):
        Parser(prog="program", description=description).parse_args(["--help"])
    assert description in capsys.readouterr().out


def test_a_program_that_is_terminated_ends_as_after_an_interrupt():
    before = signal.getsignal(signal.SIGTERM)
    program = ends_with_a_sentence("stopped")
    with pytest.raises(SystemExit, match="error: stopped"), program, terminable():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
