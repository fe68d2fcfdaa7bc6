"""Text of strangers, fit to be shown to people."""


def visible(text: str) -> str:
    """The text with every character escaped that would act or hide: controls, bidi marks, lone surrogates."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text
    )
