"""A hundred texts that are harmless only as text, and the notebook in which they appear wherever data can."""

from copy import deepcopy
from functools import cache

import nbformat
import pandas as pd
from IPython.core.formatters import DisplayFormatter

import cxresearch as cx
from cxresearch.errors import DataProblem
from cxresearch.figures import use_theme

FORMULAS = ["=1+cmd|'/C calc'!A0", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("https://x.test")', "＝1"]
MARKDOWN = """**bold** | *em* | `code` | ~~gone~~ | [link](https://x.test) | [js](javascript:alert(1)) | ![i](https://x.test/i.png)
<https://x.test> | https://x.test/a?b | http://x.test | www.x.test | me@x.test | mailto:me@x.test | [a][b]\n\n[b]: javascript:alert(1)
$x^2$ | $$\\sum$$ | \\(x\\) | \\[x\\] | \\begin{align}x\\end{align} | $\\href{javascript:alert(1)}{x}$ | \\$x\\$ | # head
a\n# head | a\n\n<script>alert(1)</script> | - item | + item | 1. item | 2) item | a\n- b | a\n=== | a\n--- | a\n\n    code | ```\ncode\n```
a\u2028# b | &lt;script&gt;alert(1)&lt;/script&gt; | &#x3c;script&#x3e; | ==mark== | ^[note] | [^1] | :smile: | {{ 7 * 7 }} | {% raw %} | \\ | \\\\
\x1b[31mred | || a || b || | > quote | <!-- gone | --> | ]]> | <![CDATA[x]]> | <?php x ?> | %s %d {} | `$x$`"""
MARKUP = """<script>alert(1)</script> | <script src=https://x.test/x.js></script> | <img src=x onerror=alert(1)> | <img src=https://x.test/i.png>
<svg onload=alert(1)></svg> | <svg><script>alert(1)</script></svg> | <iframe src=https://x.test></iframe> | <iframe srcdoc="<script>alert(1)</script>">
<a href=javascript:alert(1)>x</a> | <a href="data:text/html,<script>alert(1)</script>">x</a> | <b>bold</b> | <h1>head</h1> | <table><tr><td>x
<style>*{display:none}</style> | <link rel=stylesheet href=https://x.test/x.css> | <meta http-equiv=refresh content="0;url=https://x.test"> | <base href=https://x.test>
<form action=https://x.test><input autofocus onfocus=alert(1)></form> | <button formaction=javascript:alert(1)>x | <details open ontoggle=alert(1)>
<video><source onerror=alert(1)></video> | <audio src=https://x.test/a onerror=alert(1)> | <object data=https://x.test> | <embed src=https://x.test>
<body onload=alert(1)> | <marquee onstart=alert(1)> | <math><mi xlink:href=javascript:alert(1)>x</mi></math> | <template><img src=x onerror=alert(1)></template>
</td></tr></table><script>alert(1)</script> | </title><script>alert(1)</script> | </style><script>alert(1)</script> | </main></body></html>
"><img src=x onerror=alert(1)> | ' onmouseover='alert(1) | " style="position:fixed;inset:0" x=" | <div style="background:url(https://x.test)">
<plaintext> | <textarea> | <xmp> | <noscript><p title="</noscript><img src=x onerror=alert(1)>"> | <input type=image src=https://x.test/i.png>
<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;"> | <scr<script>ipt>alert(1)</script>"""


def payloads() -> list[str]:
    """Return the texts, each once."""
    return list(dict.fromkeys([*FORMULAS, *MARKDOWN.split(" | "), *MARKUP.replace("\n", " | ").split(" | ")]))


def notebook(texts: list[str]):
    """Return an executed notebook with the texts as labels, groups, headers, verbatims, printed words and errors."""
    use_theme()
    cells = [nbformat.v4.new_markdown_cell("# What do they say?")]
    for text in texts:
        cells.append(nbformat.v4.new_code_cell("look()", outputs=deepcopy(_outputs(text))))
    return nbformat.v4.new_notebook(cells=cells)


@cache
def _outputs(text: str) -> list:
    scores = pd.DataFrame({"recommend": [10] * 12 + [3] * 12, text: [text] * 12 + ["others"] * 12})
    finding = cx.nps(cx.as_survey(scores, labels={"recommend": text, text: text, "others": text}), "recommend", by=text)
    verbatims = pd.DataFrame({text: [text], "words": [text]}, index=pd.Index([text], name=text))
    error = DataProblem(f"column {text!r} holds {text}")
    shown = [finding, cx.readable(finding.tidy()), cx.readable(verbatims), verbatims]
    trouble = nbformat.v4.new_output(
        "error", ename="DataProblem", evalue=str(error), traceback=[f"DataProblem: {error}"]
    )
    return [
        *(nbformat.v4.new_output("execute_result", DisplayFormatter().format(s)[0]) for s in shown),
        nbformat.v4.new_output("stream", name="stdout", text=f"{text}\n"),
        nbformat.v4.new_output("stream", name="stderr", text=f"{text}\n"),
        trouble,
    ]
