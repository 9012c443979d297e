"""HTML from Python: every text is escaped, unless it is markup already."""

from __future__ import annotations

from html import escape

_VOID = frozenset({"img", "meta", "link", "br"})


class Markup(str):
    """HTML that may stand in a page as it is."""

    __slots__ = ()


def tag(name: str, /, *content: str, **attributes: str | int | float | None) -> Markup:
    """Write an element; its content is escaped unless it is ``Markup``.

    In the names of attributes ``_`` stands for ``-``, and one at the end is dropped, as in ``class_``. Attributes that
    are ``None`` or ``False`` are left out.

    >>> tag("td", "R&D", class_="best", data_value=1.5, hidden=True, title=None)
    '<td class="best" data-value="1.5" hidden>R&amp;D</td>'
    """
    shown = (
        _attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()
    )
    opening = f"<{name}{''.join(shown)}>"
    return Markup(opening) if name in _VOID else Markup(f"{opening}{joined(*content)}</{name}>")


def joined(*content: str) -> Markup:
    """Put texts and markup after each other.

    >>> joined("a < b", tag("br"))
    'a &lt; b<br>'
    """
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in content))


def _attribute(name: str, value: str | int | float | None) -> str:
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
