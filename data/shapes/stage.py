"""The stage of a film: sky, sun and moon, skyline and ground, lit by the hour of the day.

A frame is drawn in inks, which are small numbers; a palette gives their colours at each moment.
All inks except the cast's are pale, so that none looks like a shape.
"""

import numpy as np

from data.shapes.story import COLOURS, FRAME_SIZE, Story

# RGB of COLOURS, in that order.
CAST_COLOURS = np.array(
    [
        (222, 36, 36),
        (248, 140, 16),
        (246, 224, 40),
        (40, 168, 56),
        (24, 200, 200),
        (40, 72, 224),
        (140, 40, 172),
        (248, 112, 188),
    ],
    np.uint8,
)
# Every shape has a dark eye; without it, a circle would not be seen to spin.
EYE_COLOURS = CAST_COLOURS // 2

_HORIZON = 26
_GRAINS = 8
# First inks: one for each row of sky, then skyline, grains of ground, sun, moon, bodies, eyes.
FIRST_LAND_INK = _HORIZON
SUN_INK = FIRST_LAND_INK + 1 + _GRAINS
MOON_INK = SUN_INK + 1
BODY_INK = MOON_INK + 1
EYE_INK = BODY_INK + len(COLOURS)

# Hours of the day, with the colour of the sky and the light on the land at each.
_HOURS = (0.0, 0.25, 0.55, 0.75, 1.0)
_SKY = ((216, 188, 180), (176, 206, 226), (186, 200, 206), (208, 164, 140), (56, 60, 88))
_LIGHT = ((0.86, 0.8, 0.8), (1, 1, 1), (0.97, 0.96, 0.92), (0.82, 0.7, 0.64), (0.4, 0.42, 0.52))
_GROUND = {
    "meadow": (152, 178, 132),
    "beach": (224, 210, 172),
    "desert": (212, 186, 148),
    "snow": (232, 236, 242),
    "city": (152, 152, 158),
    "forest": (112, 132, 108),
}
_SKYLINE = {
    "meadow": (126, 152, 116),
    "beach": (132, 164, 184),
    "desert": (188, 156, 122),
    "snow": (178, 188, 204),
    "city": (118, 118, 130),
    "forest": (84, 106, 88),
}
_SUN, _MOON = (255, 250, 222), (226, 228, 236)


def stage(story: Story) -> np.ndarray:
    """Returns the inks `[48, 48]` uint8 of the empty stage."""
    decor = np.random.default_rng(story.decor)
    rows = np.arange(FRAME_SIZE)[:, None]
    grain = decor.integers(0, _GRAINS, (FRAME_SIZE, FRAME_SIZE))
    inks = np.where(rows >= _HORIZON, FIRST_LAND_INK + 1 + grain, rows)
    is_skyline = (rows < _HORIZON) & (rows >= _HORIZON - _heights(story.place, decor))
    return np.where(is_skyline, FIRST_LAND_INK, inks).astype(np.uint8)


def palettes(story: Story, times: np.ndarray) -> np.ndarray:
    """Returns the colours `[time, ink, 4]` uint8 at each moment; the fourth byte is unused."""
    tint = np.random.default_rng([story.decor, 1]).uniform(-8, 8, (2, 3))
    hours = story.hour(times)
    sky, light = (
        np.stack([np.interp(hours, _HOURS, band) for band in np.transpose(table)], -1)[:, None]
        for table in (_SKY, _LIGHT)
    )
    fade = np.linspace(1.06, 0.94, _HORIZON)[:, None]
    grains = np.linspace(-7, 7, _GRAINS)[:, None]
    land = np.concatenate([[_SKYLINE[story.place]], _GROUND[story.place] + grains]) + tint[1]
    fixed = np.concatenate([[_SUN, _MOON], CAST_COLOURS, EYE_COLOURS])
    colours = np.zeros((len(times), EYE_INK + len(COLOURS), 4), np.uint8)
    colours[:, :FIRST_LAND_INK, :3] = np.clip((sky + tint[0]) * fade, 0, 255)
    colours[:, FIRST_LAND_INK:SUN_INK, :3] = np.clip(land * light, 0, 255)
    colours[:, SUN_INK:, :3] = fixed
    return colours


def lights(
    story: Story, times: np.ndarray
) -> tuple[tuple[int, float, np.ndarray, np.ndarray], ...]:
    """Returns the sun, which is up from hour 0 to 0.8, and the moon, which rises at 0.7.

    Returns:
      For each its ink, radius, x `[time]` and y `[time]`.
    """
    hours = story.hour(times)

    def arc(rise: float, length: float) -> tuple[np.ndarray, np.ndarray]:
        part = (hours - rise) / length
        return part * FRAME_SIZE, 24 - 19 * np.sin(np.pi * np.clip(part, 0, 1))

    return (SUN_INK, 4.5, *arc(0.0, 0.8)), (MOON_INK, 3.5, *arc(0.7, 0.6))


def _heights(place: str, decor: np.random.Generator) -> np.ndarray:
    """Returns the height of the skyline above the horizon at each column `[48]`, in pixels."""
    x = np.arange(FRAME_SIZE) + decor.uniform(0, FRAME_SIZE)
    stretch = decor.uniform(0.7, 1.3)
    if place == "beach":
        return np.full(FRAME_SIZE, decor.uniform(3, 6))
    if place == "city":
        return decor.integers(2, 13, 24)[(x // 5).astype(int)]
    if place == "forest":
        return 3 + 14 * np.abs(x / (6 * stretch) % 1 - 0.5)
    if place == "snow":
        return 24 * np.abs(x / (22 * stretch) % 1 - 0.5)
    width = 9 if place == "meadow" else 5
    return 4 + 3 * np.sin(x / (width * stretch)) + 1.5 * np.sin(x / 3.1)
