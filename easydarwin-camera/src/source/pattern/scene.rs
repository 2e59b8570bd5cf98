//! What the test picture shows: colour bars, date and clock in UTC, a light that runs once a
//! second, serial and frame counter.
//!
//! Areas that change or hold detail are laid along the 16-sample grid, because a macroblock that
//! the encoder cannot predict costs 384 bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::font;
use super::picture::{Colour, Picture};
use crate::civil::Civil;

pub(super) const WIDTH: usize = 640;
pub(super) const HEIGHT: usize = 360;

/// Bars of 75 % as in ITU-R BT.471: white to blue, then black.
const BARS: [Colour; 8] = [
    [180, 128, 128],
    [162, 44, 142],
    [131, 156, 44],
    [112, 72, 58],
    [84, 184, 198],
    [65, 100, 212],
    [35, 212, 114],
    [16, 128, 128],
];
const BARS_HEIGHT: usize = 112;
const RAMP_Y: usize = BARS_HEIGHT;

const BACKGROUND: Colour = [34, 140, 122];
const INK: Colour = [225, 128, 128];
const DIM_INK: Colour = [150, 134, 125];

const CLOCK: Text = Text::new((128, 160), 8, INK);
const DATE: Text = Text::new((152, 240), 4, DIM_INK);
const SERIAL: Text = Text::new((18, 322), 2, DIM_INK);
/// Ends where a macroblock ends, so that the last digit lies in one.
const COUNTER: Text = Text::new((512, 322), 2, DIM_INK);
const COUNTER_DIGITS: usize = 8;

/// The running light: one lamp for each frame of a second at 25 frames.
const LAMPS: usize = 25;
const LAMPS_AT: (usize, usize) = (112, 288);
const LAMP_OFF: Colour = [44, 138, 122];
/// The lamp that is on, and those that glow behind it.
const GLOW: [Colour; 5] = [
    [235, 128, 128],
    [170, 96, 146],
    [120, 112, 138],
    [82, 122, 132],
    [58, 130, 126],
];
/// The lamp of the full second, when the beep sounds, is of another colour.
const FULL_SECOND: Colour = [168, 60, 190];

#[derive(Debug)]
pub(super) struct Scene {
    picture: Picture,
    clock: String,
    date: String,
    counter: String,
    lamps: [Colour; LAMPS],
}

impl Scene {
    pub(super) fn new(serial: &str) -> Self {
        let mut picture = Picture::new(WIDTH, HEIGHT, BACKGROUND);
        for (i, bar) in BARS.into_iter().enumerate() {
            let width = WIDTH / BARS.len();
            picture.fill((i * width, 0), (width, BARS_HEIGHT), bar);
        }
        let steps = WIDTH / 16;
        for step in 0..steps {
            let luma = u8::try_from(16 + 219 * step / (steps - 1)).unwrap_or(235);
            picture.fill((step * 16, RAMP_Y), (16, 16), [luma, 128, 128]);
        }
        // Long serials would run into the counter.
        let shown: String = serial.chars().take(40).collect();
        SERIAL.draw(&mut picture, "", &shown);
        let mut scene = Self {
            picture,
            clock: String::new(),
            date: String::new(),
            counter: String::new(),
            lamps: [BACKGROUND; LAMPS],
        };
        scene.draw(UNIX_EPOCH, 0);
        scene
    }

    /// Brings the picture to this moment; draws only what changed.
    pub(super) fn draw(&mut self, wall: SystemTime, frame: u64) -> &mut Picture {
        let now = Civil::of(wall);
        let picture = &mut self.picture;
        CLOCK.update(picture, &mut self.clock, now.time());
        DATE.update(picture, &mut self.date, format!("{} UTC", now.date()));
        let counter = format!("{frame:0COUNTER_DIGITS$}");
        COUNTER.update(picture, &mut self.counter, counter);
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let lit = usize::try_from(since.subsec_nanos()).unwrap_or(0) * LAMPS / 1_000_000_000;
        for (i, shown) in self.lamps.iter_mut().enumerate() {
            let behind = (lit + LAMPS - i) % LAMPS;
            let colour = match GLOW.get(behind) {
                Some(_) if i == 0 && behind == 0 => FULL_SECOND,
                Some(glow) => *glow,
                None => LAMP_OFF,
            };
            if *shown != colour {
                *shown = colour;
                picture.fill((LAMPS_AT.0 + i * 16, LAMPS_AT.1), (16, 16), colour);
            }
        }
        picture
    }

    /// The picture as it was drawn last.
    pub(super) fn picture(&self) -> &Picture {
        &self.picture
    }
}

/// A line of text: where it begins, samples per dot, and its colour.
struct Text {
    at: (usize, usize),
    scale: usize,
    ink: Colour,
}

impl Text {
    const fn new(at: (usize, usize), scale: usize, ink: Colour) -> Self {
        Self { at, scale, ink }
    }

    fn update(&self, picture: &mut Picture, shown: &mut String, text: String) {
        if *shown != text {
            self.draw(picture, shown, &text);
            *shown = text;
        }
    }

    /// Draws the characters that differ from those in `old`.
    fn draw(&self, picture: &mut Picture, old: &str, new: &str) {
        let (x, y) = self.at;
        let mut old = old.chars();
        for (i, character) in new.chars().enumerate() {
            if old.next() == Some(character) {
                continue;
            }
            let left = x + i * font::ADVANCE * self.scale;
            let size = (font::WIDTH * self.scale, 7 * self.scale);
            picture.fill((left, y), size, BACKGROUND);
            for (row, dots) in font::glyph(character).into_iter().enumerate() {
                for column in 0..font::WIDTH {
                    if dots & (0x10 >> column) != 0 {
                        let at = (left + column * self.scale, y + row * self.scale);
                        picture.fill(at, (self.scale, self.scale), self.ink);
                    }
                }
            }
        }
    }
}
