//! Made things: print, walls, towers, charts, cloth, geometry.

use std::f32::consts::{PI, TAU};

use super::{
    canvas::{Canvas, Colour, mix, shade},
    font::{self, Style},
    noise,
};
use upscore_evaluation::{images::Rgb8, onnx::build::Random};

const INK: Colour = [0.09, 0.09, 0.12];
const PAPER: Colour = [0.95, 0.93, 0.88];
const PALETTE: [Colour; 7] = [
    [0.86, 0.22, 0.18],
    [0.95, 0.66, 0.16],
    [0.14, 0.42, 0.62],
    [0.10, 0.55, 0.46],
    [0.45, 0.25, 0.50],
    [0.93, 0.88, 0.76],
    [0.15, 0.18, 0.25],
];
const WORDS: [&str; 24] = [
    "SCALE", "PIXEL", "EDGE", "SHARP", "DETAIL", "TEST", "IMAGE", "SIGNAL", "FOUR", "TIMES", "LARGER", "SMALL",
    "NETWORK", "LEARNS", "WHAT", "WAS", "LOST", "FROM", "EVERY", "LINE", "2026", "X4", "3.14", "DB",
];

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len())]
}

/// Whole words that fill a line of so many letters as far as they go.
fn sentence(random: &mut Random, letters: usize) -> String {
    let mut text = pick(random, &WORDS).to_owned();
    loop {
        let word = pick(random, &WORDS);
        if text.len() + 1 + word.len() > letters {
            return text;
        }
        text = format!("{text} {word}");
    }
}

/// A poster: a sun of rays, discs and a headline over smaller print.
pub fn poster(random: &mut Random, width: usize, height: usize) -> Rgb8 {
    let (w, h) = (width as f32, height as f32);
    let start = random.below(3);
    let (ground, accent) = (PALETTE[2 + start], PALETTE[(start + 4) % 2]);
    let mut canvas = Canvas::painted(width, height, |x, y| mix(ground, shade(ground, 0.45), 0.3 * x / w + 0.7 * y / h));
    let (cx, cy) = (w * random.within(0.6, 0.8), h * random.within(0.3, 0.45));
    let rays = 28 + 2 * random.below(6);
    for ray in 0..rays {
        let (sin, cos) = (TAU * ray as f32 / rays as f32).sin_cos();
        let colour = mix(accent, PALETTE[5], 0.4);
        canvas.line([cx + 40.0 * cos, cy + 40.0 * sin], [cx + 0.5 * w * cos, cy + 0.5 * w * sin], 2.2, colour);
    }
    canvas.disc(cx, cy, 36.0, accent);
    canvas.disc(cx - 9.0, cy - 7.0, 20.0, mix(accent, PAPER, 0.5));
    let mut y = h * 0.1;
    for size in [34.0, 22.0] {
        let word = pick(random, &["SHARPER", "UPSCORE", "DETAIL", "FOURFOLD"]);
        font::write(&mut canvas, word, Style { at: [16.0, y], size, weight: 0.17, angle: 0.0, colour: PAPER });
        y += size * 1.6;
    }
    let mut y = h * 0.62;
    for size in [15.0, 12.0, 10.0, 8.5, 7.5] {
        let text = sentence(random, ((w - 32.0) / (size * font::ADVANCE)) as usize);
        font::write(&mut canvas, &text, Style { at: [16.0, y], size, weight: 0.16, angle: 0.0, colour: PAPER });
        y += size * 1.7;
    }
    canvas.finish()
}

/// A brick wall in slanting light, each brick with its own colour and grain.
pub fn wall(random: &mut Random, width: usize, height: usize) -> Rgb8 {
    let seed = random.bits() as u32;
    let (long, tall) = (random.within(26.0, 34.0), random.within(11.0, 14.0));
    let slant = random.within(-0.12, 0.12);
    let (w, h) = (width as f32, height as f32);
    let sign = pick(random, &["NO. 24", "BAKERY", "EXIT 7", "ROOM 9"]);
    let mut canvas = Canvas::painted(width, height, |x, y| {
        let (u, v) = (x + slant * y, y - slant * x + 40.0);
        let row = (v / tall).floor();
        let u = u + 80.0 + if row as i32 % 2 == 0 { long / 2.0 } else { 0.0 };
        let column = (u / long).floor();
        let (fx, fy) = (u - column * long, v - row * tall);
        let inside = fx.min(long - fx).min(fy).min(tall - fy) - 0.9 - 0.5 * noise::value(seed, x / 3.0, y / 3.0);
        let tone = noise::cell(seed, column as i32, row as i32);
        let grain = 0.10 * noise::fractal(seed, x / 5.0, y / 5.0, 4);
        let brick = shade(mix([0.62, 0.28, 0.20], [0.45, 0.20, 0.18], 0.5 + 0.5 * tone), 1.0 + 2.0 * grain);
        let mortar = shade([0.74, 0.71, 0.66], 1.0 + grain);
        let light = 1.15 - 0.55 * (x / w * 0.5 + y / h * 0.5);
        shade(mix(mortar, brick, (inside + 0.5).clamp(0.0, 1.0)), light)
    });
    let (cx, cy) = (w * random.within(0.4, 0.6), h * random.within(0.4, 0.6));
    canvas.rectangle([cx + 2.0, cy + 3.0], [66.0, 22.0], slant, shade(INK, 0.5));
    canvas.rectangle([cx, cy], [66.0, 22.0], slant, [0.10, 0.28, 0.42]);
    canvas.rectangle([cx, cy], [62.0, 18.0], slant, [0.92, 0.90, 0.84]);
    canvas.rectangle([cx, cy], [60.5, 16.5], slant, [0.10, 0.28, 0.42]);
    let at = [cx - 50.0, cy - 9.0 - 50.0 * slant];
    font::write(&mut canvas, sign, Style { at, size: 18.0, weight: 0.17, angle: slant, colour: PAPER });
    canvas.finish()
}

/// Towers with lit windows under an evening sky.
pub fn skyline(random: &mut Random, width: usize, height: usize) -> Rgb8 {
    let (w, h) = (width as f32, height as f32);
    let seed = random.bits() as u32;
    let mut canvas = Canvas::painted(width, height, |x, y| {
        let cloud = noise::fractal(seed, x / 70.0, y / 22.0, 4).max(0.0);
        let sky = mix([0.16, 0.22, 0.42], [0.98, 0.62, 0.40], (y / h * 1.3).min(1.0));
        mix(sky, [0.98, 0.80, 0.70], 0.6 * cloud)
    });
    canvas.disc(w * random.within(0.2, 0.8), h * random.within(0.15, 0.3), 17.0, [0.99, 0.93, 0.80]);
    for depth in 0..3 {
        let ground = mix([0.50, 0.38, 0.46], [0.07, 0.08, 0.14], depth as f32 / 2.0);
        let mut x = random.within(-20.0, 0.0);
        while x < w {
            let wide = random.within(26.0, 52.0);
            let top = h * (0.25 + 0.14 * depth as f32) + random.within(0.0, 0.3 * h);
            canvas.rectangle([x + wide / 2.0, (top + h) / 2.0], [wide / 2.0, (h - top) / 2.0], 0.0, ground);
            if random.below(3) == 0 {
                canvas.line([x + wide / 2.0, top - random.within(10.0, 34.0)], [x + wide / 2.0, top], 1.3, ground);
            }
            let step = random.within(5.0, 8.0);
            let lit = random.within(0.25, 0.8);
            for row in 1..((h - top) / step) as usize {
                for column in 1..(wide / step) as usize {
                    if random.within(0.0, 1.0) < lit * 0.8 {
                        let at = [x + column as f32 * step, top + row as f32 * step];
                        let glow = mix(ground, [1.0, 0.86, 0.52], random.within(0.25, 0.9));
                        canvas.rectangle(at, [step * 0.26, step * 0.33], 0.0, glow);
                    }
                }
            }
            x += wide + random.within(0.0, 9.0);
        }
    }
    canvas.finish()
}

/// A test chart: zone plate, star, wedges of lines and grey steps.
pub fn chart(random: &mut Random, width: usize, height: usize) -> Rgb8 {
    let (w, h) = (width as f32, height as f32);
    let [plate, star] = [[0.28 * w, 0.38 * h], [0.74 * w, 0.38 * h]];
    let radius = 0.22 * w.min(1.2 * h);
    let spokes = (18 + 2 * random.below(8)) as f32;
    // Rings reach a period of 5 HR pixels at the rim: just beyond what an image of a quarter of the size can hold.
    let rate = PI / (5.0 * radius);
    let tint = pick(random, &PALETTE[..5]);
    let mut canvas = Canvas::painted(width, height, |x, y| {
        let (plate_distance, star_distance) = ((x - plate[0]).hypot(y - plate[1]), (x - star[0]).hypot(y - star[1]));
        if plate_distance < radius {
            return [0.5 + 0.45 * (rate * plate_distance * plate_distance).cos(); 3];
        }
        if star_distance < radius && star_distance > 3.0 {
            let turn = (spokes * (y - star[1]).atan2(x - star[0])).sin();
            let sharp = (turn * star_distance / spokes * 2.0 + 0.5).clamp(0.0, 1.0);
            return mix(INK, PAPER, sharp);
        }
        mix([0.80; 3], mix(tint, [0.9; 3], 0.5), y / h)
    });
    let bottom = 0.68 * h;
    for step in 0..9 {
        let at = [0.06 * w + (step as f32 + 0.5) * 0.88 * w / 9.0, bottom + 8.0];
        canvas.rectangle(at, [0.44 * w / 9.0, 9.0], 0.0, [step as f32 / 8.0; 3]);
    }
    for group in 0..6 {
        let period = 4.0 + 2.0 * group as f32;
        let angle = random.within(-0.5, 0.5);
        for line in 0..(36.0 / period) as usize {
            let x = 0.06 * w + group as f32 * 0.148 * w + line as f32 * period + 4.0;
            canvas.line([x, bottom + 24.0], [x + 38.0 * angle, bottom + 62.0], period / 2.0, INK);
        }
    }
    let label = Style { at: [0.06 * w, 0.05 * h - 4.0], size: 9.0, weight: 0.15, angle: 0.0, colour: INK };
    font::write(&mut canvas, "CHART 4 - PERIOD 5 TO 60 PX", label);
    canvas.finish()
}

/// Woven cloth in a check, with folds.
pub fn cloth(random: &mut Random, width: usize, height: usize) -> Rgb8 {
    let seed = random.bits() as u32;
    let start = random.below(5);
    let colours: [Colour; 4] = std::array::from_fn(|i| PALETTE[(start + i) % PALETTE.len()]);
    let (thread, angle) = (random.within(5.0, 6.5), random.within(0.05, 0.5));
    let (sin, cos) = angle.sin_cos();
    let stripe = |n: i32| match n.rem_euclid(16) {
        0..=5 => colours[0],
        6 | 7 | 14 | 15 => colours[1],
        8..=11 => colours[2],
        _ => colours[3],
    };
    Canvas::painted(width, height, |x, y| {
        let fold = noise::fractal(seed, x / 110.0, y / 160.0, 2);
        let (x, y) = (x + 10.0 * fold, y + 6.0 * fold);
        let (u, v) = ((x * cos + y * sin) / thread, (y * cos - x * sin) / thread);
        let (column, row) = (u.floor() as i32, v.floor() as i32);
        let over = (column + row).rem_euclid(4) < 2;
        let (across, along) = if over { (u - u.floor(), v) } else { (v - v.floor(), u) };
        let round = (PI * across).sin().powf(0.7);
        let fibre = 0.12 * noise::value(seed, along * 2.0, across * 7.0);
        let colour = if over { stripe(column) } else { stripe(row) };
        shade(colour, (0.45 + 0.55 * round + fibre) * (1.0 + 0.5 * fold))
    })
    .finish()
}

/// A printed page, slightly turned, with a figure.
pub fn page(random: &mut Random, width: usize, height: usize) -> Rgb8 {
    let (w, h) = (width as f32, height as f32);
    let seed = random.bits() as u32;
    let angle = random.within(-0.14, 0.14);
    let mut canvas = Canvas::painted(width, height, |x, y| {
        let rings = noise::fractal(seed, x / 90.0, y / 9.0, 4);
        shade([0.46, 0.31, 0.19], 1.0 + 0.35 * rings)
    });
    let centre = [w / 2.0, h / 2.0];
    let half = [0.43 * w, 0.45 * h];
    canvas.rectangle([centre[0] + 3.0, centre[1] + 4.0], half, angle, [0.16, 0.10, 0.07]);
    canvas.rectangle(centre, half, angle, PAPER);
    let (sin, cos) = angle.sin_cos();
    // From the page's own coordinates to the picture's.
    let on_page = |u: f32, v: f32| {
        let (du, dv) = (u - half[0], v - half[1]);
        [centre[0] + du * cos - dv * sin, centre[1] + du * sin + dv * cos]
    };
    let headline = Style { at: on_page(14.0, 12.0), size: 16.0, weight: 0.18, angle, colour: INK };
    font::write(&mut canvas, &sentence(random, ((2.0 * half[0] - 28.0) / 15.2) as usize), headline);
    canvas.line(on_page(14.0, 36.0), on_page(2.0 * half[0] - 14.0, 36.0), 1.2, PALETTE[0]);
    let (mut v, mut size) = (44.0, 10.5f32);
    let figure = 1.3 * half[1];
    while v < figure {
        let letters = ((2.0 * half[0] - 28.0) / (size * font::ADVANCE)) as usize;
        let style = Style { at: on_page(14.0, v), size, weight: 0.14, angle, colour: INK };
        font::write(&mut canvas, &sentence(random, letters), style);
        v += size * 1.65;
        size = (size * 0.93).max(7.0);
    }
    let (bottom, bars) = (2.0 * half[1] - 14.0, 11);
    let step = (2.0 * half[0] - 28.0) / bars as f32;
    for bar in 0..bars {
        let tall = random.within(0.2, 1.0) * (bottom - figure - 12.0);
        let at = on_page(14.0 + (bar as f32 + 0.5) * step, bottom - tall / 2.0);
        canvas.rectangle(at, [step * 0.36, tall / 2.0], angle, PALETTE[bar % 5]);
    }
    canvas.line(on_page(12.0, bottom), on_page(2.0 * half[0] - 12.0, bottom), 1.5, INK);
    canvas.adjust(|x, y, colour| shade(colour, 1.06 - 0.3 * (x / w) * (y / h)));
    canvas.finish()
}

/// Coloured bars, discs, rings and arcs of lines at all angles.
pub fn shapes(random: &mut Random, width: usize, height: usize) -> Rgb8 {
    let (w, h) = (width as f32, height as f32);
    let ground = pick(random, &[PALETTE[5], PAPER, [0.83, 0.86, 0.88]]);
    let mut canvas = Canvas::painted(width, height, |x, y| shade(ground, 1.04 - 0.22 * (x / w + y / h) / 2.0));
    for i in 0..38 {
        let at = [random.within(0.0, w), random.within(0.0, h)];
        let colour = pick(random, &PALETTE);
        let size = random.within(8.0, 44.0);
        let angle = random.within(0.0, PI);
        match i % 4 {
            0 => canvas.rectangle(at, [size, size * random.within(0.1, 0.6)], angle, colour),
            1 => {
                canvas.disc(at[0], at[1], size * 0.8, colour);
                canvas.disc(at[0], at[1], size * 0.55, ground);
                canvas.disc(at[0], at[1], size * 0.3, colour);
            }
            2 => {
                let (sin, cos) = angle.sin_cos();
                let gap = random.within(5.0, 9.0);
                for line in 0..7 {
                    let shift = line as f32 * gap;
                    let from = [at[0] - shift * sin, at[1] + shift * cos];
                    canvas.line(from, [from[0] + 1.6 * size * cos, from[1] + 1.6 * size * sin], gap * 0.42, colour);
                }
            }
            _ => canvas.disc(at[0], at[1], size * 0.45, colour),
        }
    }
    canvas.finish()
}
