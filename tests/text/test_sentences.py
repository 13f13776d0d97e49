"""Where sentences, lines and blocks start, in every script and kind of text, in linear time."""

import time

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from l2m_utils.experiments.measure import draw_blocks
from l2m_utils.text import cuts
from l2m_utils.text.documents import Corpus, Document
from l2m_utils.text.openings import openings
from l2m_utils.text.sentences import line_starts, sentence_starts
from l2m_utils.text.tokens import train_bpe


def pieces(text, starts):
    return [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]


SENTENCES = {
    "Chinese": ["他走到河边。", "没有人来！", "“船还在那里？”", "天快要黑了……没有风。", "远处有人唱歌。"],
    "Chinese, half-width marks": ["OK!", "他走了?", "没有人来."],
    "Japanese": ["彼は川へ行った。", "「誰も来ないの？」と彼女は言った。", "『はい。』", "そして夜になった。"],
    "Hindi": ["कौन आया? ", "वह गया। ", "कोई नहीं आया॥", "रात हुई।"],
    "Bengali, no space": ["সে গেল।", "কেউ এল না।"],
    "Arabic": ["هل جاء أحد؟ ", "لا، لم يأت أحد. ", "«ذهبوا!» ", "ثم جاء الليل."],
    "Urdu": ["وہ چلا گیا۔ ", "کوئی نہیں آیا۔"],
    "Hebrew": ["מי בא? ", "אף אחד. ", "הלילה ירד."],
    "Thai": ["เขาไปที่แม่น้ำ ", "ไม่มีใครมา ", "เรือยังอยู่"],
    "Amharic": ["ማን መጣ፧ ", "ማንም። ", "ሌሊት ሆነ።"],
    "Burmese": ["သူသွားသည်။ ", "ဘယ်သူမှမလာ။"],
    "Armenian": ["Նա գնաց։ ", "Ոչ ոք չեկավ։"],
    "Georgian": ["ვინ მოვიდა? ", "არავინ. ", "ღამე დადგა."],
    "Korean": ["누가 왔니? ", "아무도 오지 않았다. ", "밤이 되었다."],
    "Russian": ["— Кто пришёл? — спросил он. ", "«Никто!» ", "— Да. ", "Наступила ночь."],
    "Greek": ["Ποιος ήρθε\u037e ", "Κανείς. ", "«Όχι!» ", "Νύχτωσε."],
    "Spanish": ["¿Quién vino? ", "—¡Nadie! —dijo ella. ", "«¿Nadie?» ", "¡Qué noche!"],
    "French": ["« Qui est là ? » dit-il. ", "« Personne. » ", "Il fit nuit."],
    "German": ["„Wer kommt?“ fragte er. ", "„Niemand.“ ", "»Nein!« ", "Es wurde Nacht."],
    "Danish": ["»Hvem?« ", "»Ingen.« ", "Det blev nat."],
    "full-width point of a number": ["円周率は３．１４である．", "次の文。"],
}


@pytest.mark.parametrize("language", SENTENCES)
def test_sentences_start_in_every_script(language):
    sentences = SENTENCES[language]
    text = "".join(sentences)
    assert pieces(text, sentence_starts(text)) == sentences


def test_every_sentence_terminal_of_unicode_ends_a_sentence():
    """The property STerm as another library knows it, with letters of no script in particular around the mark."""
    marks = [chr(code) for code in range(0x80, 0x2E60) if regex.match(r"\p{STerm}", chr(code))]
    marks += [chr(code) for code in range(0x3000, 0x10000) if regex.match(r"\p{STerm}", chr(code))]
    marks.remove("\N{ONE DOT LEADER}")  # a piece of a row of dots
    missed = [mark for mark in marks if len(sentence_starts(f"ab{mark} Cd")) != 2]
    assert len(marks) > 80 and not missed


@pytest.mark.parametrize(
    "unit", [*".!?…。।\"'“«»(「*_ \n—aA1ก", ". ", " »", ".»« ", "。」 ", "« ", "a.b", "\n \n", "Mr. "]
)
def test_starts_take_linear_time(unit):
    """100,000 characters of anything: what was quadratic took minutes."""
    text = f"Loading {unit * (100_000 // len(unit))} | 100 %"
    start = time.perf_counter()
    sentence_starts(text)
    line_starts(text)
    assert time.perf_counter() - start < 1.5


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from("aB.!? \n\"”('0é…🙂。「」¿«»—ก।\u00a0\u3000"), max_size=60))
def test_starts_are_places_of_text_and_every_text_has_one(text):
    for starts in (sentence_starts(text), line_starts(text)):
        assert (np.diff(starts) > 0).all()
        assert all(0 <= start < len(text) and not text[start].isspace() for start in starts)
        assert not text.strip() or (len(starts) and not text[: starts[0]].strip())


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=" ab\n\t\u3000", max_size=40))
def test_line_starts_are_the_first_letters_of_lines(text):
    at, expected = 0, []
    for line in text.split("\n"):
        if line.strip():
            expected.append(at + len(line) - len(line.lstrip()))
        at += len(line) + 1
    assert line_starts(text).tolist() == expected


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 60), unique=True),
    st.lists(st.integers(0, 60), unique=True),
    st.integers(0, 61),
    st.integers(0, 8),
)
def test_openings_are_sentences_then_lines_then_anything(sentences, lines, room, enough):
    both = [sorted(set(found)) for found in (sentences, sentences + lines)]
    tried = [*[[at for at in found if at < room] for found in both], list(range(room))]
    expected = next((found for found in tried if len(found) >= enough), tried[-1])
    assert openings(np.sort(np.array(sentences, int)), np.sort(np.array(lines, int)), room, enough).tolist() == expected


TEXTS = {
    "Chinese": lambda i: "\n".join(f"　　他走到河边。没有人来！船还在第{i}{n}个地方？" for n in range(40)),
    "code": lambda i: "\n".join(f"def f{n}(x{i}):\n    return x{i} + {n}" for n in range(60)),
    "verse": lambda i: "\n".join(f"and the {n} winds of the {i} sea went by" for n in range(60)),
    "log": lambda i: "\n".join(f"2024-01-0{i} 10:00:{n:02} INFO job {n} done" for n in range(60)),
    "DNA": lambda i: "".join(np.random.default_rng(i).choice(list("ACGT"), 4000)),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_every_kind_of_text_gives_the_blocks_that_are_asked_for(kind):
    """Four blocks a document at four places, spread over the document, and a word when they are not at sentences."""
    corpus = Corpus(kind, [Document(str(i), TEXTS[kind](i)) for i in range(4)], "")
    tokenizer = train_bpe([document.text for document in corpus], 300)
    tokens, blocks = draw_blocks(tokenizer, corpus, max_length=32, per_document=4, seed=0)
    places = set(zip(blocks.document.tolist(), blocks.start.tolist(), strict=True))
    assert len(blocks.values) == len(places) == 16
    assert all(blocks.start[blocks.document == i].max() > 32 for i in range(4))
    said = tokens.openings_note(blocks.document, blocks.start)
    expected = {"Chinese": "", "DNA": "anywhere"}.get(kind, "at a line")
    assert expected in said and bool(said) == bool(expected)


def test_without_lines_blocks_start_only_where_allowed():
    documents, starts = [np.arange(100)], [np.array([0, 7])]
    strict = cuts.blocks(documents, 10, np.random.default_rng(0), per_document=4, starts=starts)
    wide = cuts.blocks(
        documents, 10, np.random.default_rng(0), per_document=4, starts=starts, lines=[np.arange(0, 90, 9)]
    )
    assert (
        strict.start.tolist() == [0, 7] and len(wide.start) == 4 and set(wide.start.tolist()) <= {7, *range(0, 90, 9)}
    )
