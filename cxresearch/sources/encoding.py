"""From the bytes of a text file to UTF-8, and what its encoding may be."""

import codecs
import re
from pathlib import Path
from typing import NamedTuple

from cxresearch.errors import StudyProblem
from cxresearch.sources.reading import Reading

CHUNK = 1 << 20
# Letters that a text in these encodings holds much more often than another reading of the same bytes would.
LETTERS = {
    "cp1252": "éèàçêâîôûùëïüöäßñóíáúãõåøæ’‘“”„–—…€",
    "cp1250": "ąęłńóśźżćčšžřěůýáíéőű",
    "cp1251": "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "cp850": "éèàçêâîôûùëïüöäßñóíáú",
}


class Detected(NamedTuple):
    """What the bytes of a file look like; `doubt` says why it may be another encoding, if it may."""

    encoding: tuple[str, ...]
    doubt: str | None = None


def utf8(path: Path, reading: Reading) -> tuple[Path | bytes, tuple[str, ...]]:
    """Return something UTF-8 to read from: the file itself if it is, else its decoded bytes; and notes."""
    encodings = [codecs.lookup(e).name for e in reading.encoding] or ["utf-8"]
    if encodings in (["utf-8"], ["utf-8-sig"]) and reading.encoding_errors == "strict":
        _check_encoding(path, "utf-8", declared=bool(reading.encoding))
        return path, ()
    raw = path.read_bytes()
    if len(encodings) > 1:
        text, n = _decode_mixed(raw, *encodings)
        note = f"{n} characters that are not {reading.encoding[0]} text decoded as {reading.encoding[1]}"
    elif reading.encoding_errors == "replace":
        text = raw.decode(encodings[0], "replace")
        n = text.count("\ufffd") - raw.decode(encodings[0], "ignore").count("\ufffd")
        note = f"{n} undecodable characters replaced (encoding_errors: replace)"
    else:
        _check_encoding(path, encodings[0], declared=True)
        text = raw.decode(encodings[0])
        n = sum(text.count(chr(c)) for c in range(0x80, 0xA0))
        note = f"{n} control characters (0x80-0x9F) decoded as {reading.encoding[0]}, which text does not hold"
    return text.encode("utf-8", "surrogatepass"), (note,) if n else ()


def detect(path: Path) -> Detected:
    """Return the encoding that the bytes of a text file speak for; () for UTF-8."""
    raw = path.read_bytes()
    if raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return Detected(("utf-16",))
    try:
        raw.decode("utf-8")
        return Detected(())
    except UnicodeDecodeError:
        pass
    if len(between := re.findall(rb"(?<=[a-z])[\x80-\x9f](?=[a-z]|\b)", raw)) > 20 and re.search(rb"[\xe0-\xff]", raw):
        return Detected(
            ("latin-1", "cp850"),
            f"{len(between)} bytes 0x80-0x9F stand inside words, where latin-1 has no letters: two systems wrote here",
        )
    lines = [line for line in raw.splitlines() if not line.isascii()]
    others = [line for line in lines if not _is_utf8(line)]
    mixed = len(lines) - len(others) >= max(3, 0.2 * len(lines))
    rest = b"\n".join(others)
    scores = {name: _score(rest, name) for name in ("cp1252", "cp1250", "cp1251", "cp850")}
    best = max(scores, key=scores.get)
    if mixed:
        return Detected(
            ("utf-8", best),
            f"{len(lines) - len(others)} lines with other letters than a-z are UTF-8, {len(others)} look like {best}",
        )
    letters = "".join(sorted(set(re.findall(r"[^\x00-\x7f]", raw.decode(best, "replace").lower()))))[:24]
    return Detected((best,), f"not UTF-8; read as {best} it holds the characters {letters}")


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _score(raw: bytes, encoding: str) -> float:
    text = re.sub(r"[\x00-\x7f]", "", raw.decode(encoding, "replace").lower())
    return sum(text.count(letter) for letter in LETTERS[encoding]) / max(len(text), 1)


def _check_encoding(path: Path, encoding: str, *, declared: bool) -> None:
    """Refuse the first byte that is not `encoding`, naming where it stands."""
    decoder = codecs.getincrementaldecoder(encoding)()
    position, line = 0, 1
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK)
            held = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                before = position - held + error.start
                line += chunk[: max(error.start - held, 0)].count(b"\n")
                remedy = "another encoding" if declared else "its encoding"
                raise StudyProblem(
                    f"{path.name} is not {encoding.upper()}: byte 0x{error.object[error.start]:02x} at position "
                    f"{before} (line {line}); "
                    f"declare {remedy} in study.yml, for example encoding: {_guess(error.object, encoding)}"
                ) from None
            if not chunk:
                return
            position += len(chunk)
            line += chunk.count(b"\n")


def _guess(content: bytes, refused: str) -> str:
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    return "latin-1" if refused == "cp1252" else "cp1252"


def _decode_mixed(raw: bytes, first: str, second: str) -> tuple[str, int]:
    """Decode by `first`; by `second` each byte that `first` does not know or takes for a control character."""
    table = {c: bytes([c]).decode(second, "replace") for c in range(0x80, 0xA0)}
    text = raw.decode(first, "surrogateescape")
    unknown = {0xDC00 + b: bytes([b]).decode(second, "replace") for b in range(0x80, 0x100)}
    n = sum(text.count(chr(c)) for c in (*table, *unknown))
    return text.translate(table | unknown), n
