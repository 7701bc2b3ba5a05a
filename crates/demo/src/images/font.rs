//! A stroke font: letters as lines on a small grid, so that text can be drawn at any size, weight and angle.

use super::canvas::{Canvas, Colour};

/// Each glyph's strokes: points are column 0…4 and row 0 (top)…6 (baseline); strokes are parted by spaces.
#[rustfmt::skip]
const GLYPHS: &[(char, &str)] = &[
    ('A', "062046 1434"), ('B', "00063645443303 3342413000"), ('C', "4130100105163645"), ('D', "00062645412000"),
    ('E', "40000646 0333"), ('F', "400006 0333"), ('G', "413010010516364543 4323"), ('H', "0006 4046 0343"),
    ('I', "2026 1030 1636"), ('J', "4045361605"), ('K', "0006 4003 1346"), ('L', "000646"), ('M', "0600234046"),
    ('N', "06004640"), ('O', "103041453616050110"), ('P', "06003041423303"), ('Q', "103041453616050110 2446"),
    ('R', "06003041423303 2346"), ('S', "413010010213334445361605"), ('T', "0040 2026"), ('U', "000516364540"),
    ('V', "002640"), ('W', "0016223640"), ('X', "0046 4006"), ('Y', "002340 2326"), ('Z', "00400646"),
    ('0', "103041453616050110 4105"), ('1', "112026"), ('2', "01103041420646"), ('3', "004022324345361605"),
    ('4', "36300444"), ('5', "4000023243453606"), ('6', "30100105163645433304"), ('7', "004016"),
    ('8', "103041423313020110 3344453616050413"), ('9', "4233130201103041453616"), ('.', "2626"),
    ('-', "1333"), (':', "2222 2525"), ('/', "0640"),
];

/// Where and how a line of text stands.
#[derive(Clone, Copy)]
pub struct Style {
    /// Top left corner of the first letter, pixels.
    pub at: [f32; 2],
    /// Height of a capital, pixels.
    pub size: f32,
    /// Thickness of a stroke, as a share of `size`.
    pub weight: f32,
    /// Radians, clockwise.
    pub angle: f32,
    pub colour: Colour,
}

/// Width of a letter with the space behind it, as a share of its height.
pub const ADVANCE: f32 = 0.95;

/// Draws one line of capitals, digits and `. - : /`; anything else is a space.
pub fn write(canvas: &mut Canvas, text: &str, style: Style) {
    let (sin, cos) = style.angle.sin_cos();
    let thickness = style.size * style.weight;
    for (i, letter) in text.chars().enumerate() {
        let Some((_, strokes)) = GLYPHS.iter().find(|g| g.0 == letter) else { continue };
        let place = |point: &[u8]| {
            let x = style.size * (i as f32 * ADVANCE + f32::from(point[0] - b'0') / 6.0);
            let y = style.size * f32::from(point[1] - b'0') / 6.0;
            [style.at[0] + x * cos - y * sin, style.at[1] + x * sin + y * cos]
        };
        for stroke in strokes.split(' ') {
            let points: Vec<[f32; 2]> = stroke.as_bytes().chunks_exact(2).map(place).collect();
            for pair in points.windows(2) {
                canvas.line(pair[0], pair[1], thickness, style.colour);
            }
        }
    }
}
