from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualroute.config import Config, Environ, EnvironError, parse_env_file, undefined
from dualroute.datastructures import URL, CommaSeparatedStrings, Secret

ENV = """
# a comment, and an empty line

PLAIN=text with spaces   # and a comment
export EXPORTED=1
 SPACES_AROUND = x
EMPTY=
HASH=a#b
ONLY_COMMENT= # nothing
DOUBLE="a # b \\"c\\" \\\\ \\n$HOME"  # a comment
SINGLE='a \\n "b"'
LINES="one
two"
URL=postgres://user:pass@localhost:5432/name?x=a=b
TWICE=1
TWICE=2
"""
VALUES = {
    "PLAIN": "text with spaces",
    "EXPORTED": "1",
    "SPACES_AROUND": "x",
    "EMPTY": "",
    "HASH": "a#b",
    "ONLY_COMMENT": "",
    "DOUBLE": 'a # b "c" \\ \n$HOME',
    "SINGLE": 'a \\n "b"',
    "LINES": "one\ntwo",
    "URL": "postgres://user:pass@localhost:5432/name?x=a=b",
    "TWICE": "2",
}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_file(tmp_path: Path, ending: str) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"\xef\xbb\xbf" + ENV.replace("\n", ending).encode())
    assert Config(file, environ={}).file_values == VALUES
    assert Config(str(file), environ={})("PLAIN") == "text with spaces"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("A=1\nno equals sign", "line 2: expected NAME=value"),
        ("1A=1", "line 1: expected NAME=value"),
        ("\n\nA='open", "line 3: the quote ' is not closed"),
        ('A="open\\"', 'line 1: the quote " is not closed'),
        ('A="b" c', 'line 1: something follows the closing quote "'),
        ('A="1\n2"\nB', "line 3: expected"),
    ],
)
def test_a_line_that_can_t_be_read_is_refused_by_its_number_alone(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=r"^my\.env, ") as refused:
        parse_env_file(text, "my.env")
    assert what in str(refused.value)
    assert "no equals sign" not in str(refused.value), "it may hold a secret"


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_env_file(text)
    except ValueError:
        pass


@given(st.text())
def test_what_is_written_in_double_quotes_is_read_back(text: str) -> None:
    text = text.replace("\r\n", "\n")
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_env_file(f'A="{quoted}"\nB=1') == {"A": text, "B": "1"}


def test_a_file_that_is_not_there_is_warned_of(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"config file '.*nope' was not found"):
        config = Config(tmp_path / "nope", environ={"A": "1"})
    assert config("A") == "1"


def test_an_encoding(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("A=é".encode("latin-1"))
    assert Config(tmp_path / ".env", environ={}, encoding="latin-1")("A") == "é"


def test_the_environment_comes_before_the_file_and_that_before_the_default(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=file\nB=file\n")
    config = Config(tmp_path / ".env", environ={"A": "environ"})
    assert [config(name, default="default") for name in "ABC"] == ["environ", "file", "default"]
    with pytest.raises(KeyError, match="'C' is missing, and has no default"):
        config("C")


def test_the_process_s_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUALROUTE_TEST_CONFIG", "1")
    assert Config()("DUALROUTE_TEST_CONFIG", cast=int) == 1
    assert Environ()["DUALROUTE_TEST_CONFIG"] == "1"
    assert len(Environ()) == len(os.environ)


def test_a_prefix(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("APP_B=2\n")
    config = Config(tmp_path / ".env", environ={"APP_A": "1", "A": "2"}, env_prefix="APP_")
    assert (config("A"), config.get("B")) == ("1", "2")
    with pytest.raises(KeyError, match="APP_C"):
        config("C")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, True) for text in ("true", "TRUE", "1", "yes", "On", " 1 ")),
        *((text, False) for text in ("false", "False", "0", "no", "off")),
    ],
)
def test_bool(text: str, value: bool) -> None:
    assert Config(environ={"A": text})("A", cast=bool) is value


@pytest.mark.parametrize(
    ("text", "cast", "words"),
    [
        ("", bool, "setting 'A' is '', which is no bool; write one of true, 1, yes, on, false, 0, no, off"),
        ("2", bool, "'2'"),
        ("x", int, "setting 'A' is 'x', which is no valid int: invalid literal"),
        ("'x", CommaSeparatedStrings, "which is no valid CommaSeparatedStrings"),
    ],
)
def test_what_can_t_be_converted(text: str, cast: Any, words: str) -> None:
    with pytest.raises(ValueError, match="setting 'A' is ") as refused:
        Config(environ={"A": text})("A", cast=cast)
    assert words in str(refused.value)


def test_a_secret_is_in_no_message() -> None:
    class Token(Secret):
        def __init__(self, value: str) -> None:
            super().__init__(value)
            raise ValueError(f"too short: {value}")

    with pytest.raises(ValueError, match="setting 'A' is no valid Token") as refused:
        Config(environ={"A": "hunter2"})("A", cast=Token)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_casts_and_defaults() -> None:
    config = Config(environ={"N": "7", "URL": "http://x/", "HOSTS": "a, b,'c, d'"})
    number: int = config("N", cast=int, default=3)
    assert number == 7
    assert config("MISSING", cast=int, default=3) == 3
    assert config("MISSING", cast=int, default="3") == 3
    assert config("MISSING", default=None) is None
    assert config("MISSING", cast=int, default=None) is None
    assert config("MISSING", cast=bool, default=False) is False
    assert config("URL", cast=URL).hostname == "x"
    assert list(config("HOSTS", cast=CommaSeparatedStrings)) == ["a", "b", "c, d"]
    assert list(config("MISSING", cast=CommaSeparatedStrings, default=["x"])) == ["x"]
    assert config("N", cast=lambda text: text * 2) == "77"
    assert undefined is not None


def test_an_environ_can_t_be_changed_once_it_was_read() -> None:
    held = {"A": "1", "B": "2"}
    environ = Environ(held)
    environ["A"] = "3"
    environ["C"] = "4"
    del environ["C"]
    assert environ["A"] == held["A"] == "3"
    with pytest.raises(EnvironError, match=r"can't set environ\['A'\]: it has been read already"):
        environ["A"] = "5"
    with pytest.raises(EnvironError, match=r"can't delete environ\['A'\]"):
        del environ["A"]
    assert "D" not in environ
    with pytest.raises(EnvironError, match="'D'"):
        environ["D"] = "1"
    assert list(environ) == ["A", "B"]
    assert "3" not in repr(environ)


def test_a_secret_shows_itself_only_by_str() -> None:
    secret = Secret("hunter2")
    assert repr(secret) == "Secret('**********')"
    assert f"{[secret]}" == "[Secret('**********')]"
    assert str(secret) == "hunter2"
    assert secret
    assert not Secret("")


def test_comma_separated_strings() -> None:
    texts = CommaSeparatedStrings('a, "b, c" ,d#e')
    assert len(texts) == 3
    assert texts[1] == "b, c"
    assert texts[1:] == ["b, c", "d#e"]
    assert "a" in texts
    assert repr(texts) == "CommaSeparatedStrings(['a', 'b, c', 'd#e'])"
    assert str(texts) == "'a', 'b, c', 'd#e'"
    assert list(CommaSeparatedStrings(["a", "b"])) == ["a", "b"]
    assert list(CommaSeparatedStrings("")) == []
