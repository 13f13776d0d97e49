"""Text that is not UTF-8: what was seen is said, and the command that is advised gives the text back."""

import re
import shutil
import subprocess

import pytest

from l2m_utils.text import corpora
from l2m_utils.text.documents import CorpusError
from l2m_utils.text.encodings import by_looking, by_marks

WORDS = {
    "English": "“Late again,” she said — twice. It’s a café. ",
    "French": "Le garçon a mangé une pêche à côté du château, où l’été dure. ",
    "German": "Die Bücher über Käse gehören größtenteils dem Schüler. ",
    "Polish": "Zażółć gęślą jaźń, mówił chłopiec, i poszedł nad rzekę. ",
    "Turkish": "Çocuk ışığı gördü ve şöyle dedi: değil mi? Gün doğdu. ",
    "Russian": "Он пошёл к реке. Никто не пришёл, и лодка стояла на месте. ",
    "Greek": "Πήγε στο ποτάμι. Κανείς δεν ήρθε και η βάρκα ήταν εκεί. ",
    "Hebrew": "הוא הלך אל הנהר. אף אחד לא בא והסירה היתה שם. ",
    "Arabic": "ذهب إلى النهر. لم يأت أحد وكان القارب هناك. ",
    "Thai": "เขาไปที่แม่น้ำ ไม่มีใครมา เรือยังอยู่ที่นั่น ",
    "Japanese": "彼は川へ行った。誰も来なかった。船はまだそこにあった。",
    "Chinese": "他走到河边。没有人来。船还在那里，天快要黑了。",
    "Traditional": "他走到河邊。沒有人來。船還在那裡，天快要黑了。",
    "Korean": "그는 강으로 갔다. 아무도 오지 않았다. 배는 아직 거기에 있었다. ",
}
WRITTEN = [
    *[
        (name, code)
        for name in ("English", "French", "German")
        for code in ("cp1252", "utf-16", "utf-16-le", "utf-16-be")
    ],
    ("French", "mac_roman"),
    ("German", "latin-1"),
    ("German", "cp850"),
    ("English", "utf-32"),
    ("English", "utf-32-le"),
    ("Polish", "cp1250"),
    ("Polish", "iso8859-2"),
    ("Turkish", "cp1254"),
    ("Russian", "cp1251"),
    ("Russian", "koi8-r"),
    ("Russian", "cp866"),
    ("Russian", "utf-16-le"),
    ("Greek", "cp1253"),
    ("Hebrew", "cp1255"),
    ("Arabic", "cp1256"),
    ("Thai", "tis-620"),
    ("Japanese", "cp932"),
    ("Japanese", "shift_jis"),
    ("Japanese", "euc_jp"),
    ("Japanese", "iso2022_jp"),
    ("Japanese", "utf-16-be"),
    ("Chinese", "gb18030"),
    ("Chinese", "utf-16-le"),
    ("Traditional", "big5"),
    ("Korean", "cp949"),
]

# Other languages and other sentences, so that the tables are not made for those above.
OTHER = [
    ("cp1251", "Сьогодні вранці ми пішли до лісу збирати гриби. Було тепло і тихо, лише птахи співали."),
    ("cp1251", "Всички хора се раждат свободни и равни по достойнство и права. Те са надарени с разум и съвест."),
    (
        "koi8-r",
        "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему. Все смешалось в доме Облонских.",
    ),
    ("cp866", "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему."),
    ("cp1250", "Všichni lidé rodí se svobodní a sobě rovní co do důstojnosti a práv. Jsou nadáni rozumem a svědomím."),
    (
        "cp1250",
        "Minden emberi lény szabadon születik és egyenlő méltósága és joga van. Az emberek ésszel és lelkiismerettel bírnak.",
    ),
    ("iso8859-2", "Všichni lidé rodí se svobodní a sobě rovní co do důstojnosti a práv. Jsou nadáni rozumem."),
    (
        "cp1252",
        "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. São dotados de razão e consciência.",
    ),
    ("cp1252", "Alla människor är födda fria och lika i värde och rättigheter. De är utrustade med förnuft."),
    (
        "cp1252",
        "Hver maður er borinn frjáls og jafn öðrum að virðingu og réttindum. Menn eru gæddir vitsmunum og samvizku, þeim ber.",
    ),
    ("cp1252", "—¿Qué quieres? —dijo él. ¡Mañana será otro día! Llovió en el jardín."),
    (
        "cp1253",
        "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. Είναι προικισμένοι με λογική.",
    ),
    ("iso8859-7", "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα."),
    ("cp1255", "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון."),
    ("cp1256", "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا وعليهم أن يعامل بعضهم بعضا."),
    ("iso8859-6", "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا."),
    ("cp1254", "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana sahiptirler."),
    (
        "cp949",
        "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 천부적으로 이성과 양심을 부여받았으며",
    ),
    ("gb18030", "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。"),
    ("big5", "人人生而自由，在尊嚴和權利上一律平等。他們賦有理性和良心，並應以兄弟關係的精神相對待。"),
    ("gb18030", "滕王高阁临江渚，佩玉鸣鸾罢歌舞。画栋朝飞南浦云，珠帘暮卷西山雨。"),
    ("euc_jp", "すべての人間は、生れながらにして自由であり、かつ、尊厳と権利とについて平等である。"),
    ("cp932", "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"),
    ("tis-620", "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ"),
    ("mac_roman", "L’été, les élèves mangent des pêches à côté de la forêt. Ça suffit !"),
    ("cp437", "Le garçon a mangé une pêche à côté du château, où l'été dure."),
    ("utf-16-le", "人人生而自由，在尊严和权利上一律平等。"),
    ("utf-16-be", "모든 인간은 태어날 때부터 자유로우며"),
    ("utf-16-le", "Все счастливые семьи похожи друг на друга"),
    ("utf-16-le", "すべての人間は、生れながらにして"),
]


@pytest.mark.parametrize(("code", "text"), OTHER)
def test_one_sentence_is_enough(code, text):
    content = text.encode(code)
    guess = by_marks(content) or by_looking(content)
    assert guess.encoding and content.decode(guess.encoding) == text, guess


@pytest.mark.parametrize(("language", "code"), WRITTEN)
def test_the_advice_gives_the_text_back(language, code, tmp_path):
    text = WORDS[language] * 3
    path = tmp_path / "a text.txt"
    path.write_bytes(text.encode(code))
    with pytest.raises(CorpusError, match="a text.txt: not UTF-8") as error:
        corpora.load(path)
    advised = re.search(r"-f (\S+) -t UTF-8", str(error.value))
    assert advised and path.read_bytes().decode(advised[1]).removeprefix("\ufeff") == text
    if shutil.which("iconv"):
        command = str(error.value).partition("with: ")[2]
        subprocess.run(command, shell=True, check=True)
        assert corpora.load(path).documents[0].text == text


def test_what_was_seen_is_said():
    assert "as CP1252 it reads '“Late again" in by_looking(WORDS["English"].encode("cp1252")).seen
    assert by_looking(bytes(range(128, 256)) * 4).encoding is None
    assert by_looking("très long, déjà là, voilà où ça mène ".encode() + b"\xff").encoding == "UTF-8"


def test_damaged_utf8_is_not_taken_for_another_encoding(tmp_path):
    path = tmp_path / "cut.txt"
    path.write_bytes(("他走到河边。没有人来。" * 20).encode()[:-1])
    with pytest.raises(CorpusError, match="it is UTF-8 with 1 damaged place among .* iconv -c -f UTF-8"):
        corpora.load(path)


def test_packed_files_are_unpacked_by_the_advice(tmp_path):
    import gzip

    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress('{"text": "café"}\n'.encode("latin-1")))
    with pytest.raises(CorpusError, match=r"x.jsonl.gz, line 1: .*gzip -dc \S+ \| iconv -f CP1252 -t UTF-8 \| gzip -c"):
        corpora.load(path)
