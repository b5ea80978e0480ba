from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import OptionError
from elman.language.options import LanguageOptions
from elman.text.log_masking import mask
from elman.text.vocabulary import TextCodec
from elman.text.words import blocks_of_whole_words, pieces, tokenise
from factories import load_language_dataset

LOGS = st.text(st.sampled_from("0123456789abcdefxXgmsZTpP.:-_/,+ <>\n\té½٣e"), max_size=40)


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        (
            "081109 203807 222 INFO dfs.DataNode$PacketResponder: block blk_-6952295868487656571 ends",
            "<num> <num> <num> INFO dfs.DataNode$PacketResponder: block blk_<num> ends",
        ),
        ("src: /10.250.19.102:50010 dest: 127.0.0.1.", "src: /<ip> dest: <ip>."),
        ("fe80::1ff:fe23:4567:890a 2001:db8:: 1:2:3:4:5:6:7:8", "<ip> <ip> <ip>"),
        ("2015-10-18T18:01:47.978Z 2005-06-03-15.42.50.675872", "<time> <time>"),
        ("2005.06.03 17/06/09 20:10:40 9.11.2008 9-11-2008", "<time> <time> <time> <time> <time>"),
        ("[10/Oct/2000:13:55:36 -0700] 23:59:59,123 3:07:08AM", "[<time> <num>] <time> <time>"),
        ("CE sym 2, at 0x0b85eee0, mask 0X05", "CE sym <num>, at <hex>, mask <hex>"),
        ("3f2a1b9c 123e4567-e89b-12d3-a456-426614174000", "<hex> <hex>"),
        ("00:1a:2b:3c:4d:5e 00-1A-2B-3C-4D-5E", "<hex> <hex>"),
        ("x=-5 (3-5) [12] #42 +7", "x=<num> (<num>-<num>) [<num>] #<num> <num>"),
        ("$12.50 1,234,567 5%", "$<num> <num> <num>%"),
        ("1e5 1.5e-3s 6.02E+23", "<num> <num>s <num>"),
        ("10ms 3.5s 64KB 512MiB 4G 2.4GHz 15min", "<num>ms <num>s <num>KB <num>MiB <num>G <num>GHz <num>min"),
        ("task_200811_0003_m_000001 part-00733 core.1523", "task_<num>_<num>_m_<num> part-<num> core.<num>"),
        ("1.2.3.4.5 2.6.18-194 1.2.3a.4", "<num> <num>-<num> <num>.3a.<num>"),
        ("12:34 12:34:56:78 1234,56", "<num>:<num> <time>:<num> <num>,<num>"),
        ("<num> <ip>", "<num> <ip>"),
        ("", ""),
    ],
)  # fmt: skip
def test_numbers_times_and_addresses_are_masked(line: str, masked: str) -> None:
    assert mask(line) == masked


@pytest.mark.parametrize(
    "line",
    [
        "node12 R02-M1-N0-C:J12-U11 E5 sha256 3rd 7z 10x log4j ipv6 café5",
        "deadbeef facade decade effaced std::abc a::b ::",
        "0x 0xg1 12345678g 1a2b3c 1e5x 9f8e7d6 5abc:1xyz",
        "a/b - + . , : no number\tat all\u00a0here ½ ٣",
    ],
)
def test_names_and_words_are_not_masked(line: str) -> None:
    assert mask(line) == line


@given(LOGS)
def test_masking_again_changes_nothing(line: str) -> None:
    once = mask(line)
    assert mask(once) == once


@given(LOGS)
def test_masking_a_line_equals_masking_its_words(line: str) -> None:
    spaces = re.compile(r"\s+")
    masked = mask(line)
    assert spaces.findall(masked) == spaces.findall(line)
    assert spaces.split(masked) == [mask(word) for word in spaces.split(line)]
    for word in spaces.split(line):
        if not re.search("[0-9]", word):
            assert mask(word) == word


@given(LOGS, st.integers(1, 40))
def test_the_tokens_of_a_log(line: str, size: int) -> None:
    tokens = tokenise(line, "log")
    assert tokens == tokenise(mask(line), "whitespace")
    assert tokens == [token for piece in pieces(line) for token in tokenise(piece, "log")]
    blocks = blocks_of_whole_words(
        [line[at : at + size] for at in range(0, len(line), size)], "log"
    )
    assert tokens == [token for block in blocks for token in tokenise(block, "log")]


# Quadratic work on a line of 2^20 characters would take minutes; linear work takes a second at most.
SECONDS = 30


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit",
    [
        *("1", "f", "1.", "1,234", "1:", "1-", "::", "0x", "a1", "1.1a.", "12:", "1e5", "1e5-"),
        *("2005-06-", "a1:", "ffff1:", "1:1:1:1:1:1:1:1a:", "00:11:22:33:44:5x:"),
        *("-1", "1ms", "1m.", "1,123a", "1111111g"),
    ],
)
def test_long_lines_take_linear_time(unit: str) -> None:
    text = unit * (2**20 // len(unit))
    begun = time.process_time()
    for line in (text, text + "g", f"f{text}_"):
        assert len(mask(line)) > 0
    assert time.process_time() - begun < SECONDS


def test_a_vocabulary_of_a_log_masks_what_it_reads() -> None:
    lines = "".join(f"took {n}ms for blk_{n * 7919}\n" for n in range(50))
    dataset = load_language_dataset(lines, level="word", split="log", documents="line")
    training = dataset.training
    assert training.codec.tokens == ("<unk>", "<end>", "<num>ms", "blk_<num>", "for", "took")
    assert dataset.test is not None
    assert dataset.test.facts.unknown == 0
    assert dataset.split == "the last 10 % of the text"
    assert training.codec.decode(training.codec.encode("took 77s\n")) == "took <unk>\n"
    config, arrays = training.codec.to_parts()
    assert config["split"] == "log"
    again = TextCodec.from_parts(config, arrays)
    assert again.encode("for blk_-1").tolist() == training.codec.encode("for blk_22").tolist()


def test_characters_are_not_masked() -> None:
    with pytest.raises(OptionError, match="split: got log; expected words; or level word"):
        LanguageOptions(level="char", split="log")
