"""Write the icons that the admin's theme uses as a font of their own: a twentieth of the whole, which has thousands.

`python -m deploy.admin_icons` after another version of django-unfold is installed; a test says so.
"""

import re
from io import BytesIO
from pathlib import Path

import unfold
from fontTools import subset
from fontTools.ttLib import TTFont

_THEME = Path(unfold.__file__).parent
WHOLE = _THEME / "static/unfold/fonts/material-symbols/Material-Symbols-Outlined.woff2"
FONT = Path(__file__).parents[1] / "titanic_site/static/theme/icons.woff2"


def ligatures(font: TTFont) -> dict[str, str]:
    """Return the glyph of each icon by its name: that is what its letters are drawn as."""
    letters = {glyph: chr(code) for code, glyph in font.getBestCmap().items()}
    names = {}
    for lookup in font["GSUB"].table.LookupList.Lookup:
        for table in lookup.SubTable:
            for first, found in getattr(getattr(table, "ExtSubTable", table), "ligatures", {}).items():
                for ligature in found:
                    names["".join(letters[glyph] for glyph in (first, *ligature.Component))] = ligature.LigGlyph
    return names


def needed(icons: dict[str, str]) -> set[str]:
    """Return the icons whose names stand in the theme's templates and code."""
    files = [path for kind in ("html", "py") for path in _THEME.rglob(f"*.{kind}")]
    words = {word for path in files for word in re.findall(r"[a-z_0-9]+", path.read_text(encoding="utf-8"))}
    return words & icons.keys()


def main() -> None:
    """Write the font."""
    font = TTFont(WHOLE)
    icons = ligatures(font)
    options = subset.Options(flavor="woff2", layout_closure=False, notdef_outline=True, glyph_names=False)
    subsetter = subset.Subsetter(options)
    names = needed(icons)
    subsetter.populate(glyphs=[icons[name] for name in names], text="".join(names))
    subsetter.subset(font)
    file = BytesIO()
    subset.save_font(font, file, options)
    FONT.write_bytes(file.getvalue())


if __name__ == "__main__":
    main()
